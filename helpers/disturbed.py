"""Laps with a hand that nudges the wheel, as taught in 04-clone-car-racing.

A driver that never errs never shows how to get back. So every few seconds something pushes the
steering for a moment, and what the driver then says is recorded: the way back. (The idea is in
M. Laskey et al., "DART: noise injection for robust imitation learning", 2017.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from tqdm.auto import tqdm

from helpers.demos import Demonstrations
from helpers.policies import look
from helpers.rollouts import rollout

__all__ = ["Disturbed", "Lap", "laps_of", "record_disturbed", "tensors"]

Lap = tuple[np.ndarray, np.ndarray]  # views (T, 54, 48) uint8, actions (T, 3) float32


class Disturbed:
    """A policy that drives as ``teacher`` says, but for short bursts, and keeps what it said.

    Bursts begin every 3 s on average and last 0.2 to 0.5 s; in each of them the steering is off
    by the same 0.2 to 0.6, to one side. ``labels`` are the teacher's actions, (3,) float32 each.
    """

    def __init__(self, teacher: Callable[[Any], np.ndarray], rng: np.random.Generator) -> None:
        self.teacher, self.rng = teacher, rng
        self.left, self.push = 0, 0.0  # steps of the burst that are left, steering
        self.labels: list[np.ndarray] = []

    def __call__(self, observation: np.ndarray) -> np.ndarray:
        label = self.teacher(observation)
        self.labels.append(label)
        if self.left == 0 and self.rng.random() < 1 / 150:
            self.left = int(self.rng.integers(10, 26))
            self.push = self.rng.uniform(0.2, 0.6) * self.rng.choice([-1, 1])
        if self.left == 0:
            return label
        self.left -= 1
        return np.array([np.clip(label[0] + self.push, -1, 1), *label[1:]], np.float32)


def record_disturbed(
    env: gym.Env,
    teacher: Callable[[Any], np.ndarray],
    seeds: Iterable[int],
    progress: bool = True,
) -> list[Lap]:
    """One disturbed lap on each track: what was seen, and what the teacher said to it.

    Laps are named by their seeds: the same seed gives the same bursts.
    """
    laps = []
    for seed in tqdm(list(seeds), desc="recording", unit="lap", leave=False, disable=not progress):
        driver = Disturbed(teacher, np.random.default_rng(seed))
        run = rollout(env, driver, seed, keep_observations=True)
        assert run.observations is not None
        laps.append((look(run.observations), np.array(driver.labels, np.float32)))
    return laps


def laps_of(demos: Demonstrations) -> list[Lap]:
    """Recorded laps of CarRacing, one by one, as the driving network sees them."""
    return [
        (look(demos.observations[start : start + length]), demos.actions[start : start + length])
        for start, length in zip(demos.starts, demos.lengths, strict=True)
    ]


def tensors(laps: Sequence[Lap]) -> tuple[torch.Tensor, torch.Tensor]:
    """All pairs of some laps: views (N, 54, 48) uint8, actions (N, 3) float32."""
    views, actions = zip(*laps, strict=True)
    return torch.from_numpy(np.concatenate(views)), torch.from_numpy(np.concatenate(actions))
