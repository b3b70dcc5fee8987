"""Shared code of the imitation learning notebooks: plumbing, and what a notebook has taught.

Importing it registers ``FastCarRacing-v3`` with Gymnasium. Two settings come from the environment,
and only from here:

* ``IL_SIZE=small`` makes every notebook run a small version of itself (the tests use it).
* ``IL_DATA=folder`` says where datasets, weights and scores go (default: ``data/``).
"""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import BinaryIO, TypeVar

import gymnasium as gym

__all__ = ["data_path", "is_small", "sized", "written_whole"]

T = TypeVar("T")


def is_small() -> bool:
    """True where the environment asks for the small size (``IL_SIZE=small``).

    Raises ValueError for any value but "small", "full" or nothing.
    """
    size = os.environ.get("IL_SIZE", "full")
    if size not in ("small", "full"):
        raise ValueError(f"IL_SIZE is {size!r}; set it to 'small' or 'full', or leave it out")
    return size == "small"


def sized(full: T, small: T) -> T:
    """``full`` for a reader, ``small`` for the tests (``IL_SIZE=small``).

    >>> laps = sized(30, small=4)
    """
    return small if is_small() else full


def data_path(*parts: str) -> Path:
    """The path of a file under the data folder; makes the folders above it.

    The folder is ``$IL_DATA`` if set, else ``data/`` beside ``notebooks/``.
    """
    root = os.environ.get("IL_DATA") or Path(__file__).resolve().parent.parent / "data"
    path = Path(root, *parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """A binary file to write ``path``'s new content to, which takes its place at the end.

    If anything interrupts the writing, ``path`` keeps its old content, and no part is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _say_where_no_display_is() -> None:
    """On Linux without a screen: draw in memory, rather than complain on stderr."""
    if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")


def _warn_if_pygame_doubled() -> None:
    """Both pygame distributions at once: the last installed wins, and frames change unseen."""
    found = {dist.metadata["Name"] for dist in metadata.distributions(name="pygame")}
    if found and {dist.metadata["Name"] for dist in metadata.distributions(name="pygame-ce")}:
        warnings.warn(
            "both pygame and pygame-ce are installed; they overwrite each other, and CarRacing's "
            "pictures change. To mend it:\n"
            "    pip uninstall -y pygame pygame-ce\n"
            "    pip install pygame-ce==2.5.8",
            stacklevel=3,
        )


gym.register(
    "FastCarRacing-v3",
    entry_point="helpers.car_racing:FastCarRacing",
    max_episode_steps=1000,
    reward_threshold=900,
)
_say_where_no_display_is()
_warn_if_pygame_doubled()
