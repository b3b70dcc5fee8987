"""Mountain cars by the thousand, to the bit as Gymnasium's MountainCar-v0, and two teachers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.classic_control.mountain_car import MountainCarEnv
from gymnasium.vector.utils import batch_space

from helpers.plumbing import as_seeds

__all__ = ["MountainCarPlanner", "MountainCarVector", "mountain_car_expert"]

TIME_LIMIT = 200  # steps; MountainCar-v0 has it from its registration


def mountain_car_expert(observation: np.ndarray) -> Any:
    """Push the way the car rolls: 0 (left), 2 (right), or 1 (do nothing) at velocity zero.

    ``observation`` holds position and velocity, float32: (2,) → int, or (B, 2) → (B,) int64.
    """
    pushes = np.sign(np.asarray(observation)[..., 1]).astype(np.int64) + 1
    return pushes if pushes.ndim else int(pushes)


class MountainCarVector(gym.vector.VectorEnv):
    """``num_envs`` copies of MountainCar-v0, stepped together by NumPy.

    Observations are (num_envs, 2) float32: position and velocity. Actions are (num_envs,) integers
    from 0 to 2. A car that has ended is reset by the step after (Gymnasium's ``NEXT_STEP``), with
    its own generator, as ``gymnasium.make_vec("MountainCar-v0")`` does it.

    ``reset(seed=[…])`` takes one seed for each car; an integer s means s, s + 1, s + 2, …

    Raises TypeError or ValueError for seeds and actions that are no whole numbers, for a wrong
    number of them, for seeds below 0, and for actions outside 0 to 2.
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
            seeds = as_seeds(seed if np.ndim(seed) else [seed])  # type: ignore[arg-type, list-item]
            if not np.ndim(seed):
                seeds = list(range(seeds[0], seeds[0] + self.num_envs))
            if len(seeds) != self.num_envs:
                raise ValueError(f"{len(seeds)} seeds for {self.num_envs} cars; give one for each")
            self.generators = [np.random.default_rng(s) for s in seeds]
        elif not self.generators:
            self.generators = [np.random.default_rng() for _ in range(self.num_envs)]
        self._restart(np.ones(self.num_envs, bool))
        self.ended[:] = False
        return self._observations(), {}

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Observations, rewards (float64), terminated, truncated (bool), info.

        Raises gymnasium.error.ResetNeeded before the first reset.
        """
        if not self.generators:
            raise gym.error.ResetNeeded("reset the cars before their first step")
        actions = np.asarray(actions)
        if actions.shape != (self.num_envs,) or actions.dtype.kind not in "iu":
            found = f"{actions.dtype} of shape {actions.shape}"
            raise ValueError(f"actions are {found}; give ({self.num_envs},) integers")
        if not ((actions >= 0) & (actions <= 2)).all():
            wrong = actions[(actions < 0) | (actions > 2)][0]
            raise ValueError(f"an action is {wrong}; 0 pushes left, 1 does nothing, 2 pushes right")
        push = actions.astype(np.int64) - 1  # an unsigned 0 − 1 would wrap round

        # NumPy's cosine is faster, but on some processors its last bit is not that of C's, which
        # Gymnasium uses
        slope = np.fromiter(map(math.cos, (3 * self.position).tolist()), float, self.num_envs)
        restarted = self.ended
        self.position, self.velocity = _roll(self.car, self.position, self.velocity, push, slope)
        self.elapsed += 1
        if restarted.any():
            self._restart(restarted)

        terminated = self.position >= self.car.goal_position
        terminated &= (self.velocity >= self.car.goal_velocity) & ~restarted
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


def _roll(
    car: MountainCarEnv, position: np.ndarray, velocity: np.ndarray, push: Any, slope: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Position and velocity after one step; ``push`` is −1, 0 or 1, ``slope`` cos(3 position)."""
    velocity = velocity + (push * car.force + slope * (-car.gravity))
    velocity = np.clip(velocity, -car.max_speed, car.max_speed)
    position = np.clip(position + velocity, car.min_position, car.max_position)
    at_the_wall = (position == car.min_position) & (velocity < 0)
    return position, np.where(at_the_wall, 0.0, velocity)


class MountainCarPlanner:
    """A teacher that knows the physics and looks ahead: value iteration on a grid of states.

    The value of a state is the best return that can be had from it: 0 at the flag, elsewhere the
    value of the state that the best of the three actions leads to, less 1 for the step (Sutton and
    Barto 2018, equation 4.10). Each sweep applies this to the whole grid, until no value changes by
    a thousandth. Between the grid's points, values are interpolated. See 02-clone-mountain-car.

    positions   (P,) float64, −1.2 to 0.6
    velocities  (V,) float64, −0.07 to 0.07, in positions a step
    values      (P, V) float64, in steps: 0 or below
    sweeps      how many it took

    Called with observations it answers as `mountain_car_expert` does, (2,) → int or (B, 2) → (B,)
    int64: with the action that leads to the best value, of equal ones the leftmost.

    Raises ValueError for a ``grid``, (P, V), with fewer than two points a side.
    """

    def __init__(self, grid: tuple[int, int] = (301, 201)):
        if min(grid) < 2:
            raise ValueError(f"grid is {grid}; it must have two points or more a side")
        self.car = car = MountainCarEnv()
        self.positions = np.linspace(car.min_position, car.max_position, grid[0])
        self.velocities = np.linspace(-car.max_speed, car.max_speed, grid[1])
        self.values, self.sweeps, change = np.zeros(grid), 0, np.inf
        states = np.stack(np.meshgrid(self.positions, self.velocities, indexing="ij"), axis=-1)
        outcomes, there = self._outcomes(states), states[..., 0] >= car.goal_position
        while change > 1e-3:
            better = np.where(there, 0, self.value(outcomes).max(axis=0) - 1)
            change = np.abs(better - self.values).max()
            self.values, self.sweeps = better, self.sweeps + 1

    def __call__(self, observation: np.ndarray) -> Any:
        actions = self.value(self._outcomes(np.asarray(observation, np.float64))).argmax(axis=0)
        return actions if actions.ndim else int(actions)

    def value(self, states: np.ndarray) -> np.ndarray:
        """The best return from any states, between the grid's points: (…, 2) → (…,) float64."""
        cells = np.array(self.values.shape) - 1
        lowest = np.array([self.positions[0], self.velocities[0]])
        place = (states - lowest) / ([self.positions[-1], self.velocities[-1]] - lowest) * cells
        i, j = np.moveaxis(np.minimum(place.astype(int), cells - 1), -1, 0)  # the corner below
        x, y = place[..., 0] - i, place[..., 1] - j  # from it, in cells
        left = (1 - y) * self.values[i, j] + y * self.values[i, j + 1]
        right = (1 - y) * self.values[i + 1, j] + y * self.values[i + 1, j + 1]
        return np.where(states[..., 0] >= self.car.goal_position, 0, (1 - x) * left + x * right)

    def _outcomes(self, states: np.ndarray) -> np.ndarray:
        """Where each of the three actions leads: (…, 2) → (3, …, 2)."""
        position, velocity = np.moveaxis(states, -1, 0)
        slope = np.cos(3 * position)
        steps = [_roll(self.car, position, velocity, push, slope) for push in (-1, 0, 1)]
        return np.array([np.stack(step, axis=-1) for step in steps])
