"""DAgger, as taught in 06-fix-it-with-dagger (Ross, Gordon and Bagnell 2011)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import gymnasium as gym
import numpy as np

from helpers.policies import look
from helpers.rollouts import rollout

__all__ = ["dagger", "drive_and_ask"]


def dagger(
    student: Any,
    data: list[Any],
    rounds: int,
    drive: Callable[[Any, int], list[Any]],
    fit: Callable[[list[Any], int], Any],
) -> Iterator[tuple[Any, list[Any]]]:
    """After each round, the new student and all the data that it learned from.

    drive  (student, round) → what it saw, with the expert's answers to it
    fit    (all data, round) → a student taught from scratch
    """
    for number in range(1, rounds + 1):
        data = data + drive(student, number)  # the student drives, the expert is asked; add
        student = fit(data, number)  # train again, on everything
        yield student, data


def drive_and_ask(
    env: gym.Env,
    policy: Callable[[np.ndarray], np.ndarray],
    expert: Callable[[np.ndarray], np.ndarray],
    seeds: Iterable[int],
) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each seed a lap that ``policy`` drives, with what ``expert`` would have done.

    Gives a (views (T, 54, 48) uint8, actions (T, 3) float32) for each lap. The expert is bound to
    ``env``.
    """
    laps = []
    for seed in seeds:
        answers: list[np.ndarray] = []

        def drive(frame: np.ndarray, answers: list[np.ndarray] = answers) -> np.ndarray:
            answers.append(expert(frame))
            return policy(frame)

        run = rollout(env, drive, seed, keep_observations=True)
        assert run.observations is not None
        laps.append((look(run.observations), np.array(answers, np.float32)))
    return laps
