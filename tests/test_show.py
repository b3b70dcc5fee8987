"""Pictures can be seen by those who see, and read by those who don't."""

import base64
import io
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from helpers import show
from helpers.rollouts import Scores

ALT = "A square moves from the left to the right and stops there."


def moving_square(count=20):
    frames = []
    for i in range(count):
        frame = np.full((40, 60, 3), 255, np.uint8)
        frame[10:20, i : i + 10] = [200, 30, 30]
        frames.append(frame)
    return frames


def gif_of(picture):
    page = picture._repr_mimebundle_()["text/html"]
    data = re.search(r"base64,([^\"]+)", page).group(1)
    return Image.open(io.BytesIO(base64.b64decode(data))), page


def test_a_gif_moves_keeps_its_colours_and_has_alt_text():
    image, page = gif_of(show.gif(moving_square(), ALT, fps=12.5))
    assert image.n_frames == 20 and image.info["duration"] == 80 and image.info["loop"] == 0
    assert f'alt="{ALT}"' in page
    for i in (0, 19):
        image.seek(i)
        shown = np.asarray(image.convert("RGB")).astype(int)
        assert np.abs(shown - moving_square()[i]).max() <= 8, f"frame {i} changed"


def test_a_gif_has_a_still_png_for_places_without_html():
    bundle = show.gif(moving_square(), ALT)._repr_mimebundle_()
    still = np.asarray(Image.open(io.BytesIO(base64.b64decode(bundle["image/png"]))))
    assert still.shape == (40, 60, 3) and still.std() > 10


@pytest.mark.parametrize("width", [30, 120])
def test_a_gif_is_scaled(width):
    image, page = gif_of(show.gif(moving_square(), ALT, width=width))
    assert image.size == (width, round(width * 2 / 3)) and f'width="{width}"' in page


@pytest.mark.parametrize("fps", [5, 25, 50, 60, 120])
def test_a_gif_keeps_its_speed(fps):
    """Browsers show a frame of less than 20 ms for 100 ms."""
    image, _ = gif_of(show.gif(moving_square(), ALT, fps=fps))
    pauses = []
    for i in range(image.n_frames):
        image.seek(i)
        pauses.append(image.info["duration"])
    assert min(pauses) >= 20 and sum(pauses) == pytest.approx(1000 * 20 / fps, abs=20)


GREY, FLOATS = np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3))
BAD_GIFS = {
    "no frames": ([], {}, "one or more"),
    "unequal sizes": ([FLOATS.astype(np.uint8), np.zeros((4, 5, 3), np.uint8)], {}, "one size"),
    "grey": ([GREY], {}, "one size"),
    "float": ([FLOATS], {}, "uint8"),
    "fps": (moving_square(), {"fps": 0}, "fps=0"),
    "no width": (moving_square(), {"width": 0}, "width=0"),
    "half a pixel": (moving_square(), {"width": 2.5}, "width=2.5"),
    "no colours": (moving_square(), {"colours": 0}, "colours=0"),
    "many colours": (moving_square(), {"colours": 1_000}, "colours=1000"),
}


@pytest.mark.parametrize("bad", BAD_GIFS)
def test_bad_gifs_are_refused(bad):
    frames, options, message = BAD_GIFS[bad]
    with pytest.raises(ValueError, match=message):
        show.gif(frames, ALT, **options)


def test_other_bad_pictures_are_refused():
    with pytest.raises(ValueError, match="alt text"):
        show.gif(moving_square(), "a square")
    for runs, skip in (({}, 1), ({"a": []}, 1), ({"a": moving_square()}, 0)):
        with pytest.raises(ValueError, match="one or more runs"):
            show.side_by_side(runs, skip=skip)
    low = np.zeros((9, 60, 3), np.uint8)
    with pytest.raises(ValueError, match="one height"):
        show.side_by_side({"a": moving_square(), "b": [low]})
    with pytest.raises(ValueError, match="one size"):
        show.side_by_side({"a": [*moving_square(), low]})
    with pytest.raises(ValueError, match="does not fit the columns"):
        show.table([(1, 2)], ["one"])


