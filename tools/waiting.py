"""Who goes on after a stop, for 07-try-stronger-policies: ``python tools/waiting.py``; an hour.

The expert stands for a second at each white line, and so has a memory. Each learner gets the same
disturbed laps, sees the road and the speed, and drives up to the first lines of the validation
tracks; results go to ``notebooks/results/waiting.csv`` as
they come: see `cells`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from cells import Workers, as_they_come, command, complete, digest_of, read, short_hash
from experiments import VIEWS, Ends, Remembering, View, mirror_each
from ladder import Classes, First, Head, Regression, Student, Usual, chunks
from ladder import Policy as Learner
from torch import Tensor, nn
from tqdm.auto import tqdm

from helpers import ROOT, data_path, training
from helpers.networks import ROAD, mirror, view
from helpers.plumbing import written_whole
from helpers.rollouts import rollout
from helpers.worlds import car_racing, drivers, stops
from helpers.worlds.stops import STAND, StoppingDriver

FILE = ROOT / "notebooks" / "results" / "waiting.csv"
TRACKS = range(10_000, 10_020)  # validation
LAPS, STEPS, SEEDS = 30, 2_000, 5
DRIVEN = 700  # steps of each lap that are driven: two lines or so
STOPPED = 10  # steps: who stands for fewer has driven through


@dataclass(frozen=True)
class Cell:
    """One training."""

    policy: str
    seed: int = 0


class Drawn(Classes):
    """Classes of which one is drawn, as likely as the network says, at each step."""

    def actions(self, out: Tensor) -> Tensor:
        parts = zip(self.levels, out.split(self.sizes, 1), strict=True)
        drawn = [levels[torch.distributions.Categorical(logits=part).sample()]
                 for levels, part in parts]  # fmt: skip
        return torch.stack(drawn, 1)[:, None]


class Past(Remembering):
    """`Remembering` with any number of outputs; of the gauges it sees the speed alone."""

    def __init__(self, size: int) -> None:
        super().__init__(squash=False)
        self.net.head[-1] = nn.Linear(128, size)

    def forward(self, views: Tensor) -> Tensor:
        views = views.clone()
        views[:, :, ROAD:, 4:] = 0
        return super().forward(views)


def _past(steps: int) -> View:
    return Ends(Past, mirror=mirror_each, history=steps + 1)


NOW = VIEWS["speed"]
POLICIES: dict[str, tuple[Head, View, int]] = {  # what comes out, what is seen, actions at once
    "one picture": (Regression(), NOW, 1),
    "one picture, the likeliest class": (Classes(), NOW, 1),
    "one picture, a class drawn": (Drawn(), NOW, 1),
    "two pictures, 1.2 seconds apart": (Regression(), _past(60), 1),
    "one picture, 60 actions at once": (Regression(60), NOW, 60),
}


def lap_path(seed: int) -> Path:
    """A recorded lap, in a folder of the code that records it."""
    code = digest_of(*RECORDS)
    return data_path("experiments", code, f"stops-{seed}.npz")


RECORDS: list[Any] = [drivers, car_racing, stops, rollout, training.Disturbed, view]


def record(seed: int) -> None:
    """A lap with a hand at the wheel: what the network sees, and what the driver wanted."""
    env = gym.make("StopLines-v3")
    driver = training.Disturbed(StoppingDriver(env), np.random.default_rng(seed))
    run = rollout(env, driver, seed, keep_observations=True)
    with written_whole(lap_path(seed)) as file:
        np.savez(file, views=view(run.observations), labels=np.array(driver.labels, np.float32))  # type: ignore[arg-type]


@cache
def laps() -> list[tuple[np.ndarray, np.ndarray]]:
    """(views (T, 54, 48), labels (T, 3)) of each lap."""
    found = []
    for seed in range(LAPS):
        with np.load(lap_path(seed)) as lap:
            found.append((lap["views"], lap["labels"]))
    return found


def teach(cell: Cell) -> Student:
    """The cell's student."""
    head, seen, execute = POLICIES[cell.policy]
    torch.manual_seed(cell.seed)
    network = Usual(seen.about[0], head.size) if seen is NOW else Past(head.size)
    as_seen = replace(seen, see=np.asarray)  # laps are kept as views
    inputs = np.concatenate([as_seen.inputs(views) for views, _ in laps()])
    wanted = np.concatenate([chunks(labels, head.count) for _, labels in laps()])
    training.train(
        network, torch.from_numpy(inputs), torch.from_numpy(wanted), head.loss,
        steps=STEPS, batch_size=128, learning_rate=2e-3, generator=torch.default_generator,
        augment=mirror if seen.history == 1 else mirror_each, progress=False,
    )  # fmt: skip
    return Student(First(network, head), Learner(head, execute=execute), seen)


