"""Laps driven by hand: recorded step by step, saved as they end, listed, replayed and dropped.

Taught in 03-collect-car-racing. `LapSession` is what the pygame window and the notebook cell (the
modules ``window`` and ``cockpit``) have in common: they show its picture and hand it the keys.

A lap by hand takes 900 to 2,000 steps with these keys, so the time limit is 3,000 steps and not
the 1,000 that scores are measured with. A lap ends, and is saved, when every tile was visited
(``finished``), when the car crosses the line again with 95% of them, or at the time limit. A lap
that leaves the playing field is not saved; it starts again. Hands off the keys, the car stops.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import count, islice
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from helpers import data_path
from helpers.demonstrations import (
    PER_EPISODE,
    Demonstrations,
    DemonstrationsError,
    lap_files,
    read_arrays,
    recordable,
)
from helpers.plumbing import as_action, as_count, as_seeds, check_room, ready, written_whole
from helpers.rollouts import Policy
from helpers.show import Picture, gif, table

__all__ = [
    "LapSession", "Laps", "drop_lap", "laps_folder", "list_laps", "make_env", "replay_lap",
    "step_log",
]  # fmt: skip

TIME_LIMIT = 3_000  # steps in a lap
LAP_SIZE = 5_000_000  # bytes that such a lap takes on disk, about
FIRST_SEED = 1_000  # tracks driven by hand: training seeds from here on
SHOWN = 75  # steps that a message stays
HAND_BACK = 10  # steps without a key until the policy has the wheel again
# Steps without a key until the car waits: 4 s. At a keyboard driver's speed a car leaves the field
# after 6 s or more; that driver's own hands are off the keys for 1.7 s at the most.
HANDS_OFF = 100
LOG = np.dtype([("human", np.bool_), ("labelled", np.bool_), ("reward", np.float32)])
COLUMNS = ("lap", "track", "steps", "by hand", "return", "tiles", "driven", "file")


def make_env(time_limit: int = TIME_LIMIT) -> gym.Env:
    """The race car with room for slow laps, and pictures of 400×600 pixels."""
    return gym.make("FastCarRacing-v3", render_mode="rgb_array", max_episode_steps=time_limit)


def laps_folder(folder: str | Path | None = None, source: str = "human") -> Path:
    """``folder``, or ``data/car-racing-laps/`` and the source, "human" or "takeover"."""
    return Path(folder) if folder else data_path("car-racing-laps", source)


class LapSession:
    """Laps in ``env``, one after the other, each saved to ``folder`` when it ends.

    folder  default: ``data/car-racing-laps/human``, with a policy ``…/takeover``
    laps    the session is ``done`` after this many, or when the seeds are used up
    seeds   of the tracks; default: 1,000 and on, leaving out those that the folder has
    policy  drives until a key is held, and again once no key was held for 10 steps. Only what the
            human did is saved, as labels with source "takeover"; the `step_log` says who drove.

    Raises TypeError or ValueError for arguments that can't be used, and OSError for a folder that
    can't be written or has no room for a lap.
    """

    def __init__(
        self,
        env: gym.Env,
        folder: str | Path | None = None,
        *,
        laps: int = 3,
        seeds: Iterable[int] | None = None,
        policy: Policy | None = None,
    ) -> None:
        if not isinstance(env, gym.Env) or env.render_mode != "rgb_array":
            raise ValueError(f'env is {env}; make it with render_mode="rgb_array", as make_env()')
        laps = as_count("laps", laps)
        self.env, self.policy, self._env_id = env, policy, recordable(env)
        self.source = "human" if policy is None else "takeover"
        self.folder = laps_folder(folder, self.source)
        check_room(self.folder, LAP_SIZE)
        if seeds is None:
            driven = {lap.seed for lap in list_laps(self.folder)}
            seeds = (seed for seed in count(FIRST_SEED) if seed not in driven)
        self._seeds = as_seeds(islice(seeds, laps) if isinstance(seeds, Iterable) else seeds)
        self.laps = len(self._seeds)
        self.driven = 0  # laps that ended
        self.saved: list[Path] = []
        self.labels = 0  # steps of the human's in those files
        self.unsaved: Path | None = None  # where a lap belongs that ended and isn't on disk yet
        self.message = "" if policy is None else "Hold an arrow key to take over."
        self.restart()

    @property
    def done(self) -> bool:
        return self.driven >= self.laps

    def restart(self) -> None:
        """Start the lap again, on the same track; not while one that ended isn't saved."""
        if self.unsaved:
            return
        if self.policy is not None:
            ready(self.policy, self.env)
        self.seed = self._seeds[min(self.driven, self.laps - 1)]
        self.observation, _ = self.env.reset(seed=self.seed)
        # of each step: what was seen before, the action, the reward, key held?, human at the wheel?
        self._steps: list[tuple[np.ndarray, np.ndarray, float, bool, bool]] = []
        self.total = 0.0  # the return so far
        self._idle = HAND_BACK  # steps since a key was held
        self.waiting = self.policy is None  # for a key: nothing moves until then
        self._let_go = False  # the keys of the lap before don't start this one

    @property
    def human(self) -> bool:
        """Whether the human has the wheel."""
        return self.policy is None or self._idle < HAND_BACK

    @property
    def steps(self) -> int:
        return len(self._steps)

    def step(self, action: np.ndarray) -> bool:
        """One step with the keys' action (all zero: no key); True where it ended the lap.

        Where that lap can't be saved, ``message`` says so, and nothing moves until a key is
        pressed: that tries again.

        Raises TypeError or ValueError for an action that can't be used, the policy's too.
        """
        held = bool(np.any(action))
        if self.done:
            return False
        if self.waiting:
            self._let_go = self._let_go or not held
            if not (held and self._let_go):
                return False
            if self.unsaved:
                return self._end_lap()
            self.waiting, self.message = False, ""
        if self.steps == SHOWN:
            self.message = ""
        self._idle = 0 if held else self._idle + 1
        if self.policy is None and self._idle >= HANDS_OFF:
            self.waiting, self.message = True, "Hands off the keys: the car waits."
            return False
        seen = np.array(self.observation)  # a policy may paint into its own
        if self.policy is not None and not self.human:
            action = self.policy(self.observation)
        action = as_action(action, self.env.action_space)
        self.observation, reward, terminated, truncated, info = self.env.step(action)
        self._steps.append((seen, action, float(reward), held, self.human))
        self.total += float(reward)
        if terminated and not info.get("lap_finished", True):
            self.message = "Off the field: the lap starts again."
            self.restart()
            return False
        if not (terminated or truncated or self._crossed_the_line()):
            return False
        self._finished = terminated
        self.unsaved = self._new_path()
        return self._end_lap()

    def _new_path(self) -> Path:
        return self.folder / f"lap-{datetime.now():%Y%m%d-%H%M%S-%f}.npz"

    def _crossed_the_line(self) -> bool:
        """Round the track with a few tiles missed: CarRacing itself would go on and on."""
        world: Any = self.env.unwrapped
        if world.tile_visited_count < 0.95 * len(world.track):
            return False
        return any(tile.idx < 5 for wheel in world.car.wheels for tile in wheel.tiles)

    def _end_lap(self) -> bool:
        self.waiting, self._let_go = True, False
        try:
            self.save_again()
        except OSError as error:
            why = os.strerror(error.errno) if error.errno else error
            self.message = f"Not saved ({why}). Press an arrow key to try again."
        return self.unsaved is None

    def stop(self) -> None:
        """End the session; the human's steps in a lap beside a policy are saved, as if it ended.

        A lap by hand that isn't over is lost. Raises OSError, as `save_again`.
        """
        under_way = not self.done and not self.unsaved
        if self.policy is not None and under_way and any(step[3] for step in self._steps):
            self._finished, self.unsaved = False, self._new_path()
            self.save_again()
            self.driven -= 1  # to its end it wasn't
            self._steps.clear()
        self.save_again()

    def save_again(self) -> None:
        """Save the lap that has ended, if it isn't yet, and go on to the next.

        Raises OSError where the file can't be written; the lap is kept, to try again.
        """
        if not self.unsaved:
            return
        observations, actions, rewards, held, human = map(np.array, zip(*self._steps, strict=True))
        keep = np.full(self.steps, True) if self.policy is None else labelled_steps(held, human)
        words = f"Lap {self.driven + 1} of {self.laps}: {self.total:.0f} points, "
        if keep.any():
            lap = Demonstrations(
                self._env_id,
                observations[keep],
                actions[keep],
                rewards[keep].astype(np.float32),
                lengths=np.array([keep.sum()], np.int64),
                seeds=np.array([self.seed], np.int64),
                finished=np.array([self._finished], np.bool_),
                sources=np.array([self.source]),
            )
            if self.policy is not None:
                log = np.array(list(zip(human, keep, rewards, strict=True)), LOG)
                with written_whole(self.unsaved.with_suffix(".npy")) as file:
                    np.save(file, log)
            self.saved.append(lap.save(self.unsaved))
            self.labels += len(lap.actions)
        self.message = words + ("saved." if keep.any() else "driven without your help: no labels.")
        self.unsaved = None
        self.driven += 1
        if not self.done:
            self.restart()

    @property
    def status(self) -> dict[str, Any]:
        """The line beneath the picture, the message on it, and what the car waits for."""
        world: Any = self.env.unwrapped
        line = (
            f"Lap {min(self.driven + 1, self.laps)} of {self.laps} · return {self.total:.0f}"
            f" · {world.tile_visited_count} of {len(world.track)} tiles"
            f" · speed {np.hypot(*world.car.hull.linearVelocity):.0f}"  # units/s
        )
        if self.policy is not None:
            line += " · you drive" if self.human else " · the policy drives"
        start = self.waiting and not self.unsaved
        return {"line": line, "message": self.message, "human": self.human, "waiting": start}


