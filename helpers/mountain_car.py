"""Thousands of mountain cars at once, with the numbers of Gymnasium's MountainCar-v0 to the bit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.classic_control.mountain_car import MountainCarEnv
from gymnasium.vector.utils import batch_space

__all__ = ["MountainCarVector"]

TIME_LIMIT = 200  # steps; MountainCar-v0 has it from its registration


class MountainCarVector(gym.vector.VectorEnv):
    """``num_envs`` copies of MountainCar-v0, stepped together by NumPy.

    Observations are (num_envs, 2) float32: position and velocity. Actions are (num_envs,) integers
    from 0 to 2. A car that has ended is reset by the step after (Gymnasium's ``NEXT_STEP``), with
    its own generator, as ``gymnasium.make_vec("MountainCar-v0")`` does it.

    ``reset(seed=[…])`` takes one seed for each car; an integer s means s, s + 1, s + 2, …

    Raises ValueError for a wrong number of seeds or of actions, and for actions outside 0 to 2.
    """

    def __init__(self, num_envs: int):
        if num_envs < 1:
            raise ValueError(f"num_envs is {num_envs}; it must be 1 or more")
        self.num_envs = num_envs
        self.metadata = {"autoreset_mode": gym.vector.AutoresetMode.NEXT_STEP, "render_modes": []}
        self.car = MountainCarEnv()  # its constants, and its spaces
        self.spec = gym.spec("MountainCar-v0")
        self.single_observation_space = self.car.observation_space
        self.single_action_space = self.car.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.generators: list[np.random.Generator] = []
        self.position, self.velocity = np.zeros(num_envs), np.zeros(num_envs)
        self.elapsed = np.zeros(num_envs, np.int64)
        self.ended = np.zeros(num_envs, bool)

    def reset(
        self,
        *,
        seed: int | Sequence[int] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Put each car at rest where MountainCar-v0 puts it for its seed, between −0.6 and −0.4."""
        if options:
            raise ValueError("MountainCarVector takes no reset options")
        if seed is not None:
            seeds = range(seed, seed + self.num_envs) if isinstance(seed, int) else list(seed)
            if len(seeds) != self.num_envs:
                raise ValueError(f"{len(seeds)} seeds for {self.num_envs} cars; give one for each")
            self.generators = [np.random.default_rng(int(s)) for s in seeds]
        elif not self.generators:
            self.generators = [np.random.default_rng() for _ in range(self.num_envs)]
        self._restart(np.ones(self.num_envs, bool))
        self.ended[:] = False
        return self._observations(), {}

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Observations, rewards (float64), terminated, truncated (bool), info."""
        actions = np.asarray(actions)
        if actions.shape != (self.num_envs,):
            raise ValueError(f"actions have shape {actions.shape}, not ({self.num_envs},)")
        if actions.dtype.kind not in "iu" or not ((actions >= 0) & (actions <= 2)).all():
            raise ValueError("actions are 0 (push left), 1 (do nothing) or 2 (push right)")

        # NumPy's cosine is faster, but on some processors its last bit is not that of C's, which
        # Gymnasium uses
        slope = np.fromiter(map(math.cos, (3 * self.position).tolist()), float, self.num_envs)
        car, restarted = self.car, self.ended
        velocity = self.velocity + ((actions - 1) * car.force + slope * (-car.gravity))
        velocity = np.clip(velocity, -car.max_speed, car.max_speed)
        position = np.clip(self.position + velocity, car.min_position, car.max_position)
        velocity[(position == car.min_position) & (velocity < 0)] = 0  # the wall on the left
        self.position, self.velocity = position, velocity
        self.elapsed += 1
        if restarted.any():
            self._restart(restarted)

        terminated = (self.position >= car.goal_position) & (self.velocity >= car.goal_velocity)
        terminated &= ~restarted
        truncated = self.elapsed >= TIME_LIMIT
        rewards = np.where(restarted, 0.0, -1.0)
        self.ended = terminated | truncated
        return self._observations(), rewards, terminated, truncated, {}

    def _restart(self, which: np.ndarray) -> None:
        for i in np.flatnonzero(which):
            self.position[i] = self.generators[i].uniform(-0.6, -0.4)
        self.velocity[which] = 0.0
        self.elapsed[which] = 0

    def _observations(self) -> np.ndarray:
        return np.stack([self.position, self.velocity], axis=1).astype(np.float32)
