"""Pictures in the series' one style: GIFs, figures, tables, with text for who can't see them."""

from __future__ import annotations

import base64
import html
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import imageio.v3 as iio
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import HTML
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from helpers.rollouts import Scores, bootstrap_interval

__all__ = [
    "ACTION_COLOURS", "ROLES", "Picture", "curve", "figure", "frames_in_row", "gif", "label",
    "score_table", "side_by_side", "table", "track_map",
]  # fmt: skip

# One colour and one line for each role in every plot (Okabe and Ito's colours, safe for
# colour-blind readers): plt.plot(x, y, **ROLES["expert"])
ROLES: dict[str, dict[str, Any]] = {
    "expert": {"color": "#0072B2", "linestyle": "-", "label": "expert"},
    "clone": {"color": "#D55E00", "linestyle": "--", "label": "clone"},
    "dagger": {"color": "#009E73", "linestyle": "-.", "label": "DAgger"},
    "random": {"color": "#7F7F7F", "linestyle": ":", "label": "random"},
    "keyboard": {"color": "#CC79A7", "linestyle": (0, (5, 1, 1, 1)), "label": "keyboard"},
    "second": {"color": "#E69F00", "linestyle": (0, (3, 1)), "label": "second"},
}
FASTEST = 50  # frames a second of a GIF; browsers show faster ones at 10
ROAD_WIDTH = 13.3  # units
# On a phone, tables and pictures wider than this (pixels; they have several panels) scroll
WIDE, SCROLLS = 600, '<div style="overflow-x:auto">{}</div>'
HYPHEN = re.compile(r"(?<![\w.-])-(?=\.?\d)")  # where a minus sign belongs
ACTION_COLOURS = ["#0072B2", "#000000", "#D55E00"]  # push left, do nothing, push right

plt.rc("figure", figsize=(6, 3), dpi=100)
plt.rc("figure.constrained_layout", use=True)
plt.rc("axes", titlesize="medium")
plt.rc("axes.spines", top=False, right=False)
plt.rc("legend", frameon=False)
plt.rc("image", cmap="cividis")


class Picture:
    """An image for a cell's output: HTML with alt text, and a still PNG where HTML can't be shown.

    nbconvert and nbviewer drop bare ``image/gif`` outputs; an ``<img>`` with its data inside works
    in all of them.
    """

    def __init__(self, data: bytes, kind: str, alt: str, width: int, still: bytes | None = None):
        if len(alt) < 20:
            raise ValueError(f"alt text {alt!r} is too short: say what happens and how it ends")
        self.data, self.kind, self.alt, self.width, self.still = data, kind, alt, width, still

    def __repr__(self) -> str:
        return f"<{self.kind}: {self.alt}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        data, alt = base64.b64encode(self.data).decode(), html.escape(self.alt, quote=True)
        img = f'<img src="data:image/{self.kind};base64,{data}" alt="{alt}" width="{self.width}"'
        least = self.width * 3 // 4 if self.width > WIDE else 0
        page = SCROLLS.format(f'{img} style="min-width:{least}px">')
        bundle = {"text/html": page, "text/plain": repr(self)}
        if self.still is not None:
            bundle["image/png"] = base64.b64encode(self.still).decode()
        return bundle


