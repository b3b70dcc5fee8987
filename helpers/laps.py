"""Laps driven by hand: recorded step by step, saved as they end, listed, replayed and dropped.

Taught in 03-collect-car-racing. `LapSession` is what the pygame window (``helpers.keyboard``) and
the notebook cell (``helpers.browser``) have in common: they show its picture and hand it the keys.

A lap by hand takes 900 to 2,000 steps with these keys, so the time limit is 3,000 steps and not
the 1,000 that scores are measured with. A lap ends, and is saved, when every tile was visited
(``finished``), when the car crosses the line again with 95% of them, or at the time limit. A lap
that leaves the playing field is not saved; it starts again.
"""

from __future__ import annotations

import html
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from helpers import data_path
from helpers.demos import Demonstrations

__all__ = ["LapSession", "Laps", "drop_lap", "laps_folder", "list_laps", "make_env"]
__all__ += ["replay_lap", "step_log"]

TIME_LIMIT = 3_000  # steps in a lap
FIRST_SEED = 1_000  # tracks driven by hand: training seeds from here on
SHOWN = 75  # steps that a message stays
HAND_BACK = 10  # steps without a key until the policy has the wheel again
LOG = np.dtype([("human", np.bool_), ("labelled", np.bool_), ("reward", np.float32)])


def make_env(time_limit: int = TIME_LIMIT) -> gym.Env:
    """The race car with room for slow laps, and pictures of 400×600 pixels."""
    import helpers.car_racing  # noqa: F401  registers FastCarRacing-v3

    return gym.make("FastCarRacing-v3", render_mode="rgb_array", max_episode_steps=time_limit)


def laps_folder(folder: str | Path | None = None, source: str = "human") -> Path:
    """``folder``, or ``data/car-racing-laps/`` and the source, "human" or "takeover"."""
    return Path(folder) if folder else data_path("car-racing-laps", source)