def test_frames_in_a_row_stand_under_their_names():
    picture = show.frames_in_row({"first": moving_square()[0], "last": moving_square()[-1]}, ALT)
    assert picture.width == 800 and np.asarray(Image.open(io.BytesIO(picture.data))).std() > 10


def test_a_curve_has_the_mean_and_its_interval():
    fig, ax = plt.subplots()
    values = np.random.default_rng(0).normal(3, 1, (40, 5))
    interval = show.curve(ax, np.arange(5), values, "dagger", "ours", linestyle=":")
    (line,) = ax.lines
    assert np.allclose(line.get_ydata(), values.mean(0)) and line.get_label() == "ours"
    assert line.get_color() == show.ROLES["dagger"]["color"] and line.get_linestyle() == ":"
    assert (interval[:, 0] < values.mean(0)).all() and (values.mean(0) < interval[:, 1]).all()
    plt.close(fig)


def test_a_map_shows_the_road_and_the_paths_on_it():
    angle = np.linspace(0, 2 * np.pi, 100, endpoint=False)
    middle = 50 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    fig, ax = plt.subplots()
    show.track_map(ax, middle, {"expert": middle, "clone": 1.2 * middle})
    assert [line.get_label() for line in ax.lines] == ["expert", "clone"]
    road = ax.patches[-1].get_path()
    assert road.contains_point((50, 0.1)) and not road.contains_point((0, 0))
    plt.close(fig)


def test_alt_text_is_escaped():
    page = show.gif(moving_square(), 'He said "<b>go</b>" & went to the right.')._repr_mimebundle_()
    assert 'alt="He said &quot;&lt;b&gt;go&lt;/b&gt;&quot; &amp; went' in page["text/html"]


def test_a_figure_becomes_a_small_png_and_is_closed():
    fig, ax = plt.subplots()
    ax.plot([0, 1], **show.ROLES["expert"])
    picture = show.figure(fig, "A line that rises from zero to one.")
    assert picture.width == 600 and len(picture.data) < 60_000
    corner = Image.open(io.BytesIO(picture.data)).convert("RGBA").getpixel((0, 0))
    assert corner == (255, 255, 255, 255), "black words on a dark page"
    assert not plt.fignum_exists(fig.number)


def test_roles_differ_in_colour_and_line():
    assert len({role["color"] for role in show.ROLES.values()}) == len(show.ROLES)
    assert len({str(role["linestyle"]) for role in show.ROLES.values()}) == len(show.ROLES)


def test_a_long_label_stays_within_its_picture():
    grey = np.full((20, 96, 3), 128, np.uint8)
    short, long = show.label(grey, "best: 919"), show.label(grey, "disturbed: 919")
    assert (short[:22] < 128).any() and (long[:22] < 128).any()
    for labelled in (short, long):
        assert labelled.shape == (42, 96, 3) and (labelled[:22, -3:] == 255).all()


def test_side_by_side_rests_on_the_last_frame_of_the_shorter():
    frames = show.side_by_side({"a": moving_square(3), "b": moving_square(8)}, skip=2)
    assert frames[0].shape == (62, 120, 3)
    assert (frames[-1][22:, :60] == moving_square(3)[-1]).all()
    assert (frames[-1][22:, 60:] == moving_square(8)[-1]).all(), "the end must be shown"


@pytest.mark.parametrize(
    ("given", "shown"),
    [("-5, -0.12 to -.3", "−5, −0.12 to −.3"), ("(-276)", "(−276)"), ("lap-2026-11-26.npz", None),
     ("10-20 a-1 x -y --5", None), (-3, "−3")],
)  # fmt: skip
def test_numbers_below_zero_have_a_minus_sign(given, shown):
    assert f">{shown or given}</td>" in show.table([(given,)], ["n"]).data


def test_the_score_table_shows_what_the_scores_say():
    scores = Scores(np.arange(2), np.array([-100.0, -120]), np.full(2, 9), np.array([True, False]))
    page = show.score_table({"a <clone>": scores}).data
    for part in ("a &lt;clone&gt;", "−110.0", "−120.0", "50%", "95% interval"):
        assert part in page
