"""Shared code of the imitation learning notebooks: plumbing, and what a notebook has taught.

Read it in half an hour, in this order: this file, ``rollouts``, ``demonstrations``, ``networks``,
``training``, ``prerequisites``, ``show``. Trust the rest, or read it later: ``plumbing`` checks
what comes in and writes files whole, ``worlds`` holds the environments and the scripted teachers,
``by_hand`` the driving with keys.

Importing it registers the environments of ``worlds`` with Gymnasium. Three settings come from the
environment:

* ``IL_SIZE=small`` makes every notebook run a small version of itself (the tests use it).
* ``IL_DATA=folder`` says where datasets, weights and laps go (default: ``data/``).
* ``IL_SHARED=folder`` has what ``make data`` made for many readers (nothing is written there).
"""

import os
import sys
import warnings
from importlib import metadata
from pathlib import Path
from typing import TypeVar

import gymnasium as gym

from helpers.plumbing import ROOT, folder_named, naming_the_setting

__all__ = ["data_path", "is_small", "sized"]

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
    """``full`` for a reader, ``small`` for the tests: ``LAPS = sized(30, small=4)``."""
    return small if is_small() else full


def data_path(*parts: str) -> Path:
    """The path of a file under the data folder; makes the folders above it.

    The folder is ``$IL_DATA`` if set (``~`` is your home, a relative path begins at the project's
    folder), else ``data/`` beside ``notebooks/``. What is made at the small size lies in a folder
    ``small`` of its own, so that it is never taken for the full one.

    Raises ValueError for the home of nobody (``~nobody``), and OSError, naming IL_DATA, where the
    folder can't be made.
    """
    path = folder_named("IL_DATA", ROOT).joinpath(*(["small"] if is_small() else []), *parts)
    with naming_the_setting(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    return path


for name, world, steps in (
    ("FastCarRacing-v3", "car_racing:FastCarRacing", 1_000),
    ("PhysicsOnly-v3", "car_racing:PhysicsOnly", 1_000),  # its pictures are all one
    ("StopLines-v3", "stops:StopLines", 1_500),
    ("BlocksOnTheRoad-v3", "blocks:BlocksOnTheRoad", 2_000),
    ("BlocksAlone-v3", "blocks:BlocksAlone", 2_000),
):
    gym.register(
        name,
        f"helpers.worlds.{world}",
        reward_threshold=900,
        max_episode_steps=steps,
        disable_env_checker=name == "PhysicsOnly-v3",
    )

# On Linux without a screen: draw in memory, rather than complain on stderr.
if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")

# Both pygame distributions at once: the last installed wins, and frames change unseen.
if all(any(metadata.distributions(name=name)) for name in ("pygame", "pygame-ce")):
    warnings.warn(
        "both pygame and pygame-ce are installed; they overwrite each other, and CarRacing's "
        "pictures change. To mend it:\n"
        "    pip uninstall -y pygame pygame-ce\n"
        "    pip install pygame-ce==2.5.8",
        stacklevel=2,
    )