def labelled_steps(held: Iterable[bool], human: Iterable[bool]) -> np.ndarray:
    """The human's steps that are labels, bool (T,): with a key held, or between two such steps."""
    labels, wished = [], False
    for key, by_hand in reversed(list(zip(held, human, strict=True))):
        wished = by_hand and (key or wished)
        labels.append(wished)
    return np.array(labels[::-1], dtype=np.bool_)


# -- laps on disk --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Lap:
    """A lap on disk; ``total`` is its return, ``labels`` the steps done by hand.

    It touched ``touched`` of its track's ``tiles`` tiles.
    """

    path: Path
    episode: int  # its place among the file's, from 0 on
    seed: int
    steps: int
    total: float
    touched: int
    tiles: int
    source: str
    labels: int
    when: datetime


class Laps(list[Lap]):
    """The laps of a folder, oldest first; the notebook shows them as a table."""

    def rows(self) -> list[tuple[str, ...]]:
        """Head and rows; "by hand" is among them where some lap's steps were not all by hand."""
        rows: list[tuple[str, ...]] = [COLUMNS]
        for i, lap in enumerate(self):
            counts = f"{lap.steps:,}", f"{lap.labels:,}", f"{lap.total:.0f}"
            tiles, when = f"{lap.touched} of {lap.tiles}", f"{lap.when:%d %b %H:%M}"
            rows.append((str(i), str(lap.seed), *counts, tiles, when, lap.path.name))
        if all(lap.labels == lap.steps for lap in self):
            rows = [row[:3] + row[4:] for row in rows]
        return rows

    def __repr__(self) -> str:
        if not self:
            return "no laps yet"
        rows = self.rows()
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = "\n".join("  ".join(map(str.rjust, row, widths)) for row in rows)
        return lines.encode("cp1252", "replace").decode("cp1252")  # all that some consoles know

    def _repr_html_(self) -> str:
        head, *rows = self.rows()
        return str(table(rows, head).data) if self else "<p>No laps yet.</p>"