class LapSession:
    """Laps in ``env``, one after the other, each saved to ``folder`` when it ends.

    folder  default: ``data/car-racing-laps/human``, with a policy ``…/takeover``
    laps    the session is ``done`` after this many, or when the seeds are used up
    seeds   of the tracks; default: 1,000 and on, leaving out those that the folder has
    policy  observation → action. It drives until a key is held, and again once no key was held
            for 10 steps. Only what the human did is saved, as labels with source "takeover";
            who drove each step of the lap is in the file's `step_log`.
    """

    def __init__(
        self,
        env: gym.Env,
        folder: str | Path | None = None,
        *,
        laps: int = 3,
        seeds: Iterable[int] | None = None,
        policy: Callable[[np.ndarray], Any] | None = None,
    ) -> None:
        self.env, self.policy, self.laps = env, policy, laps
        self.source = "human" if policy is None else "takeover"
        self.folder = laps_folder(folder, self.source)
        self.folder.mkdir(parents=True, exist_ok=True)
        if seeds is not None:
            seeds = list(seeds)
            self.laps = min(laps, len(seeds))
        self._seeds = self._new_seeds() if seeds is None else iter(seeds)
        self.driven = 0  # laps that ended
        self.saved: list[Path] = []
        self.message = "" if policy is None else "Hold an arrow key to take over."
        self._next_track()

    def _new_seeds(self) -> Iterator[int]:
        driven = {lap.seed for lap in list_laps(self.folder)}
        return (seed for seed in count(FIRST_SEED) if seed not in driven)

    def _next_track(self) -> None:
        self.seed = next(self._seeds)
        self.restart()

    @property
    def done(self) -> bool:
        return self.driven >= self.laps

    def restart(self) -> None:
        """Start the lap again, on the same track; what was recorded of it is forgotten."""
        self.observation, _ = self.env.reset(seed=self.seed)
        if hasattr(self.policy, "reset"):
            self.policy.reset()  # type: ignore[union-attr]
        self._observations: list[np.ndarray] = []
        self._actions: list[np.ndarray] = []
        self._rewards: list[float] = []
        self._held: list[bool] = []
        self._human: list[bool] = []
        self._idle = HAND_BACK  # steps since a key was held
        self.waiting = self.policy is None  # for a key: nothing moves until then
        self._let_go = False  # the keys of the lap before don't start this one

    @property
    def human(self) -> bool:
        """Whether the human has the wheel."""
        return self.policy is None or self._idle < HAND_BACK

    @property
    def steps(self) -> int:
        return len(self._rewards)

    def step(self, action: np.ndarray) -> bool:
        """One step with the keys' action (all zero: no key); True where it ended the lap."""
        held = bool(np.any(action))
        if self.done:
            return False
        if self.waiting:
            self._let_go = self._let_go or not held
            self.waiting = not (held and self._let_go)
            if self.waiting:
                return False
            self.message = ""
        if self.steps == SHOWN:
            self.message = ""
        self._idle = 0 if held else self._idle + 1
        if self.policy is not None and not self.human:
            action = np.asarray(self.policy(self.observation), dtype=np.float32)
        self._observations.append(self.observation)  # what was seen before the action
        self._actions.append(action)
        self._held.append(held)
        self._human.append(self.human)
        self.observation, reward, terminated, truncated, info = self.env.step(action)
        self._rewards.append(float(reward))
        if terminated and not info.get("lap_finished", True):
            self.message = "Off the field: the lap starts again."
            self.restart()
            return False
        if not (terminated or truncated or self._crossed_the_line()):
            return False
        self._save(finished=terminated)
        if not self.done:
            self._next_track()
        return True

    def _crossed_the_line(self) -> bool:
        """Round the track with a few tiles missed: CarRacing itself would go on and on."""
        world: Any = self.env.unwrapped
        if world.tile_visited_count < 0.95 * len(world.track):
            return False
        return any(tile.idx < 5 for wheel in world.car.wheels for tile in wheel.tiles)

    def _save(self, finished: bool) -> None:
        log = np.zeros(self.steps, LOG)
        log["human"], log["reward"] = self._human, self._rewards
        log["labelled"] = True if self.policy is None else labelled_steps(self._held, self._human)
        self.driven += 1
        self.message = f"Lap {self.driven} of {self.laps}: {sum(self._rewards):.0f} points"
        keep = np.flatnonzero(log["labelled"])
        if len(keep) == 0:
            self.message += ", driven without your help: no labels."
            return
        lap = Demonstrations(
            env_id="CarRacing-v3",
            observations=np.stack([self._observations[i] for i in keep]),
            actions=np.stack([self._actions[i] for i in keep]).astype(np.float32),
            rewards=log["reward"][keep],
            lengths=np.array([len(keep)], np.int64),
            seeds=np.array([self.seed], np.int64),
            finished=np.array([finished], np.bool_),
            sources=np.array([self.source]),
        )
        path = self.folder / f"lap-{datetime.now():%Y%m%d-%H%M%S-%f}.npz"
        if self.policy is not None:
            np.save(path.with_suffix(".npy"), log)
        self.saved.append(lap.save(path))
        self.message += ", saved."

    @property
    def status(self) -> dict[str, Any]:
        """What the line beneath the picture says: lap, return, speed (units/s), tiles, …"""
        world: Any = self.env.unwrapped
        return {
            "lap": min(self.driven + 1, self.laps),
            "laps": self.laps,
            "return": round(sum(self._rewards)),
            "speed": round(float(np.hypot(*world.car.hull.linearVelocity))),
            "tiles": world.tile_visited_count,
            "track": len(world.track),
            "human": self.human,
            "waiting": self.waiting,
            "message": self.message,
        }


def labelled_steps(held: Iterable[bool], human: Iterable[bool]) -> np.ndarray:
    """The human's steps that are labels, bool (T,): with a key held, or between two such steps.

    The steps without a key that end in the policy's having the wheel again are nobody's wish.
    """
    labels, wished = [], False
    for key, by_hand in reversed(list(zip(held, human, strict=True))):
        wished = by_hand and (key or wished)
        labels.append(wished)
    return np.array(labels[::-1], dtype=np.bool_)


