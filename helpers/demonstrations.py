"""Demonstrations: what an expert saw and did, recorded, checked, saved and loaded.

Taught in 01-collect-mountain-car. Files are NumPy's ``.npz`` without pickle: they can be opened
anywhere, and opening one can't run code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from helpers.plumbing import as_path, as_seeds, give_memory_back, made_again, written_whole
from helpers.rollouts import Policy, run_all, run_batch

__all__ = ["Demonstrations", "DemonstrationsError", "lap_files", "read_arrays", "recordable"]

# environment: (observation dtype and shape, action dtype and shape), each for one step
FORMATS: dict[str, tuple[type, tuple[int, ...], type, tuple[int, ...]]] = {
    "MountainCar-v0": (np.float32, (2,), np.int64, ()),
    "CarRacing-v3": (np.uint8, (96, 96, 3), np.float32, (3,)),
}
KNOWN = ", ".join(FORMATS)
# other ids of environments with the same bytes
SAME_DATA = {"FastCarRacing-v3": "CarRacing-v3", "PhysicsOnly-v3": "CarRacing-v3"}
PER_STEP = ("observations", "actions", "rewards")
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
        if self.env_id not in FORMATS:
            raise DemonstrationsError(f"unknown environment {self.env_id!r}; known are {KNOWN}")
        obs_dtype, obs_shape, act_dtype, act_shape = FORMATS[self.env_id]
        steps, episodes = len(np.atleast_1d(self.rewards)), len(np.atleast_1d(self.lengths))
        _check_array("observations", self.observations, obs_dtype, (steps, *obs_shape))
        _check_array("actions", self.actions, act_dtype, (steps, *act_shape))
        _check_array("rewards", self.rewards, np.float32, (steps,))
        for name, dtype in PER_EPISODE.items():
            _check_array(name, getattr(self, name), dtype, (episodes,))
        if episodes == 0 or (self.lengths < 1).any():
            raise DemonstrationsError("there are no episodes, or empty ones")
        if (total := self.lengths.sum()) != steps:
            raise DemonstrationsError(f"the lengths sum to {total} steps, but there are {steps}")

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
        """Some of the episodes: an index, a slice, or a list of indices or booleans.

        Raises IndexError for any other choice, and one that picks none.
        """
        chosen = np.empty(0, np.int64)
        with suppress(IndexError, ValueError):
            which = list(which) if isinstance(which, range) else which
            chosen = np.atleast_1d(np.arange(len(self))[which])
        if chosen.ndim != 1 or len(chosen) == 0:
            choice = "an index, a slice, or a list of indices or booleans"
            raise IndexError(f"{which!r} picks none of the {len(self)} episodes; give {choice}")
        starts, lengths = self.starts[chosen], self.lengths[chosen]
        steps = np.concatenate([np.arange(s, s + n) for s, n in zip(starts, lengths, strict=True)])
        picked = {name: getattr(self, name)[steps] for name in PER_STEP}
        picked |= {name: getattr(self, name)[chosen] for name in PER_EPISODE}
        return Demonstrations(self.env_id, **picked)

    def split(self, fraction: float, rng: np.random.Generator) -> tuple[Demonstrations, ...]:
        """(the rest, a random ``fraction`` of the episodes): whole episodes, never steps.

        Neighbouring steps are near copies, so steps of one episode on both sides of a split make
        the validation loss look better than it is. Each side gets one episode at the least.
        """
        if not 0 < fraction < 1:
            raise ValueError(f"fraction is {fraction}; it must lie between 0 and 1")
        if not isinstance(rng, np.random.Generator):
            raise TypeError(f"rng is {rng!r}; give np.random.default_rng({rng!r})")
        if len(self) < 2:
            raise ValueError("one episode can't be split; record two or more")
        order = rng.permutation(len(self))
        count = min(max(1, round(fraction * len(self))), len(self) - 1)
        return self[np.sort(order[count:])], self[np.sort(order[:count])]

    @staticmethod
    def concatenate(parts: Iterable[Demonstrations]) -> Demonstrations:
        """One set from several of the same environment, in the order given."""
        parts = list(parts)
        ids = sorted({part.env_id for part in parts})
        if not ids:
            raise ValueError("nothing to concatenate")
        if len(ids) > 1:
            raise DemonstrationsError(f"demonstrations of {' and '.join(ids)} can't be mixed")
        names = (*PER_STEP, *PER_EPISODE)
        joined = {n: np.concatenate([getattr(part, n) for part in parts]) for n in names}
        return Demonstrations(ids[0], **joined)

    # -- recording ---------------------------------------------------------------------------

    @staticmethod
    def record(
        env: gym.Env | gym.vector.VectorEnv,
        policy: Policy,
        seeds: Iterable[int],
        source: str = "expert",
        *,
        workers: int = 1,
    ) -> Demonstrations:
        """Run ``policy`` in ``env``, one episode for each seed, and keep what it saw and did.

        Over ``workers`` processes, as in ``rollouts.run_all``; in a vector environment the policy
        maps (B, …) to (B, …), in one. The episodes are the same.

        Raises ValueError, before the first step, for an environment that no format is known of.
        """
        env_id, numbers = recordable(env), as_seeds(seeds)
        _, _, act_dtype, _ = FORMATS[env_id]
        if isinstance(env, gym.vector.VectorEnv):  # a stable sort keeps each one's steps in order
            steps = [np.concatenate(c) for c in zip(*run_batch(env, policy, numbers), strict=True)]
            order = np.argsort(steps[0], kind="stable")
            whose, observations, actions, rewards, ends = (column[order] for column in steps)
            lengths, finished = np.bincount(whose), np.bincount(whose, ends) > 0
        else:
            how = {"workers": workers, "describe": f"recording {source}"}
            full = run_all(env, policy, numbers, keep_observations=True, **how)  # type: ignore[arg-type]
            runs, seen = [replace(run, observations=None) for run in full], []
            while full:
                seen.append(full.pop(0).observations)
            observations = _joined(seen)
            actions = np.concatenate([run.actions for run in runs])
            rewards = np.concatenate([run.rewards for run in runs])
            lengths = np.array([len(run.rewards) for run in runs])
            finished = np.array([run.finished for run in runs])
        return Demonstrations(
            env_id,
            observations,
            actions.astype(act_dtype),
            rewards.astype(np.float32),
            lengths.astype(np.int64),
            np.array(numbers, np.int64),
            finished,
            np.array([source] * len(numbers), np.str_),
        )

    # -- files -------------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """Write ``path``, whole or not at all; a name without ``.npz`` gets it.

        Raises OSError, saying what to do, where the file can't be written.
        """
        path = as_path(path)
        if path.suffix != ".npz" and not path.is_dir():
            path = path.with_name(f"{path.name}.npz")
        arrays = {f.name: np.asarray(getattr(self, f.name)) for f in fields(self)}
        with written_whole(path) as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
        return path

    @staticmethod
    def load(path: str | Path, env_id: str | None = None, made_by: str = "") -> Demonstrations:
        """Read one ``.npz``, or all of a folder in order of their names, and check every array.

        env_id   refuse demonstrations of any other environment
        made_by  the notebook that makes the file, for the message where it is missing

        Raises DemonstrationsError for a file that is missing, damaged or pickled, whose arrays are
        missing, disagree in length, hold NaN, or have another shape or dtype, and for a file that
        lies in the folder twice; TypeError for what is no path.
        """
        path = as_path(path)
        if path.is_dir():
            files = lap_files(path)
            if not files:
                raise DemonstrationsError(f"{path} holds no .npz files; {_make_it(made_by)}")
            return Demonstrations.concatenate(Demonstrations.load(f, env_id) for f in files)
        arrays = read_arrays(path, [field.name for field in fields(Demonstrations)], made_by)
        stored_id = str(arrays.pop("env_id"))
        if env_id is not None and stored_id != SAME_DATA.get(env_id, env_id):
            raise DemonstrationsError(
                f"{path} holds demonstrations of {stored_id}, not of {env_id}; load another file"
            )
        try:
            return Demonstrations(stored_id, **arrays)
        except DemonstrationsError as error:
            again = _make_it(made_by, again=True)
            raise DemonstrationsError(f"{path}: {error}; {again}") from error


def _joined(parts: list[Any]) -> np.ndarray:
    """The parts in one array; each is let go as it is copied, so pictures aren't held twice."""
    whole = np.empty((sum(map(len, parts)), *parts[0].shape[1:]), parts[0].dtype)
    filled = 0
    while parts:
        part = parts.pop(0)
        whole[filled : filled + len(part)] = part
        filled += len(part)
        del part
        give_memory_back()
    return whole


