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


def test_bad_pictures_are_refused():
    with pytest.raises(ValueError, match="no frames"):
        show.gif([], ALT)
    with pytest.raises(ValueError, match="alt text"):
        show.gif(moving_square(), "a square")
    with pytest.raises(ValueError, match="uint8"):
        show.gif([np.zeros((4, 4))], ALT)


def test_alt_text_is_escaped():
    page = show.gif(moving_square(), 'He said "<b>go</b>" & went to the right.')._repr_mimebundle_()
    assert 'alt="He said &quot;&lt;b&gt;go&lt;/b&gt;&quot; &amp; went' in page["text/html"]


def test_a_figure_becomes_a_small_png_and_is_closed():
    fig, ax = plt.subplots()
    ax.plot([0, 1], **show.ROLES["expert"])
    picture = show.figure(fig, "A line that rises from zero to one.")
    assert picture.width == 600 and len(picture.data) < 60_000
    assert not plt.fignum_exists(fig.number)


def test_roles_differ_in_colour_and_line():
    assert len({role["color"] for role in show.ROLES.values()}) == len(show.ROLES)
    assert len({str(role["linestyle"]) for role in show.ROLES.values()}) == len(show.ROLES)


def test_side_by_side_rests_on_the_last_frame_of_the_shorter():
    frames = show.side_by_side({"a": moving_square(3), "b": moving_square(8)}, skip=2)
    assert frames[0].shape == (62, 120, 3)
    assert (frames[-1][22:, :60] == moving_square(3)[-1]).all()
    assert (frames[-1][22:, 60:] == moving_square(8)[-1]).all(), "the end must be shown"


def test_the_score_table_shows_what_the_scores_say():
    scores = Scores(np.arange(2), np.array([-100.0, -120]), np.full(2, 9), np.array([True, False]))
    page = show.score_table({"a <clone>": scores}).data
    for part in ("a &lt;clone&gt;", "−110.0", "−120.0", "50%", "95% interval"):
        assert part in page