def step_log(path: str | Path) -> np.ndarray | None:
    """Every step of a lap with take-overs: human (drove), labelled (saved), reward.

    None where there is no log, or a damaged one.
    """
    try:
        log = np.load(Path(path).with_suffix(".npy"), allow_pickle=False)
        return log if log.dtype == LOG and log.ndim == 1 else None
    except Exception:  # damage can raise nearly anything
        return None


def list_laps(folder: str | Path | None = None) -> Laps:
    """The laps in ``folder`` (default: ``data/car-racing-laps/human``), oldest first.

    A lap's number here is its index in ``Demonstrations.load(folder)``. Raises DemonstrationsError
    for a file that can't be read.
    """
    return Laps(lap for path in lap_files(laps_folder(folder)) for lap in _laps_in(path))


def _laps_in(path: Path) -> Iterator[Lap]:
    names = ("env_id", "rewards", *PER_EPISODE)  # not the pictures: unpacking them takes long
    env_id, rewards, *columns = read_arrays(path, names, "03-collect-car-racing").values()
    if env_id != "CarRacing-v3":
        raise DemonstrationsError(f"{path} holds {env_id}, no laps; move it away")
    if len(set(map(np.shape, columns))) > 1 or sum(columns[0]) != len(rewards):
        raise DemonstrationsError(f"{path} is damaged: its arrays disagree; move it away")
    log = step_log(path) if len(columns[0]) == 1 else None
    when = datetime.fromtimestamp(path.stat().st_mtime)
    first = 0
    for i, (labels, seed, _, source) in enumerate(zip(*map(list, columns), strict=True)):
        part = rewards[first : first + labels] if log is None else log["reward"]
        counts = len(part), float(part.sum()), *_tiles(part)
        yield Lap(path, i, int(seed), *counts, str(source), int(labels), when)
        first += labels