# -- laps on disk --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Lap:
    """A lap on disk; ``total`` is its return, ``labels`` the steps done by hand."""

    path: Path
    seed: int
    steps: int
    total: float
    finished: bool
    source: str
    labels: int
    when: datetime


class Laps(list[Lap]):
    """The laps of a folder, oldest first; the notebook shows them as a table."""

    def rows(self) -> list[tuple[str, ...]]:
        head: tuple[str, ...] = (
            "lap",
            "track",
            "steps",
            "by hand",
            "return",
            "finished",
            "driven",
            "file",
        )
        return [head] + [
            (
                str(number),
                str(lap.seed),
                f"{lap.steps:,}",
                f"{lap.labels:,}",
                f"{lap.total:.0f}",
                "yes" if lap.finished else "no",
                f"{lap.when:%d %b %H:%M}",
                lap.path.name,
            )
            for number, lap in enumerate(self)
        ]

    def __repr__(self) -> str:
        if not self:
            return "no laps yet"
        widths = [max(map(len, column)) for column in zip(*self.rows(), strict=True)]
        lines = (
            "  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))
            for row in self.rows()
        )
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        if not self:
            return "<p>No laps yet.</p>"
        head, *body = self.rows()
        rows = "".join(f"<tr>{_cells(row, 'td')}</tr>" for row in body)
        top = f"<thead><tr>{_cells(head, 'th')}</tr></thead>"
        return f"<table>{top}<tbody>{rows}</tbody></table>"


def _cells(row: tuple[str, ...], tag: str) -> str:
    return "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row)


def step_log(path: str | Path) -> np.ndarray | None:
    """Every step of a lap with take-overs: human (drove), labelled (saved), reward; else None."""
    log = Path(path).with_suffix(".npy")
    return np.load(log, allow_pickle=False) if log.exists() else None


def list_laps(folder: str | Path | None = None) -> Laps:
    """The laps in ``folder`` (default: ``data/car-racing-laps/human``), oldest first.

    A lap's number here is its index in ``Demonstrations.load(folder)``. Raises DemonstrationsError
    for a file that can't be read.
    """
    laps = Laps()
    for path in sorted(laps_folder(folder).glob("*.npz")):
        demo, log = Demonstrations.load(path, "CarRacing-v3"), step_log(path)
        rewards = demo.rewards if log is None else log["reward"]
        when = datetime.fromtimestamp(path.stat().st_mtime)
        finished, source = bool(demo.finished[0]), str(demo.sources[0])
        total, labels = float(rewards.sum()), len(demo.rewards)
        lap = Lap(path, int(demo.seeds[0]), len(rewards), total, finished, source, labels, when)
        laps.append(lap)
    return laps


def replay_lap(folder: str | Path | None = None, number: int = -1) -> Any:
    """A lap as GIF, in real time up to 12 s and faster beyond; ``number`` is `list_laps`'s."""
    from helpers.show import gif

    lap = list_laps(folder)[number]
    seen = Demonstrations.load(lap.path).observations
    end = "finishes the lap" if lap.finished else "ends without finishing the lap"
    alt = f"The car on track {lap.seed}, {lap.steps} steps by {lap.source}; it {end}"
    picture = gif(list(seen[:: max(4, len(seen) // 150)]), alt=f"{alt} at {lap.total:.0f} points.")
    picture.width = 2 * picture.width  # shown twice as large, stored as it is
    return picture


def drop_lap(folder: str | Path | None, number: int) -> Laps:
    """Take a lap out, and list the rest. Its files move to ``dropped/``: they can be put back."""
    path = list_laps(folder)[number].path
    bin_ = path.parent / "dropped"
    bin_.mkdir(exist_ok=True)
    for file in path.parent.glob(f"{path.stem}.np[yz]"):
        os.replace(file, bin_ / file.name)
    return list_laps(folder)
