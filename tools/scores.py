"""The score table of the series: ``python tools/scores.py``, or ``make scores``; minutes.

Each policy drives the 100 test tracks once. What it gets on each of them goes to
``notebooks/scores.csv`` at once; an interrupted run goes on from there. A result counts as long as
its digest is that of the policy: of the weights, or of the teachers' code.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from safetensors.numpy import load_file

from helpers import prerequisites
from helpers.networks import policy_path
from helpers.plumbing import written_whole
from helpers.rollouts import Rollout, Scores, run_all
from helpers.worlds import car_racing, drivers
from helpers.worlds.drivers import RACER_PACE, KeyboardDriver, RacingDriver

__all__ = ["DRIVERS", "TEST_TRACKS", "Driver", "Result", "ScoresError", "markdown", "read"]
__all__ += ["update", "write"]

FILE = Path(__file__).resolve().parent.parent / "notebooks" / "scores.csv"
TEST_TRACKS = range(20_000, 20_100)
COLUMNS = {
    "policy": "[^\ufffd]+",  # � stands for a byte that is no UTF-8
    "digest": "[0-9a-f]{12}",
    "track": r"\d+",
    "return": r"-?\d+(\.\d+)?",
    "steps": r"\d+",
    "finished": "yes|no",
}
HEADER = ",".join(COLUMNS)
EXAMPLE = "random,970271f6784e,20000,-25.781250,1000,no"


class ScoresError(ValueError):
    """A score file that can't be used; the message names file and line, and says what to do."""


class Result(NamedTuple):
    """What a policy got on a track; ``digest`` says which version of the policy."""

    policy: str
    digest: str
    track: int
    total: float
    steps: int
    finished: bool


class RandomDriver:
    """Any action, at each step anew."""

    def __init__(self, env: gym.Env) -> None:
        self.env = env

    def __getstate__(self) -> dict[str, Any]:
        return {"env": None}  # a worker binds it to its own

    def __call__(self, observation: np.ndarray) -> np.ndarray:
        return self.env.action_space.sample()


@dataclass(frozen=True)
class Driver:
    """A policy to score: a teacher, made for its environment, or a network under its saved name.

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
            code = [Path(str(module.__file__)) for module in (drivers, car_racing)]
            data = b"".join(path.read_bytes().replace(b"\r\n", b"\n") for path in code)
        return hashlib.sha256(data).hexdigest()[:12]

    def drive(
        self, tracks: Iterable[int], workers: int = 1, describe: str = "driving"
    ) -> Iterator[Rollout]:
        """One lap on each track. Teachers read no pictures, so none is drawn for them."""
        with closing(gym.make("FastCarRacing-v3" if self.saved_as else "PhysicsOnly-v3")) as env:
            policy = self.make().act if self.saved_as else self.make(env)
            yield from run_all(env, policy, tracks, workers=workers, describe=describe)


# Labels as the notebooks' outputs show them; minutes as helpers.prerequisites takes for them
DRIVERS: dict[str, Driver] = {
    "random": Driver(RandomDriver),
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
    """The results so far; none where there is no file. A byte-order mark does no harm.

    Raises ScoresError where a line is no result, or stands there twice.
    """
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines() or [""]
    results: dict[tuple[str, int], Result] = {}
    for number, line in enumerate(lines, 1):
        try:
            if number > 1:
                result = _result(line)
                if results.setdefault((result.policy, result.track), result) is not result:
                    raise ValueError(f"a second result of {result.policy} on {result.track}")
            elif line != HEADER:
                raise ValueError("the file must begin with its header")
        except (ValueError, csv.Error) as error:
            raise ScoresError(
                f"{path}, line {number}: {error}\n    {line}\nThe header is {HEADER}, and a row "
                f"{EXAMPLE}\nNothing was driven or written. Mend the line, or take the last "
                f"committed file with\n    git checkout HEAD {path}"
            ) from error
    return list(results.values())


def _result(line: str) -> Result:
    row = next(csv.reader([line], strict=True))
    if len(row) != len(COLUMNS):
        raise ValueError(f"it has {len(row)} columns with commas between them, not {len(COLUMNS)}")
    for value, (name, pattern) in zip(row, COLUMNS.items(), strict=True):
        if not re.fullmatch(pattern, value):
            raise ValueError(f"{name} can't be {value!r}")
    policy, digest, track, total, steps, finished = row
    return Result(policy, digest, int(track), float(total), int(steps), finished == "yes")


def write(results: Sequence[Result], path: Path = FILE) -> None:
    """All results, whole or not at all."""
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for result in results:
        finished = "yes" if result.finished else "no"
        table.writerow([*result[:3], f"{result.total:.6f}", result.steps, finished])
    with written_whole(path) as file:
        file.write(text.getvalue().encode())


def update(
    path: Path = FILE,
    drivers: Mapping[str, Driver] = DRIVERS,
    tracks: Sequence[int] = TEST_TRACKS,
    workers: int = 2,
) -> list[Result]:
    """Drive what is missing in ``path`` or belongs to another version of its policy, and save it.

    Networks that are not at hand are trained first. Results of policies not among ``drivers`` stay.
    """
    results = read(path)
    order = list(dict.fromkeys([*DRIVERS, *drivers, *(result.policy for result in results)]))
    for name, driver in drivers.items():
        if driver.saved_as:
            driver.make()
        digest = driver.digest
        results = [r for r in results if r.policy != name or r.digest == digest]
        done = {r.track for r in results if r.policy == name}
        if not (missing := [track for track in tracks if track not in done]):
            continue
        for run in driver.drive(missing, workers, describe=name):
            lap = Result(name, digest, run.seed, run.total, len(run.rewards), run.finished)
            results.append(lap)
            results.sort(key=lambda result: (order.index(result.policy), result.track))
            write(results, path)
    return results


def markdown(results: Sequence[Result], drivers: Mapping[str, Driver] = DRIVERS) -> str:
    """The table, as GitHub shows it."""
    lines = [
        "| policy | mean | 95% interval | minimum | 10th percentile | laps finished "
        "| frames labelled | training minutes |",
        "| --- | ---: | :---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, driver in drivers.items():
        mine = [result[2:] for result in results if result.policy == name]
        if not mine:
            continue
        scores = Scores(*map(np.array, zip(*mine, strict=True)))
        low, high = scores.interval
        cells = [
            name,
            f"{scores.mean:.1f}",
            f"{low:.1f} to {high:.1f}",
            f"{scores.minimum:.1f}",
            f"{np.percentile(scores.returns, 10):.1f}",
            f"{scores.finished.sum()} of {len(scores.seeds)}",
            f"{driver.labels:,}" if driver.labels else "–",
            f"{driver.minutes:g}" if driver.minutes else "–",
        ]
        lines.append(f"| {' | '.join(cells)} |".replace("-", "−"))
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--table", action="store_true", help="show the file's table, drive nothing")
    options = parser.parse_args(arguments)
    try:
        table = markdown(read() if options.table else update(workers=options.workers))
    except ScoresError as error:
        sys.exit(str(error))
    try:
        print(table)
    except UnicodeEncodeError:  # a terminal without a minus sign
        print(table.translate(dict.fromkeys(map(ord, "−–"), "-")))


if __name__ == "__main__":
    main()