def lap_files(folder: Path) -> list[Path]:
    """The ``.npz`` files of a folder, in order of their names, without hidden ones.

    Raises DemonstrationsError where one is a copy of another: its steps would count twice.
    """
    known: dict[str, Path] = {}
    for path in sorted(Path(folder).glob("[!.]*.npz")):
        first = known.setdefault(hashlib.sha256(path.read_bytes()).hexdigest(), path)
        if first != path:
            raise DemonstrationsError(f"{path} is a copy of {first.name}; delete one of the two")
    return list(known.values())


def read_arrays(path: Path, names: Sequence[str], made_by: str = "") -> dict[str, np.ndarray]:
    """Some of a file's arrays, as they are. Raises DemonstrationsError as `Demonstrations.load`."""
    if not path.exists():
        raise DemonstrationsError(f"{path} does not exist; {_make_it(made_by)}")
    try:
        with np.load(path, allow_pickle=False) as file:
            if missing := [name for name in names if name not in file]:
                raise KeyError(f"{', '.join(missing)} missing: not from Demonstrations.save")
            return {name: file[name] for name in names}
    # a flipped byte can raise nearly anything in zipfile, zlib and NumPy: MemoryError, too
    except Exception as error:
        why = f"is damaged or no file of ours ({type(error).__name__}: {error})"
        if "Object arrays" in str(error):
            why = "holds pickled objects, and opening a pickle can run code"
        raise DemonstrationsError(f"{path} {why}; {_make_it(made_by, again=True)}") from error


def recordable(env: gym.Env | gym.vector.VectorEnv) -> str:
    """The id that an environment's demonstrations carry; ValueError for one without a format."""
    spec = getattr(env, "spec", None)
    if spec is None:
        raise ValueError(f"{env!r} has no id: make the environment with gymnasium.make")
    env_id = SAME_DATA.get(spec.id, spec.id)
    if env_id not in FORMATS:
        raise ValueError(f"{spec.id} can't be recorded; known are {KNOWN}")
    obs_dtype, obs_shape, _, act_shape = FORMATS[env_id]
    shows = getattr(env, "single_observation_space", env.observation_space)
    takes = getattr(env, "single_action_space", env.action_space)
    if (shows.dtype, shows.shape, takes.shape) != (obs_dtype, obs_shape, act_shape):
        found = f"this {spec.id} shows {shows.dtype} {shows.shape} and takes {takes.shape}"
        needed = f"{np.dtype(obs_dtype)} {obs_shape} and {act_shape}"
        raise ValueError(f"{found}; what is recorded is {needed}: leave its wrappers and options")
    return env_id


def _make_it(made_by: str, again: bool = False) -> str:
    notebook = made_by or "the notebook that makes it"
    return made_again(notebook) if again else f"run {notebook} first"


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
