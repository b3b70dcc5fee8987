"""Demonstrations: what an expert saw and did, recorded, checked, saved and loaded.

Taught in 01-collect-mountain-car. Files are NumPy's ``.npz`` without pickle: they can be opened
anywhere, and opening one can't run code.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from tqdm.auto import tqdm

from helpers import written_whole
from helpers.rollouts import Rollout, rollout

__all__ = ["Demonstrations", "DemonstrationsError"]

# environment: (observation dtype and shape, action dtype and shape), each for one step
FORMATS: dict[str, tuple[type, tuple[int, ...], type, tuple[int, ...]]] = {
    "MountainCar-v0": (np.float32, (2,), np.int64, ()),
    "CarRacing-v3": (np.uint8, (96, 96, 3), np.float32, (3,)),
}
SAME_DATA = {"FastCarRacing-v3": "CarRacing-v3"}  # other ids of environments with the same bytes
PER_EPISODE = {"lengths": np.int64, "seeds": np.int64, "finished": np.bool_, "sources": np.str_}


class DemonstrationsError(ValueError):
    """Demonstrations that can't be used; the message names the file and says what to do."""


@dataclass(frozen=True, eq=False)
class Demonstrations:
    """Episodes of an expert, one after the other: N steps in E episodes.

    env_id        "MountainCar-v0" or "CarRacing-v3"
    observations  (N, 2) float32 or (N, 96, 96, 3) uint8: what was seen before each action
    actions       (N,) int64 or (N, 3) float32: what was done
    rewards       (N,) float32: what it brought
    lengths       (E,) int64: steps in each episode; they sum to N
    seeds         (E,) int64: the seed that each episode was reset with
    finished      (E,) bool: reached the flag, or visited every tile of the track
    sources       (E,) str: who acted ("expert", "human", …)

    Raises DemonstrationsError where these don't hold.
    """

    env_id: str
    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    lengths: np.ndarray
    seeds: np.ndarray
    finished: np.ndarray
    sources: np.ndarray

    def __post_init__(self) -> None:
        self._check()

    # -- what is in them ---------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def starts(self) -> np.ndarray:
        """(E,) int64: the index of each episode's first step."""
        return np.concatenate([[0], np.cumsum(self.lengths)[:-1]]).astype(np.int64)

    @property
    def episode_of_step(self) -> np.ndarray:
        """(N,) int64: the episode that each step belongs to."""
        return np.repeat(np.arange(len(self)), self.lengths)

    @property
    def returns(self) -> np.ndarray:
        """(E,) float64: the sum of each episode's rewards."""
        return np.add.reduceat(self.rewards.astype(np.float64), self.starts)

    def __getitem__(self, which: Any) -> Demonstrations:
        """Some of the episodes: an index, a slice, or an array of indices or booleans."""
        chosen = np.atleast_1d(np.arange(len(self))[which])
        if len(chosen) == 0:
            raise IndexError(f"that picks none of the {len(self)} episodes")
        starts, lengths = self.starts[chosen], self.lengths[chosen]
        steps = np.concatenate([np.arange(s, s + n) for s, n in zip(starts, lengths, strict=True)])
        per_step = {name: getattr(self, name)[steps] for name in PER_STEP}
        return Demonstrations(
            self.env_id, **per_step, **{name: getattr(self, name)[chosen] for name in PER_EPISODE}
        )

    def split(
        self, fraction: float, rng: np.random.Generator
    ) -> tuple[Demonstrations, Demonstrations]:
        """(the rest, a random ``fraction`` of the episodes): whole episodes, never steps.

        Neighbouring steps are near copies, so steps of one episode on both sides of a split make
        the validation loss look better than it is. Each side gets one episode at the least.
        """
        if not 0 < fraction < 1:
            raise ValueError(f"fraction is {fraction}; it must lie between 0 and 1")
        if len(self) < 2:
            raise ValueError("one episode can't be split; record two or more")
        order = rng.permutation(len(self))
        count = min(max(1, round(fraction * len(self))), len(self) - 1)
        return self[np.sort(order[count:])], self[np.sort(order[:count])]

    @staticmethod
    def concatenate(parts: Iterable[Demonstrations]) -> Demonstrations:
        """One set from several of the same environment, in the order given."""
        parts = list(parts)
        if not parts:
            raise ValueError("nothing to concatenate")
        ids = sorted({part.env_id for part in parts})
        if len(ids) > 1:
            raise DemonstrationsError(f"demonstrations of {' and '.join(ids)} can't be mixed")
        names = (*PER_STEP, *PER_EPISODE)
        joined = {n: np.concatenate([getattr(part, n) for part in parts]) for n in names}
        return Demonstrations(parts[0].env_id, **joined)

    # -- recording ---------------------------------------------------------------------------

    @staticmethod
    def record(
        env: gym.Env,
        policy: Callable[[np.ndarray], Any],
        seeds: Iterable[int],
        source: str = "expert",
        progress: bool = True,
    ) -> Demonstrations:
        """Run ``policy`` in ``env``, one episode for each seed, and keep what it saw and did."""
        seeds = list(seeds)
        bar = tqdm(seeds, desc=f"recording {source}", unit="run", disable=not progress, leave=False)
        runs = [rollout(env, policy, seed, keep_observations=True) for seed in bar]
        return Demonstrations.from_rollouts(env_id_of(env), runs, source)

    @staticmethod
    def record_vector(
        cars: gym.vector.VectorEnv,
        policy: Callable[[np.ndarray], np.ndarray],
        seeds: Iterable[int],
        source: str = "expert",
        progress: bool = True,
    ) -> Demonstrations:
        """One episode in each of many environments that step together, one for each seed.

        ``policy`` maps (E, …) observations to (E,) actions. The same episodes as from ``record``.
        """
        seeds = [int(seed) for seed in seeds]
        observations, _ = cars.reset(seed=seeds)  # type: ignore[arg-type]
        running = np.ones(len(seeds), bool)
        finished = np.zeros(len(seeds), bool)
        columns: list[tuple[np.ndarray, ...]] = []
        with tqdm(total=len(seeds), desc="recording", disable=not progress, leave=False) as bar:
            while running.any():
                who, actions = np.flatnonzero(running), policy(observations)
                seen = observations[who]
                observations, rewards, terminated, truncated, _ = cars.step(actions)
                columns.append((who, seen, actions[who], rewards[who]))
                finished |= terminated & running
                running &= ~(terminated | truncated)
                bar.update(len(who) - int(running.sum()))
        whose, seen, done, got = (np.concatenate(column) for column in zip(*columns, strict=True))
        order = np.argsort(whose, kind="stable")  # episode after episode, each in order of time
        return Demonstrations(
            env_id_of(cars),
            seen[order],
            done[order],
            got[order].astype(np.float32),
            np.bincount(whose).astype(np.int64),
            np.array(seeds, np.int64),
            finished,
            np.array([source] * len(seeds), np.str_),
        )

    @staticmethod
    def from_rollouts(env_id: str, runs: Iterable[Rollout], source: str) -> Demonstrations:
        """From ``helpers.rollouts.Rollout``s that kept their observations."""
        runs = list(runs)
        return Demonstrations(
            SAME_DATA.get(env_id, env_id),
            np.concatenate([run.observations for run in runs]),
            np.concatenate([run.actions for run in runs]),
            np.concatenate([run.rewards for run in runs]).astype(np.float32),
            np.array([len(run.rewards) for run in runs], np.int64),
            np.array([run.seed for run in runs], np.int64),
            np.array([run.finished for run in runs], np.bool_),
            np.array([source] * len(runs), np.str_),
        )

    # -- files -------------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """Write ``path`` (.npz), whole or not at all: an interrupted save leaves the old file."""
        path = Path(path)
        arrays = {f.name: np.asarray(getattr(self, f.name)) for f in fields(self)}
        with written_whole(path) as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
        return path

    @staticmethod
    def load(path: str | Path, env_id: str | None = None, made_by: str = "") -> Demonstrations:
        """Read one ``.npz``, or all of a folder in order of their names, and check every array.

        env_id   refuse demonstrations of any other environment
        made_by  the notebook that makes the file, for the message where it is missing

        Raises DemonstrationsError for a file that is missing, truncated, pickled, or whose arrays
        are missing, disagree in length, hold NaN, or have another shape or dtype.
        """
        path = Path(path)
        if path.is_dir():
            files = sorted(path.glob("*.npz"))
            if not files:
                raise DemonstrationsError(f"{path} holds no .npz files; {_make_it(made_by)}")
            return Demonstrations.concatenate(Demonstrations.load(f, env_id) for f in files)
        if not path.exists():
            raise DemonstrationsError(f"{path} does not exist; {_make_it(made_by)}")
        names = [f.name for f in fields(Demonstrations)]
        try:
            with np.load(path, allow_pickle=False) as file:
                missing = [name for name in names if name not in file]
                if missing:
                    raise DemonstrationsError(
                        f"{path} lacks {', '.join(missing)}: it was not written by "
                        f"Demonstrations.save; {_make_it(made_by, again=True)}"
                    )
                arrays = {name: file[name] for name in names}
        except DemonstrationsError:
            raise
        except ValueError as error:  # NumPy's word for an array of Python objects, or no npz at all
            raise DemonstrationsError(
                f"{path} holds pickled objects or is no .npz file ({error}). Opening a pickle can "
                f"run code, so it was not opened; {_make_it(made_by, again=True)}"
            ) from error
        except (
            zipfile.BadZipFile,
            EOFError,
            OSError,
            KeyError,
            TypeError,
            AttributeError,
        ) as error:
            raise DemonstrationsError(
                f"{path} is truncated or damaged ({error}); {_make_it(made_by, again=True)}"
            ) from error
        stored_id = str(arrays.pop("env_id"))
        if env_id is not None and stored_id != SAME_DATA.get(env_id, env_id):
            raise DemonstrationsError(
                f"{path} holds demonstrations of {stored_id}, not of {env_id}; load another file"
            )
        try:
            return Demonstrations(stored_id, **arrays)
        except DemonstrationsError as error:
            message = f"{path}: {error}; {_make_it(made_by, again=True)}"
            raise DemonstrationsError(message) from error

    def _check(self) -> None:
        if self.env_id not in FORMATS:
            known = ", ".join(FORMATS)
            raise DemonstrationsError(f"unknown environment {self.env_id!r}; known are {known}")
        obs_dtype, obs_shape, act_dtype, act_shape = FORMATS[self.env_id]
        steps, episodes = len(np.atleast_1d(self.rewards)), len(np.atleast_1d(self.lengths))
        _check_array("observations", self.observations, obs_dtype, (steps, *obs_shape))
        _check_array("actions", self.actions, act_dtype, (steps, *act_shape))
        _check_array("rewards", self.rewards, np.float32, (steps,))
        for name, dtype in PER_EPISODE.items():
            _check_array(name, getattr(self, name), dtype, (episodes,))
        if episodes == 0 or (self.lengths < 1).any():
            raise DemonstrationsError("there are no episodes, or empty ones")
        if self.lengths.sum() != steps:
            raise DemonstrationsError(
                f"the lengths sum to {self.lengths.sum()} steps, but there are {steps}"
            )


PER_STEP = ("observations", "actions", "rewards")


def env_id_of(env: gym.Env | gym.vector.VectorEnv) -> str:
    """The id that ``env`` was made with.

    Raises ValueError for an environment that was not made by ``gymnasium.make``.
    """
    if env.spec is None:
        raise ValueError("make the environment with gymnasium.make, so that it has an id")
    return env.spec.id


def _make_it(made_by: str, again: bool = False) -> str:
    notebook = made_by or "the notebook that makes it"
    return f"delete it and run {notebook} again" if again else f"run {notebook} first"


def _check_array(name: str, array: np.ndarray, dtype: type, shape: tuple[int, ...]) -> None:
    if not isinstance(array, np.ndarray):
        raise DemonstrationsError(f"{name} is a {type(array).__name__}, not a NumPy array")
    right_dtype = array.dtype.kind == "U" if dtype is np.str_ else array.dtype == dtype
    if not right_dtype:
        raise DemonstrationsError(f"{name} has dtype {array.dtype}, not {np.dtype(dtype)}")
    if array.shape != shape:
        raise DemonstrationsError(f"{name} has shape {array.shape}, not {shape}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise DemonstrationsError(f"{name} holds NaN or infinity")