def gif(
    frames: Sequence[np.ndarray],
    alt: str,
    fps: float = 12.5,
    width: int | None = None,
    colours: int = 32,
) -> Picture:
    """A GIF of ``frames``, (height, width, 3) uint8, that loops.

    alt    what happens, and how it ends, for who can't see it
    fps    frames a second; above 50, which browsers don't show, frames are left out
    width  pixels to scale to; the frames' own where None

    All frames share one palette: smaller, and about 15 times faster to write than one for each.
    Raises ValueError for no frames, for frames of another kind or of unequal sizes, and for numbers
    that make no sense.
    """
    shapes = {np.shape(frame) for frame in frames}
    if len(shapes) != 1 or len(shape := shapes.pop()) != 3 or shape[2] != 3:
        raise ValueError("frames must be one or more of one size, (height, width, 3)")
    if any(np.asarray(frame).dtype != np.uint8 for frame in frames):
        raise ValueError("frames must be uint8, 0 to 255")
    if not (fps > 0 and 2 <= colours <= 256 and (width is None or (width >= 1 and width % 1 == 0))):
        raise ValueError(f"{fps=}, {width=}, {colours=}: one of them makes no sense")
    every = math.ceil(fps / FASTEST)
    images = [Image.fromarray(_scaled(frame, width)) for frame in frames[::every]]
    sample = [images[i] for i in np.linspace(0, len(images) - 1, min(len(images), 8)).astype(int)]
    strip = np.concatenate([np.asarray(image) for image in sample])
    palette = Image.fromarray(strip).quantize(colours, dither=Image.Dither.NONE)
    small = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    file = io.BytesIO()
    ends = np.round(100 * every / fps * np.arange(len(small) + 1))  # the format's hundredths
    pauses = (10 * np.diff(ends)).astype(int).tolist()  # ms
    small[0].save(file, "GIF", save_all=True, append_images=small[1:], duration=pauses, loop=0)
    middle = np.asarray(small[len(small) // 2].convert("RGB"))
    still = iio.imwrite("<bytes>", middle, extension=".png")
    return Picture(file.getvalue(), "gif", alt, images[0].width, still)


def figure(fig: Figure, alt: str) -> Picture:
    """A matplotlib figure as a PNG, closed; ``alt`` says what it shows, with the main numbers."""
    file = io.BytesIO()
    fig.savefig(file, format="png")
    plt.close(fig)
    return Picture(file.getvalue(), "png", alt, round(fig.get_figwidth() * fig.dpi))


def _scaled(frame: np.ndarray, width: int | None) -> np.ndarray:
    image = Image.fromarray(frame)
    if width is None or width == image.width:
        return frame
    how = Image.Resampling.BOX if width < image.width else Image.Resampling.NEAREST
    return np.asarray(image.resize((width, round(image.height * width / image.width)), how))


_font = cache(ImageFont.load_default)


def label(frame: np.ndarray, text: str) -> np.ndarray:
    """``frame`` with a line of text above it, (height + 22, width, 3) uint8."""
    text = text.replace("−", "-")  # Pillow's font has no minus sign
    image = Image.new("RGB", (frame.shape[1], frame.shape[0] + 22), "white")
    image.paste(Image.fromarray(frame), (0, 22))
    size = next((n for n in range(15, 8, -1) if _font(n).getlength(text) < image.width - 4), 8)
    ImageDraw.Draw(image).text((4, 2), text, fill="black", font=_font(size))
    return np.asarray(image)


def side_by_side(
    runs: Mapping[str, Sequence[np.ndarray]], skip: int = 1, width: int | None = None
) -> list[np.ndarray]:
    """Runs beside each other, each under its name; a run that ends earlier rests on its last frame.

    skip   keep every ``skip``-th frame
    width  pixels to scale each run's frames to; their own where None

    Raises ValueError where there are no runs, a run has no frames or frames of unequal sizes, runs
    differ in height, or ``skip`` is below 1.
    """
    if not runs or not all(len(frames) for frames in runs.values()) or skip < 1:
        raise ValueError("give one or more runs with frames, and a skip of 1 or more")
    if any(len({np.shape(frame) for frame in frames}) > 1 for frames in runs.values()):
        raise ValueError("the frames of a run must be of one size")
    if len({len(_scaled(frames[0], width)) for frames in runs.values()}) > 1:
        raise ValueError("the runs' frames must be of one height")
    length = max(len(frames) for frames in runs.values())

    def together(t: int) -> np.ndarray:
        shown = {name: frames[min(t, len(frames) - 1)] for name, frames in runs.items()}
        return np.hstack([label(_scaled(frame, width), name) for name, frame in shown.items()])

    return [together(t) for t in (*range(0, length - 1, skip), length - 1)]


def frames_in_row(frames: Mapping[str, np.ndarray], alt: str) -> Picture:
    """Pictures beside each other, each under its name; 800 pixels in all."""
    fig, axes = plt.subplots(1, len(frames), figsize=(8, 8 / len(frames) + 0.3))
    for ax, (name, frame) in zip(np.atleast_1d(axes), frames.items(), strict=True):
        ax.imshow(frame, interpolation="nearest", cmap="gray", vmin=0, vmax=255)
        ax.set_title(name, fontsize=10)
        ax.axis("off")
    return figure(fig, alt)


def curve(
    ax: Axes, x: np.ndarray, values: np.ndarray, role: str, name: str | None = None, **style: Any
) -> np.ndarray:
    """The mean over runs with its 95% bootstrap interval as a band; the interval, (points, 2).

    x (points,), values (runs, points); ``style`` changes the role's line
    """
    line = {**ROLES[role], "label": name or ROLES[role]["label"], **style}
    interval = np.array([bootstrap_interval(column) for column in np.transpose(values)])
    ax.plot(x, np.mean(values, axis=0), **line)
    ax.fill_between(x, *interval.T, color=line["color"], alpha=0.2, linewidth=0)
    return interval


def track_map(ax: Axes, middle: np.ndarray, paths: Mapping[str, np.ndarray]) -> None:
    """A track from above, and paths on it: role → places (T, 2), in units, as ``middle`` (N, 2)."""
    ring = np.concatenate([middle, middle[:1]])
    for offset, colour in ((ROAD_WIDTH + 1, "#8C8C8C"), (ROAD_WIDTH, "#D9D9D9")):
        left = np.gradient(ring, axis=0)[:, ::-1] * [-1, 1]
        left *= offset / 2 / np.linalg.norm(left, axis=1, keepdims=True)
        ax.fill(*np.concatenate([ring + left, (ring - left)[::-1]]).T, color=colour, linewidth=0)
    for role, places in paths.items():
        ax.plot(*np.transpose(places), **ROLES[role])
    ax.set(aspect="equal", xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


def table(rows: Iterable[Sequence[Any]], columns: Sequence[str]) -> HTML:
    """An HTML table; numbers are set to the right, with the minus sign of print."""
    head = "".join(f"<th>{html.escape(str(name))}</th>" for name in columns)
    body = ""
    for row in rows:
        if len(row) != len(columns):
            raise ValueError(f"the row {row!r} does not fit the columns {columns!r}")
        body += "<tr>"
        for i, value in enumerate(row):
            text = HYPHEN.sub("−", str(value))
            align = "left" if i == 0 or len(text) > 24 else "right"
            body += f'<td style="text-align:{align}">{html.escape(text)}</td>'
        body += "</tr>"
    whole = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return HTML(SCROLLS.format(whole))


def score_table(scores: Mapping[str, Scores], finished: str = "finished") -> HTML:
    """One line for each policy: mean return, its 95% interval, minimum, share finished."""
    rows = []
    for name, score in scores.items():
        numbers = (score.mean, *score.interval, score.minimum)
        mean, low, high, worst = (f"{number:.1f}" for number in numbers)
        rows.append((name, mean, f"{low} to {high}", worst, f"{score.finished_share:.0%}"))
    return table(rows, ["policy", "mean return", "95% interval", "minimum", finished])
