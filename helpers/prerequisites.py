"""What an earlier notebook makes, for one that is opened alone: loaded, or made on the spot."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import gymnasium as gym
import numpy as np
import torch
from torch import nn

from helpers import data_path, policies, sized
from helpers.dagger import dagger, drive_and_ask
from helpers.demos import Demonstrations
from helpers.disturbed import Lap, laps_of, record_disturbed, tensors
from helpers.experts import DEFAULT_PACE, RacingDriver
from helpers.mountain_car import MountainCarVector
from helpers.rollouts import rollout
from helpers.training import train

__all__ = [
    "mountain_car_runs",
    "plain_racing_clone",
    "racing_clone",
    "racing_dagger",
    "racing_laps",
]

RUNS_FILE = "mountain-car-expert.npz"
RACING_FILE = "car-racing-expert.npz"
PLAIN_CLONE, CLONE = "car-racing-plain-clone", "car-racing-clone"  # policies
DAGGER = "car-racing-dagger"


def mountain_car_runs(count: int) -> Demonstrations:
    """The expert's runs from seeds 0 to ``count`` − 1, as 01-collect-mountain-car records them."""
    path = data_path(RUNS_FILE)
    if path.exists():
        demos = Demonstrations.load(path, "MountainCar-v0", made_by="01-collect-mountain-car")
        if len(demos) >= count:
            return demos[:count]
    print(f"Recording {count:,} runs of the expert, as taught in 01-collect-mountain-car.")
    demos = Demonstrations.record_vector(MountainCarVector(count), _expert, range(count))
    demos.save(path)
    return demos


def racing_laps(count: int, pace: float = DEFAULT_PACE) -> Demonstrations:
    """The scripted driver's laps on tracks 0 to ``count`` − 1, as 03-collect-car-racing records.

    A lap takes about 20 MB of memory and a second or two to record. Another ``pace`` than the
    default one has a file of its own.
    """
    own = "" if pace == DEFAULT_PACE else f"-pace-{pace:g}"
    path = data_path(RACING_FILE.replace(".npz", f"{own}.npz"))
    if path.exists():
        demos = Demonstrations.load(path, "CarRacing-v3", made_by="03-collect-car-racing")
        if len(demos) >= count:
            return demos if len(demos) == count else demos[:count]  # no copy of 600 MB for nothing
    print(f"Recording {count} laps of the driver, as taught in 03-collect-car-racing.")
    env = gym.make("FastCarRacing-v3")
    demos = Demonstrations.record(env, RacingDriver(env, pace), range(count))
    env.close()
    demos.save(path)
    return demos


def plain_racing_clone() -> policies.DrivingCNN:
    """04-clone-car-racing's plain clone: squared error on the driver's own, undisturbed laps."""

    def make() -> policies.DrivingCNN:
        return fit_driver(laps_of(racing_laps(sized(30, small=2))))

    return _driver(PLAIN_CLONE, make)


def racing_clone() -> policies.DrivingCNN:
    """04-clone-car-racing's better clone: the same on laps that were disturbed."""

    def make() -> policies.DrivingCNN:
        env = gym.make("FastCarRacing-v3")
        laps = record_disturbed(env, RacingDriver(env), range(sized(30, small=2)))
        env.close()
        return fit_driver(laps)

    return _driver(CLONE, make)


def racing_dagger() -> policies.DrivingCNN:
    """06-fix-it-with-dagger's student: of four rounds of asking the driver, the best one's."""
    if not policies.policy_path(DAGGER).exists():
        laps, clone = laps_of(racing_laps(sized(30, small=2))), plain_racing_clone()
        print(f"Training {DAGGER}, as taught in 06-fix-it-with-dagger; this takes some minutes.")
        env = gym.make("FastCarRacing-v3")
        expert, per_round = RacingDriver(env), sized(8, small=1)

        def drive(student: policies.DrivingCNN, number: int) -> list[Lap]:
            first = 1_000 + per_round * (number - 1)
            return drive_and_ask(env, student.act, expert, range(first, first + per_round))

        def fit(laps: list[Lap], number: int) -> policies.DrivingCNN:
            return fit_driver(laps, seed=number)

        def score(student: policies.DrivingCNN) -> float:
            tracks = range(10_100, 10_100 + sized(10, small=1))
            return float(np.mean([rollout(env, student.act, track).total for track in tracks]))

        rounds = dagger(clone, laps, sized(4, small=1), drive, fit)
        policies.save(DAGGER, max((student for student, _ in rounds), key=score))
        env.close()
    return policies.load(DAGGER, made_by="06-fix-it-with-dagger")


def fit_driver(
    laps: Sequence[Lap],
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = nn.functional.mse_loss,
    seed: int = 0,
    steps: int | None = None,
    squash: bool = True,
) -> policies.DrivingCNN:
    """A driving network taught with 04-clone-car-racing's settings, the squared error among them.

    With the absolute error ``squash`` should be false: see 06-fix-it-with-dagger.
    """
    torch.manual_seed(seed)
    model = policies.DrivingCNN(squash=squash)
    train(
        model,
        *tensors(laps),
        loss,
        steps=steps or sized(1_000, small=40),
        batch_size=128,
        learning_rate=2e-3,
        generator=torch.Generator().manual_seed(seed),
        augment=policies.mirror,
    )
    return model


def _driver(name: str, make: Callable[[], policies.DrivingCNN]) -> policies.DrivingCNN:
    if not policies.policy_path(name).exists():
        print(f"Training {name}, as taught in 04-clone-car-racing; this takes a minute.")
        policies.save(name, make())
    return policies.load(name, made_by="04-clone-car-racing")


def _expert(observations: np.ndarray) -> np.ndarray:
    return np.sign(observations[:, 1]).astype(np.int64) + 1
