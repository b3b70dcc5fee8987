"""Rollouts: let a policy act in an environment, and score it.

A policy is a callable, observation → action. The loop is taught in 01-collect-mountain-car, the
scores with their intervals in 02-clone-mountain-car.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import gymnasium as gym
import numpy as np

from helpers.plumbing import as_action, as_count, as_seeds, each, ready

__all__ = ["Policy", "Rollout", "Scores", "bootstrap_interval", "evaluate", "rollout", "scores_of"]

Policy = Callable[[Any], Any]  # observation → action


@dataclass(frozen=True, eq=False)
class Rollout:
    """One episode of T steps.

    actions       (T,) int64 or (T, 3) float32
    rewards       (T,) float64
    finished      reached the flag, or visited every tile of the track
    observations  (T, …), each seen before the action of its step; None unless asked for
    frames        T + 1 pictures, (height, width, 3) uint8, from the start on; None unless asked for
    """

    seed: int
    actions: np.ndarray
    rewards: np.ndarray
    finished: bool
    observations: np.ndarray | None = None
    frames: list[np.ndarray] | None = None

    @property
    def total(self) -> float:
        """The return: the sum of the rewards."""
        return float(self.rewards.sum())


def rollout(
    env: gym.Env,
    policy: Policy,
    seed: int,
    *,
    keep_observations: bool = False,
    keep_frames: bool = False,
    max_steps: int | None = None,
) -> Rollout:
    """Run one episode from ``seed``, to its end or for ``max_steps``.

    ``env.action_space`` is seeded too, so a policy that samples from it repeats itself; one with a
    ``reset`` method, or a method of such an object, is reset first. Observations and actions are
    copied: a policy may reuse its arrays, and paint into its picture.

    Raises TypeError or ValueError, before or at the first step, for an environment, a seed or an
    action that can't be used, and for a teacher bound to another environment.
    """
    if isinstance(env, gym.vector.VectorEnv):
        raise TypeError("rollout runs one environment; for a vector environment use evaluate")
    (seed,) = as_seeds([seed])
    if max_steps is not None:
        max_steps = as_count("max_steps", max_steps)
    ready(policy, env)
    env.action_space.seed(seed)
    observation, info = env.reset(seed=seed)
    observations: list[np.ndarray] = []
    actions: list[Any] = []
    rewards: list[float] = []
    frames = [_frame(env)] if keep_frames else None
    terminated = truncated = False
    while not (terminated or truncated) and len(rewards) != max_steps:
        if keep_observations:
            observations.append(np.array(observation))
        action = as_action(policy(observation), env.action_space)  # checked, and a copy
        actions.append(action)
        observation, reward, terminated, truncated, info = env.step(action)
        rewards.append(float(reward))
        if frames is not None:
            frames.append(_frame(env))
    finished = bool(_finished(terminated, info))
    kept = np.array(observations) if keep_observations else None
    return Rollout(seed, np.array(actions), np.array(rewards), finished, kept, frames)


def _frame(env: gym.Env) -> np.ndarray:
    frame = env.render()
    if not isinstance(frame, np.ndarray):
        raise ValueError('to keep frames, make the environment with render_mode="rgb_array"')
    return np.array(frame)


def _finished(terminated: Any, info: dict[str, Any]) -> Any:
    """Whether an episode reached its goal, bool, or which of many, (B,) bool.

    CarRacing also terminates off the playing field, and says so in ``info``; a vector environment
    says under ``_lap_finished`` of which cars it is said.
    """
    unsaid = np.logical_not(info.get("_lap_finished", True))
    return np.logical_and(terminated, np.logical_or(info.get("lap_finished", True), unsaid))


# -- scores --------------------------------------------------------------------------------------


def bootstrap_interval(values: np.ndarray) -> tuple[float, float]:
    """The 95% bootstrap interval of the mean of ``values``, (E,) (percentiles: Efron 1979).

    Says between which means we would land with other seeds of the same kind: 10,000 resamples, the
    same each time. Raises ValueError for values that are none, no list, or hold NaN.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or len(values) == 0 or not np.isfinite(values).all():
        raise ValueError(f"values have shape {values.shape}; they must be (E,), E ≥ 1, and finite")
    rng = np.random.default_rng(0)
    means = np.concatenate(
        [values[rng.integers(len(values), size=(500, len(values)))].mean(1) for _ in range(20)]
    )
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


@dataclass(frozen=True, eq=False)
class Scores:
    """What a policy got on each seed.

    seeds (E,) int64; returns (E,) float64; lengths (E,) int64, in steps; finished (E,) bool

    Raises ValueError where these disagree in length, are empty, or hold NaN.
    """

    seeds: np.ndarray
    returns: np.ndarray
    lengths: np.ndarray
    finished: np.ndarray

    def __post_init__(self) -> None:
        shapes = {np.shape(getattr(self, name)) for name in self.__dataclass_fields__}
        if len(shapes) > 1 or len(self.seeds) == 0 or not np.isfinite(self.returns).all():
            raise ValueError("seeds, returns, lengths and finished: (E,) each, E ≥ 1, without NaN")

    @property
    def mean(self) -> float:
        return float(self.returns.mean())

    @cached_property
    def interval(self) -> tuple[float, float]:
        """The 95% bootstrap interval of the mean."""
        return bootstrap_interval(self.returns)

    @property
    def minimum(self) -> float:
        return float(self.returns.min())

    @property
    def finished_share(self) -> float:
        return float(self.finished.mean())

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"{self.mean:.1f} [{low:.1f}, {high:.1f}], minimum {self.minimum:.1f}, "
            f"{self.finished_share:.0%} finished, {len(self.seeds)} episodes"
        )