def measure(cell: Cell) -> dict[str, Any]:
    """Train the cell's student and drive: how long does it stand at each line that it gets to?"""
    began = time.process_time()
    student = teach(cell)
    taught = time.process_time() - began
    env = gym.make("StopLines-v3")
    torch.manual_seed(cell.seed)
    stood, for_ever = [], []
    world: Any = env.unwrapped
    for seed in TRACKS:
        student.reset()
        speeds: list[float] = []

        def drive(frame: np.ndarray, speeds: list[float] = speeds) -> np.ndarray:
            speeds.append(world.car.hull.linearVelocity.length)
            return student.act(frame)

        rollout(env, drive, seed, max_steps=DRIVEN)
        standing = world.ahead()[0] if speeds[-1] < stops.STILL else None
        for_ever.append(standing is not None and max(speeds[-2 * STAND :]) < stops.STILL)
        stood += [n for place, n in world.stood.items() if n and place != standing]
    return {
        "labels": sum(len(labels) for _, labels in laps()),
        "for_ever": sum(for_ever),  # cars that have stood before a line for the last two seconds
        "stood": " ".join(map(str, stood)),  # steps, at each line that a car has left
        "training_s": round(taught),
        "all_s": round(time.process_time() - began),
    }


def digest(cell: Cell) -> str:
    """Of the code that a cell's result depends on."""
    head, seen, execute = POLICIES[cell.policy]
    code: list[Any] = [*RECORDS, training.train, mirror, mirror_each, type(head), Usual, Past]
    code += [Remembering, View, Ends, First, Student, chunks, teach, measure]
    about = head.count, seen.about, seen.history, execute, TRACKS, LAPS, STEPS, DRIVEN
    return short_hash(digest_of(*code) + repr(about))


def cells(seeds: int = SEEDS) -> list[Cell]:
    """All trainings, one of each policy before the second of any."""
    return [Cell(name, seed) for seed in range(seeds) for name in POLICIES]


def run(wanted: Sequence[Cell], workers: Workers, path: Path = FILE) -> None:
    """Make what is missing in ``path`` or belongs to other code."""

    def prepare(missing: Sequence[Cell]) -> None:
        tasks = [(seed,) for seed in range(LAPS if missing else 0) if not lap_path(seed).exists()]
        for _ in tqdm(as_they_come(record, tasks, workers), "laps", len(tasks), leave=False):
            pass

    order = [Cell(name, seed) for name in POLICIES for seed in range(SEEDS)]
    complete(wanted, measure, digest, path, workers, order, prepare)


def table(results: Mapping[Cell, Mapping[str, str]]) -> Iterator[str]:
    """A line for each policy: cars that stand for ever, and how long the others stood."""
    for name in POLICIES:
        mine = [row for cell, row in results.items() if cell.policy == name]
        if not mine:
            continue
        stood = np.array([int(n) for row in mine for n in row["stood"].split()])
        stopped = stood[stood >= STOPPED] / 50
        seconds = np.quantile(stopped, [0.1, 0.5, 0.9]) if len(stopped) else [np.nan] * 3
        yield (
            f"{name:35} for ever {' '.join(row['for_ever'] for row in mine)} | stood and left "
            f"{len(stopped)} of {len(stood)} times, for {{:.1f}}, {{:.1f}}, {{:.1f}} s"
        ).format(*seconds)


def main(arguments: list[str] | None = None) -> None:
    def make(seeds: int, workers: Workers) -> None:
        run(cells(seeds), workers)

    command(__doc__, SEEDS, make, lambda: table(read(FILE, Cell)), arguments)


if __name__ == "__main__":
    import waiting  # so that workers find all of this under the module's name

    waiting.main()
