"""Rollouts: let a policy act in an environment, and score it.

A policy is a callable, observation → action. The loop is taught in 01-collect-mountain-car, the
scores with their intervals in 02-clone-mountain-car.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import joblib
import numpy as np
from tqdm.auto import tqdm

__all__ = ["Rollout", "Scores", "bootstrap_interval", "evaluate", "evaluate_vector", "rollout"]

Policy = Callable[[Any], Any]


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

    ``env.action_space`` is seeded too, so a policy that samples from it repeats itself; a policy
    with a ``reset`` method (one with a memory) is reset first.
    """
    env.action_space.seed(seed)
    observation, info = env.reset(seed=seed)
    if hasattr(policy, "reset"):
        policy.reset()
    observations: list[np.ndarray] = []
    actions: list[np.ndarray] = []
    rewards: list[float] = []
    frames = [_frame(env)] if keep_frames else None
    terminated = truncated = False
    while not (terminated or truncated) and len(rewards) != max_steps:
        action = policy(observation)
        if keep_observations:
            observations.append(observation)
        actions.append(np.asarray(action))
        observation, reward, terminated, truncated, info = env.step(action)
        rewards.append(float(reward))
        if frames is not None:
            frames.append(_frame(env))
    # CarRacing also terminates when the car leaves the playing field, and says so in info
    finished = bool(terminated and info.get("lap_finished", True))
    kept = np.array(observations) if keep_observations else None
    return Rollout(int(seed), np.array(actions), np.array(rewards), finished, kept, frames)


def _frame(env: gym.Env) -> np.ndarray:
    frame = env.render()
    if not isinstance(frame, np.ndarray):
        raise ValueError('to keep frames, make the environment with render_mode="rgb_array"')
    return frame


def bootstrap_interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """The percentile bootstrap interval of the mean (Efron 1979), 10,000 resamples, always alike.

    Says between which means we would land with other seeds of the same kind.
    """
    values = np.asarray(values, np.float64)
    rng = np.random.default_rng(0)
    means = np.concatenate(
        [values[rng.integers(len(values), size=(500, len(values)))].mean(1) for _ in range(20)]
    )
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


@dataclass(frozen=True, eq=False)
class Scores:
    """What a policy got on each seed.

    seeds (E,) int64; returns (E,) float64; lengths (E,) int64, in steps; finished (E,) bool
    """

    seeds: np.ndarray
    returns: np.ndarray
    lengths: np.ndarray
    finished: np.ndarray
    _cache: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def mean(self) -> float:
        return float(self.returns.mean())

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% bootstrap interval of the mean."""
        if "interval" not in self._cache:
            self._cache["interval"] = bootstrap_interval(self.returns)
        return self._cache["interval"]

    @property
    def minimum(self) -> float:
        return float(self.returns.min())

    @property
    def finished_share(self) -> float:
        return float(self.finished.mean())

    def percentile(self, q: float) -> float:
        return float(np.percentile(self.returns, q))

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"{self.mean:.1f} [{low:.1f}, {high:.1f}], minimum {self.minimum:.1f}, "
            f"{self.finished_share:.0%} finished, {len(self.seeds)} episodes"
        )


def run_many(
    policy: Policy,
    env_id: str,
    seeds: Iterable[int],
    *,
    bind: bool = False,
    workers: int = 1,
    progress: bool = True,
    describe: str = "driving",
    keep_observations: bool = False,
    **env_kwargs: Any,
) -> list[Rollout]:
    """One rollout for each seed, in the order of the seeds, over ``workers`` processes.

    bind: ``policy`` is a factory, called with the environment, for teachers that read more than
    the observation: ``RacingDriver``, or ``functools.partial(RacingDriver, pace=1.1)``.

    The results are the same for any number of workers: a task is one seed, in an environment of
    its own. Raises RuntimeError naming the seed where an episode raises.
    """
    seeds = [int(seed) for seed in seeds]
    if not seeds:
        raise ValueError("no seeds to run on")
    tasks = [
        joblib.delayed(_one_task)(
            policy, env_id, seed, bind, keep_observations, env_kwargs, workers
        )
        for seed in seeds
    ]
    bar = tqdm(total=len(seeds), desc=describe, unit="run", disable=not progress, leave=False)
    runs: list[Rollout] = []
    with bar, joblib.Parallel(n_jobs=workers, return_as="generator", batch_size=1) as parallel:
        for run in parallel(tasks):
            runs.append(run)
            bar.update()
    return runs


def _one_task(
    policy: Policy,
    env_id: str,
    seed: int,
    bind: bool,
    keep_observations: bool,
    env_kwargs: dict[str, Any],
    workers: int,
) -> Rollout:
    import helpers  # noqa: F401  registers FastCarRacing-v3, in a worker too

    if workers != 1:  # threads of several workers would fight for the same cores
        import torch

        torch.set_num_threads(1)
    env = gym.make(env_id, **env_kwargs)
    try:
        actor = policy(env) if bind else policy
        return rollout(env, actor, seed, keep_observations=keep_observations)
    except Exception as error:
        raise RuntimeError(f"seed {seed}: {type(error).__name__}: {error}") from error
    finally:
        env.close()


def scores_of(runs: Sequence[Rollout]) -> Scores:
    """The scores of some rollouts."""
    return Scores(
        np.array([run.seed for run in runs], np.int64),
        np.array([run.total for run in runs], np.float64),
        np.array([len(run.rewards) for run in runs], np.int64),
        np.array([run.finished for run in runs], np.bool_),
    )


def evaluate(
    policy: Policy,
    env_id: str,
    seeds: Iterable[int],
    *,
    bind: bool = False,
    workers: int = 1,
    progress: bool = True,
    **env_kwargs: Any,
) -> Scores:
    """Score ``policy`` on ``seeds``, one episode each; the arguments are those of ``run_many``."""
    return scores_of(
        run_many(policy, env_id, seeds, bind=bind, workers=workers, progress=progress, **env_kwargs)
    )


def evaluate_vector(policy: Policy, env: gym.vector.VectorEnv, seeds: Iterable[int]) -> Scores:
    """Score a policy on many seeds at once: it maps (B, …) observations to (B,) actions.

    The environment has as many copies as there are seeds, or more than one round is run.
    """
    seeds = np.array(list(seeds), np.int64)
    rounds = [seeds[i : i + env.num_envs] for i in range(0, len(seeds), env.num_envs)]
    parts = [_evaluate_round(policy, env, part) for part in rounds]
    returns, lengths, finished = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Scores(seeds, returns, lengths, finished)


def _evaluate_round(
    policy: Policy, env: gym.vector.VectorEnv, seeds: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    count = len(seeds)
    filled = [int(s) for s in np.resize(seeds, env.num_envs)]  # the last round may be short
    observations, _ = env.reset(seed=filled)  # type: ignore[arg-type]
    running = np.ones(env.num_envs, bool)
    returns, lengths = np.zeros(env.num_envs), np.zeros(env.num_envs, np.int64)
    finished = np.zeros(env.num_envs, bool)
    while running.any():
        observations, rewards, terminated, truncated, _ = env.step(policy(observations))
        returns += rewards * running
        lengths += running
        finished |= terminated & running
        running &= ~(terminated | truncated)
    return returns[:count], lengths[:count], finished[:count]
