"""The score table of the series: ``python tools/scores.py``, or ``make scores``; an hour or two.

Each learner is trained five times, and each training drives the 100 test tracks, which no choice
has touched; so do the teachers. On every fifth of them the wheel is torn, too. The results go to
``notebooks/results/scores.csv`` as they come: see `cells`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import experiments
import gymnasium as gym
import ladder
import numpy as np
from cells import Workers, command, complete, digest_of, read, short_hash

from helpers import ROOT
from helpers.results import interval
from helpers.rollouts import Policy, rollout
from helpers.worlds import car_racing, drivers
from helpers.worlds.car_racing import off_centre
from helpers.worlds.drivers import RACER_PACE, KeyboardDriver, RacingDriver

FILE = ROOT / "notebooks" / "results" / "scores.csv"
TRACKS = range(20_000, 20_100)
PUSHED = TRACKS[::5]
PUSHES = (10, 20)  # steps for which the wheel is held at its lock
SEEDS = 5

Teacher = Callable[[gym.Env], Policy]
TEACHERS: dict[str, Teacher] = {
    "random": lambda env: lambda observation: env.action_space.sample(),
    "keyboard driver": KeyboardDriver,
    "scripted driver, the teacher": RacingDriver,
    "scripted driver as racer": partial(RacingDriver, pace=RACER_PACE),
}
LEARNERS: dict[str, experiments.Cell | ladder.Cell] = {
    "plain clone": experiments.Cell("30 clean", "all gauges"),
    "cured clone": experiments.Cell("30 clean", "speed"),
    "clone of disturbed laps": experiments.Cell("30 disturbed", "all gauges"),
    "DAgger's student": experiments.Cell("DAgger, 4 rounds", "all gauges"),
    "clone of disturbed laps, classes": ladder.Cell(
        "classes, read by their mean", "30 disturbed", "all gauges"
    ),
}


@dataclass(frozen=True)
class Entry:
    """A policy of the table; ``seed`` tells a learner's trainings apart."""

    policy: str
    seed: int = 0


def entries(seeds: int = SEEDS) -> list[Entry]:
    """All of them, a training of each learner before the second of any."""
    learned = [Entry(name, seed) for seed in range(seeds) for name in LEARNERS]
    return [*map(Entry, TEACHERS), *learned]


def comes_back(env: gym.Env, policy: Policy, seed: int, steps: int) -> bool:
    """Whether the car is on the road four seconds after the wheel was torn for so many steps.

    The scripted driver drives for two seconds; then the wheel is held at its lock, to the left on
    even seeds; then ``policy`` has it.
    """
    driver, number = RacingDriver(env), count()
    pushed = experiments.PUSH_AT + steps

    def drive(observation: np.ndarray) -> np.ndarray:
        if (step := next(number)) >= pushed:
            return policy(observation)
        action = driver(observation)
        if step >= experiments.PUSH_AT:
            action[0] = 1.0 if seed % 2 else -1.0
        return action

    rollout(env, drive, seed, max_steps=pushed + experiments.AFTER)
    return off_centre(env) < 1


def measure(entry: Entry) -> dict[str, Any]:
    """Make the entry's policy, and drive."""
    began, labels = time.process_time(), 0
    if entry.policy in TEACHERS:
        env = gym.make("PhysicsOnly-v3")
        policy = TEACHERS[entry.policy](env)
    else:
        env = gym.make("FastCarRacing-v3")
        cell = replace(LEARNERS[entry.policy], seed=entry.seed)
        student: experiments.Student
        if isinstance(cell, ladder.Cell):
            student, labels = ladder.teach(cell)
        else:
            student, labels = experiments.student_of(cell)
        policy = student.act
    taught = time.process_time() - began
    runs = [rollout(env, policy, track) for track in TRACKS]
    back = {
        f"back_{steps}": sum(comes_back(env, policy, track, steps) for track in PUSHED)
        for steps in PUSHES
    }
    return {
        "labels": labels,
        "returns": " ".join(f"{run.total:.1f}" for run in runs),
        "finished": sum(run.finished for run in runs),
        **back,
        "training_s": round(taught),
    }


def digest(entry: Entry) -> str:
    """Of the code that an entry's result depends on."""
    code = digest_of(drivers, car_racing, rollout, comes_back, measure)
    cell = LEARNERS.get(entry.policy)
    if isinstance(cell, ladder.Cell):
        code += ladder.digest(cell) + repr(cell)
    elif cell:
        code += experiments.digest(cell.data, cell.view) + repr(cell)
    about = TRACKS, PUSHED, PUSHES, experiments.PUSH_AT, experiments.AFTER
    return short_hash(code + repr(about))


def update(wanted: Sequence[Entry], workers: Workers, path: Path = FILE) -> None:
    """Make what is missing in ``path`` or belongs to other code."""

    def prepare(missing: Sequence[Entry]) -> None:
        learned = [LEARNERS[entry.policy] for entry in missing if entry.policy in LEARNERS]
        experiments.record_missing([cell.data for cell in learned], workers)

    order = [Entry(name) for name in TEACHERS]
    order += [Entry(name, seed) for name in LEARNERS for seed in range(SEEDS)]
    complete(wanted, measure, digest, path, workers, order, prepare)


def markdown(results: Mapping[Entry, Mapping[str, str]]) -> Iterator[str]:
    """The table's lines, as GitHub shows it; of learners, those whose trainings are all there."""
    header = [
        "policy", "mean", "95% interval", "worst training", "worst lap", "laps finished",
        "back after 0.2 s", "after 0.4 s", "frames labelled", "training minutes",
    ]  # fmt: skip
    yield f"| {' | '.join(header)} |"
    yield f"| --- |{' ---: |' * (len(header) - 1)}"
    for name in [*TEACHERS, *LEARNERS]:
        mine = [row for entry, row in results.items() if entry.policy == name]
        learned = name in LEARNERS
        if len(mine) < (SEEDS if learned else 1):
            continue
        returns = np.array([row["returns"].split() for row in mine], np.float64)
        low, high = interval(returns)

        def mean(column: str, rows: Sequence[Mapping[str, str]] = mine) -> float:
            return float(np.mean([float(row[column]) for row in rows]))

        cells = [
            name,
            f"{returns.mean():.1f}",
            f"{low:.1f} to {high:.1f}",
            f"{returns.mean(axis=1).min():.1f}" if learned else "–",
            f"{returns.min():.1f}",
            f"{mean('finished') / returns.shape[1]:.0%}",
            *(f"{mean(f'back_{steps}') / len(PUSHED):.0%}" for steps in PUSHES),
            f"{mean('labels'):,.0f}" if learned else "–",
            f"{mean('training_s') / 60:.1f}" if learned else "–",
        ]
        yield f"| {' | '.join(cells)} |".replace("-", "−")


def main(arguments: list[str] | None = None) -> None:
    def make(seeds: int, workers: Workers) -> None:
        update(entries(seeds), workers)

    command(__doc__, SEEDS, make, lambda: markdown(read(FILE, Entry)), arguments)


if __name__ == "__main__":
    import scores  # so that workers find all of this under the module's name

    scores.main()