def _tiles(rewards: np.ndarray) -> tuple[int, int]:
    """How many tiles were touched, and of how many: each of N pays 1000/N, each step costs 0.1."""
    paid = rewards + 0.1
    tile = float(min(paid[paid > 1], default=np.inf))  # a step that touched one alone
    return round(paid.sum() / tile), round(1000 / tile)


def replay_lap(folder: str | Path | None = None, number: int = -1) -> Picture:
    """A lap as GIF, in real time up to 12 s and faster beyond; ``number`` is `list_laps`'s.

    Raises IndexError where there is no such lap.
    """
    laps = list_laps(folder)
    if not -len(laps) <= number < len(laps):
        where = f"{laps_folder(folder)} holds {len(laps)} laps; list_laps shows their numbers"
        raise IndexError(f"there is no lap {number}: {where}")
    lap = laps[number]
    seen = Demonstrations.load(lap.path)[lap.episode].observations
    alt = f"The car on track {lap.seed}, {lap.steps} steps by {lap.source}; "
    alt += f"it touches {lap.touched} of {lap.tiles} tiles, for {lap.total:.0f} points."
    picture = gif(list(seen[:: max(4, len(seen) // 150)]), alt=alt)
    picture.width = 2 * picture.width  # shown twice as large, stored as it is
    return picture


def drop_lap(folder: str | Path | None, file: str, *, undo: bool = False) -> Laps:
    """Take out the file of this name, a lap as a rule, and list the rest; ``undo`` puts it back.

    It moves to ``dropped/`` and back, with its log. Where that was done before, nothing moves: a
    cell that is run again drops no other lap.

    Raises FileNotFoundError where there is no such file.
    """
    here = laps_folder(folder)
    there = here / "dropped"
    if undo:
        here, there = there, here
    if (here / file).is_file():
        there.mkdir(exist_ok=True)
        path = here / file
        stems = (f"{path.stem}-{i}" if i else path.stem for i in count())
        ends = (".npz", ".npy")
        stem = next(s for s in stems if not any((there / (s + end)).exists() for end in ends))
        for end in ends:
            if (moved := path.with_suffix(end)).exists():
                moved.rename(there / (stem + end))
    elif not (there / file).is_file():
        raise FileNotFoundError(f"there is no {here / file}; list_laps shows the files' names")
    return list_laps(folder)