def scores_of(runs: Iterable[Rollout]) -> Scores:
    """The scores of some rollouts."""
    columns = [(run.seed, run.total, len(run.rewards), run.finished) for run in runs]
    kinds = (np.int64, np.float64, np.int64, np.bool_)
    return Scores(*(np.array([c[i] for c in columns], kind) for i, kind in enumerate(kinds)))


def evaluate(
    env: gym.Env | gym.vector.VectorEnv,
    policy: Policy,
    seeds: Iterable[int],
    *,
    workers: int = 1,
    progress: bool = True,
) -> Scores:
    """Score ``policy`` on ``seeds``, one episode each, over ``workers`` processes: see `run_all`.

    In a vector environment the policy maps (B, …) to (B, …), without a worker or a bar.
    """
    if not isinstance(env, gym.vector.VectorEnv):
        return scores_of(run_all(env, policy, seeds, workers=workers, progress=progress))
    numbers = as_seeds(seeds)
    steps = [(who, rewards, ends) for who, _, _, rewards, ends in run_batch(env, policy, numbers)]
    who, rewards, ends = map(np.concatenate, zip(*steps, strict=True))
    columns = np.bincount(who, rewards), np.bincount(who), np.bincount(who, ends) > 0
    return Scores(np.array(numbers, np.int64), *columns)


def run_batch(
    cars: gym.vector.VectorEnv, policy: Policy, seeds: Sequence[int]
) -> Iterator[tuple[np.ndarray, ...]]:
    """The steps of one episode for each seed, as many at once as ``cars`` has environments.

    Each step is (who, observations, actions, rewards, finished) of those under way; ``who`` is
    their place among the seeds. Environments restart as Gymnasium's ``NEXT_STEP`` has it.
    """
    if cars.metadata.get("autoreset_mode") is not gym.vector.AutoresetMode.NEXT_STEP:
        raise ValueError("the vector environment must restart by AutoresetMode.NEXT_STEP")
    for first in range(0, len(seeds), cars.num_envs):
        part = seeds[first : first + cars.num_envs]
        filled = [int(seed) for seed in np.resize(part, cars.num_envs)]  # the last may be short
        ready(policy, cars)
        observations, _ = cars.reset(seed=filled)  # type: ignore[arg-type]
        running = np.arange(cars.num_envs) < len(part)
        while running.any():
            before = np.array(observations)
            actions = as_action(policy(observations), cars.action_space)
            observations, rewards, terminated, truncated, info = cars.step(actions)
            who, finished = np.flatnonzero(running), _finished(terminated, info)
            yield first + who, before[who], actions[who], rewards[who], finished[who]
            running &= ~(terminated | truncated)


def run_all(
    env: gym.Env,
    policy: Policy,
    seeds: Iterable[int],
    *,
    keep_observations: bool = False,
    workers: int = 1,
    progress: bool = True,
    describe: str = "driving",
) -> list[Rollout]:
    """One rollout for each seed, in their order, over ``workers`` processes.

    An interrupt loses no rollout that has ended: the same call drives what is left.

    Each of several workers makes ``env`` anew, by its id and arguments, and binds a teacher (a
    policy with an ``env``) to it. The results are the same for any number of workers, unless the
    policy has a memory that its ``reset`` doesn't set, or a random generator of its own, which
    repeats itself in each worker.

    Raises TypeError or ValueError before the first run for what can't be used, and RuntimeError
    naming the seed where an episode fails.
    """
    numbers, workers = as_seeds(seeds), as_count("workers", workers)
    ready(policy, env)
    where = env if workers == 1 else env.spec
    if where is None:
        raise ValueError("make the environment with gymnasium.make, so that workers can, too")
    bound = workers > 1 and hasattr(getattr(policy, "__self__", policy), "env")
    tasks = [(where, policy, bound, seed, keep_observations) for seed in numbers]
    known_by = None if env.spec is None else (env.spec, policy, numbers, keep_observations)
    return each(_run, tasks, workers, describe, progress=progress, known_by=known_by)


def _run(where: Any, policy: Any, bound: bool, seed: int, keep_observations: bool) -> Rollout:
    """A rollout in an environment; or, in a worker, in a new one, to which a teacher is bound."""
    env = where if isinstance(where, gym.Env) else gym.make(where)
    try:
        if bound:
            getattr(policy, "__self__", policy).env = env
        return rollout(env, policy, seed, keep_observations=keep_observations)
    except Exception as error:
        raise RuntimeError(f"seed {seed}: {type(error).__name__}: {error}") from error
    finally:
        if env is not where:
            env.close()
