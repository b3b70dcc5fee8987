"""The score table of the series: ``python -m helpers.scores``, or ``make scores``; minutes.

Each policy drives the 100 test tracks once. What it gets on each of them goes to
``notebooks/scores.csv`` as soon as ten tracks are done; an interrupted run goes on from there. A
result counts as long as its digest is that of the policy: the weights' file, or the teachers' code.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from safetensors.numpy import load_file
from tqdm.auto import tqdm

from helpers import experts, prerequisites, written_whole
from helpers.experts import RACER_PACE, KeyboardDriver, RacingDriver
from helpers.policies import policy_path
from helpers.rollouts import Scores, evaluate

__all__ = ["DRIVERS", "TEST_TRACKS", "Driver", "Result", "markdown", "read", "scores_of", "update"]

FILE = Path(__file__).parent.parent / "notebooks" / "scores.csv"
TEST_TRACKS = range(20_000, 20_100)
AT_ONCE = 10  # tracks between two saves
PHYSICS = "PhysicsOnly-v3"  # the same rewards as CarRacing-v3, and nothing drawn
if PHYSICS not in gym.registry:
    gym.register(PHYSICS, entry_point="helpers.tune:PhysicsOnly", max_episode_steps=1000)


class Result(NamedTuple):
    """What a policy got on a track; ``digest`` says which version of the policy."""

    policy: str
    digest: str
    track: int
    total: float
    steps: int
    finished: bool


@dataclass(frozen=True)
class Driver:
    """A policy to score: a teacher, bound to its environment, or a network under its saved name.

    labels   frames that an expert labelled for it
    minutes  of training and, for DAgger, of driving between trainings, on one idle core
    """

    make: Callable[..., Any]
    saved_as: str = ""
    labels: int = 0
    minutes: float = 0.0

    @property
    def digest(self) -> str:
        """Of the weights or, for a teacher, of the code that drives; 12 hexadecimal digits.

        Raises FileNotFoundError where the weights are not at hand.
        """
        if self.saved_as:  # not of the file: its header's order changes from save to save
            weights = load_file(policy_path(self.saved_as))
            data = b"".join(weights[name].tobytes() for name in sorted(weights))
        else:
            data = Path(experts.__file__).read_bytes().replace(b"\r\n", b"\n")
        return hashlib.sha256(data).hexdigest()[:12]

    def drive(self, tracks: Iterable[int], workers: int = 1) -> Scores:
        """One lap on each track. Teachers read no pictures, so none is drawn for them."""
        if self.saved_as:
            return evaluate(
                self.make().act, "FastCarRacing-v3", tracks, workers=workers, progress=False
            )
        env_id = f"helpers.scores:{PHYSICS}"  # with the module, so that workers know it
        return evaluate(
            self.make,
            env_id,
            tracks,
            bind=True,
            workers=workers,
            progress=False,
            disable_env_checker=True,  # which warns that all pictures are one
        )


def random_driver(env: gym.Env) -> Callable[[np.ndarray], np.ndarray]:
    """Any action, at each step anew."""
    return lambda observation: env.action_space.sample()


# Labels as the notebooks' outputs show them; minutes as helpers.prerequisites takes for them
DRIVERS: dict[str, Driver] = {
    "random": Driver(random_driver),
    "keyboard driver": Driver(KeyboardDriver),
    "scripted driver, the teacher": Driver(RacingDriver),
    "scripted driver as racer": Driver(partial(RacingDriver, pace=RACER_PACE)),
    "plain clone (04)": Driver(
        prerequisites.plain_racing_clone, prerequisites.PLAIN_CLONE, 22_361, 0.2
    ),
    "clone of disturbed laps (04)": Driver(
        prerequisites.racing_clone, prerequisites.CLONE, 29_624, 0.2
    ),
    "DAgger (06)": Driver(prerequisites.racing_dagger, prerequisites.DAGGER, 49_208, 1.8),
}


def read(path: Path = FILE) -> list[Result]:
    """The results so far; none where there is no file."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [
            Result(
                row["policy"],
                row["digest"],
                int(row["track"]),
                float(row["return"]),
                int(row["steps"]),
                row["finished"] == "yes",
            )
            for row in csv.DictReader(file)
        ]


def write(results: Sequence[Result], path: Path = FILE) -> None:
    """All results, whole or not at all."""
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["policy", "digest", "track", "return", "steps", "finished"])
    for result in results:
        finished = "yes" if result.finished else "no"
        table.writerow([*result[:3], f"{result.total:.6f}", result.steps, finished])
    with written_whole(path) as file:
        file.write(text.getvalue().encode())


def update(
    path: Path = FILE,
    drivers: dict[str, Driver] | None = None,
    tracks: Sequence[int] = TEST_TRACKS,
    workers: int = 2,
) -> list[Result]:
    """Drive what is missing in ``path`` or belongs to another version of its policy, and save it.

    Networks that are not at hand are trained first.
    """
    drivers = DRIVERS if drivers is None else drivers
    for driver in drivers.values():
        if driver.saved_as:
            driver.make()
    current = {name: driver.digest for name, driver in drivers.items()}
    others = DRIVERS.keys() - drivers.keys()  # not asked for: their results stay
    results = [r for r in read(path) if r.policy in others or r.digest == current.get(r.policy)]
    order = list(dict.fromkeys([*DRIVERS, *drivers]))
    for name, driver in drivers.items():
        done = {r.track for r in results if r.policy == name}
        missing = [track for track in tracks if track not in done]
        bar = tqdm(range(0, len(missing), AT_ONCE), desc=name, leave=False)
        for start in bar:
            scores = driver.drive(missing[start : start + AT_ONCE], workers)
            columns = (scores.seeds, scores.returns, scores.lengths, scores.finished)
            for track, total, steps, finished in zip(*columns, strict=True):
                results.append(
                    Result(
                        name, current[name], int(track), float(total), int(steps), bool(finished)
                    )
                )
            results.sort(key=lambda result: (order.index(result.policy), result.track))
            write(results, path)
    return results


def scores_of(results: Iterable[Result], policy: str) -> Scores:
    """One policy's results as scores."""
    mine = [result for result in results if result.policy == policy]
    return Scores(
        np.array([result.track for result in mine], np.int64),
        np.array([result.total for result in mine], np.float64),
        np.array([result.steps for result in mine], np.int64),
        np.array([result.finished for result in mine], np.bool_),
    )


def markdown(results: Sequence[Result], drivers: dict[str, Driver] | None = None) -> str:
    """The table, as GitHub shows it."""
    lines = [
        "| policy | mean | 95% interval | minimum | 10th percentile | laps finished "
        "| frames labelled | training minutes |",
        "| --- | ---: | :---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, driver in (DRIVERS if drivers is None else drivers).items():
        scores = scores_of(results, name)
        if not len(scores.seeds):
            continue
        low, high = scores.interval
        cells = [
            name,
            f"{scores.mean:.1f}",
            f"{low:.1f} to {high:.1f}",
            f"{scores.minimum:.1f}",
            f"{scores.percentile(10):.1f}",
            f"{scores.finished.sum()} of {len(scores.seeds)}",
            f"{driver.labels:,}" if driver.labels else "–",
            f"{driver.minutes:g}" if driver.minutes else "–",
        ]
        lines.append(f"| {' | '.join(cells)} |".replace("-", "−"))
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m helpers.scores", description=__doc__)
    parser.add_argument("--workers", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--table", action="store_true", help="show the file's table, drive nothing")
    options = parser.parse_args(arguments)
    print(markdown(read() if options.table else update(workers=options.workers)))


if __name__ == "__main__":
    main()
