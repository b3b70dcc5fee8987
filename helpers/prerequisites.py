"""What an earlier notebook makes, for one that is opened alone: loaded, or made on the spot."""

from __future__ import annotations

import os
from collections.abc import Callable

import gymnasium as gym

from helpers import data_path, networks, sized
from helpers.demonstrations import Demonstrations
from helpers.networks import DrivingCNN
from helpers.plumbing import check_room, each, found
from helpers.rollouts import evaluate
from helpers.training import Pairs, dagger, disturbed_lap, drive_and_ask, fit_driver, pairs_of
from helpers.worlds.drivers import DEFAULT_PACE, RacingDriver
from helpers.worlds.mountain_car import MountainCarVector, mountain_car_expert

__all__ = [
    "disturbed_racing_clone", "mountain_car_runs", "plain_racing_clone", "racing_dagger",
    "racing_laps",
]  # fmt: skip

# what is made has these names, under `data_path` and `networks.policy_path`
RUNS_FILE, RACING_FILE = "mountain-car-expert.npz", "car-racing-expert.npz"
ROOM = 40_000_000  # bytes that must be free before the work: thirty laps
PLAIN_CLONE, DISTURBED_CLONE = "car-racing-plain-clone", "car-racing-disturbed-clone"
OWN_CLONE, DAGGER = "car-racing-own-clone", "car-racing-dagger"
WORKERS = os.cpu_count() or 1  # processes that drive


def mountain_car_runs(count: int) -> Demonstrations:
    """The expert's runs from seeds 0 to ``count`` − 1, as 01-collect-mountain-car records them."""

    def record() -> Demonstrations:
        return Demonstrations.record(MountainCarVector(count), mountain_car_expert, range(count))

    return _recorded(RUNS_FILE, "MountainCar-v0", count, "01-collect-mountain-car", record)


def racing_laps(count: int, pace: float = DEFAULT_PACE) -> Demonstrations:
    """The scripted driver's laps on tracks 0 to ``count`` − 1, as 03-collect-car-racing records.

    A lap takes about 20 MB of memory and a second or two to record. Another ``pace`` than the
    default one has a file of its own.
    """
    own = "" if pace == DEFAULT_PACE else f"-pace-{pace:g}"
    name = RACING_FILE.replace(".npz", f"{own}.npz")

    def record() -> Demonstrations:
        env = gym.make("FastCarRacing-v3")
        driver = RacingDriver(env, pace)
        return Demonstrations.record(env, driver, range(count), workers=WORKERS)

    return _recorded(name, "CarRacing-v3", count, "03-collect-car-racing", record)


def plain_racing_clone() -> DrivingCNN:
    """04-clone-car-racing's plain clone: squared error on the driver's own, undisturbed laps."""
    return _taught(PLAIN_CLONE, "04-clone-car-racing", lambda: _fit(_clean_laps()))


def disturbed_racing_clone() -> DrivingCNN:
    """05-measure-compounding-error's clone of disturbed laps: the same network and training."""

    def make() -> DrivingCNN:
        seeds = [(seed,) for seed in range(sized(30, small=2))]
        return _fit(each(disturbed_lap, seeds, WORKERS, "recording"))

    return _taught(DISTURBED_CLONE, "05-measure-compounding-error", make)


def racing_dagger() -> DrivingCNN:
    """06-fix-it-with-dagger's student: of five rounds of one lap each, the best one's."""

    def make() -> DrivingCNN:
        laps, clone = _clean_laps(), plain_racing_clone()
        env = gym.make("FastCarRacing-v3")
        expert = RacingDriver(env)

        def drive(student: DrivingCNN, number: int) -> list[Pairs]:
            return [drive_and_ask(env, student.act, expert, 1_000 + number - 1)]

        def score(student: DrivingCNN) -> float:
            return evaluate(env, student.act, range(10_100, 10_100 + sized(4, small=1))).mean

        rounds = dagger(clone, laps, sized(5, small=1), drive, _fit)
        return max((student for student, _ in rounds), key=score)

    return _taught(DAGGER, "06-fix-it-with-dagger", make)


def _clean_laps() -> list[Pairs]:
    return pairs_of(racing_laps(sized(30, small=2)))


def _fit(laps: list[Pairs], seed: int = 0) -> DrivingCNN:
    return fit_driver(laps, seed=seed, steps=sized(1_000, small=40))


def _recorded(
    name: str, env_id: str, count: int, notebook: str, record: Callable[[], Demonstrations]
) -> Demonstrations:
    own = data_path(name)
    for path in found(own):
        demos = Demonstrations.load(path, env_id, made_by=notebook)
        if len(demos) >= count:
            return demos if len(demos) == count else demos[:count]  # no copy of 600 MB for nothing
    print(f"Recording {count:,} episodes of the expert, as taught in {notebook}.")
    check_room(own.parent, ROOM)
    demos = record()
    demos.save(own)
    return demos


def _taught(name: str, notebook: str, make: Callable[[], DrivingCNN]) -> DrivingCNN:
    own = networks.policy_path(name)
    if not found(own):
        print(f"Training {name}, as taught in {notebook}; this takes some minutes.")
        check_room(own.parent, ROOM)
        networks.save(name, make())
    return networks.load(name, made_by=notebook, kind="DrivingCNN")
