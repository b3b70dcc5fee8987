"""Search for the racing driver's gains: ``python -m helpers.tune``, or ``make tune``; minutes.

Nothing is drawn: the driver reads the track, so the physics alone will do, at 10 times the speed.
The search is the plainest there is. It tries gains drawn at random around the present ones, goes
on from the best, and climbs: change a few gains by a few percent, keep the change if the score
rises, try the opposite if it falls. The same seed repeats it to the digit. Training tracks only;
what it finds is checked on validation tracks.
"""

import argparse
import math
from collections.abc import Iterable
from dataclasses import astuple, fields, replace

import numpy as np
from gymnasium.envs.box2d.car_racing import CarRacing
from tqdm.auto import tqdm

from helpers.experts import DEFAULT_PACE, GAINS, RACER_PACE, Gains, RacingDriver

MAX_STEPS = 1000  # CarRacing-v3's time limit
TRACKS = (1, 5, 7, 125, 203, 347)  # training tracks: three ordinary, three long and winding
CHECK = range(10_000, 10_030)  # validation tracks
PACES = {RACER_PACE: 0.6, DEFAULT_PACE: 0.4}  # a driver must do at both; how much each counts
JERK_COST = 200.0  # return given up for a smoother lap, per unit of mean |change of steer| a step
MISS_COST = 10.0  # and for laps on which a tile was missed, per lap


class PhysicsOnly(CarRacing):
    """CarRacing that draws nothing: every observation is black, (96, 96, 3) uint8.

    Rewards and ends are those of CarRacing. It has no time limit: see ``MAX_STEPS``.
    """

    _black = np.zeros((96, 96, 3), dtype=np.uint8)

    def _render(self, mode: str) -> np.ndarray:
        return self._black


def drive(env: CarRacing, driver: RacingDriver, seed: int) -> tuple[float, int, bool, float]:
    """One lap: return, steps, whether all tiles were visited, mean |change of steer| a step."""
    env.reset(seed=seed)
    total, steer = 0.0, []
    for _ in range(MAX_STEPS):
        action = driver()
        steer.append(action[0])
        _, reward, terminated, _, _ = env.step(action)
        total += reward
        if terminated:
            break
    finished = env.tile_visited_count == len(env.track)
    return total, len(steer), finished, float(np.abs(np.diff(steer)).mean())


def laps(driver: RacingDriver, seeds: Iterable[int]) -> np.ndarray:
    """``drive`` on each seed: (n, 4) float64, a column for each of its results."""
    return np.array([drive(driver.env.unwrapped, driver, seed) for seed in seeds])  # type: ignore[arg-type]


def score(gains: Gains, env: CarRacing) -> float:
    """What the search maximizes: the mean return at both paces, less what roughness costs."""
    total = 0.0
    for pace, weight in PACES.items():
        returns, _, finished, jerk = laps(RacingDriver(env, pace, gains), TRACKS).T
        total += weight * (returns - JERK_COST * jerk - MISS_COST * (1 - finished)).mean()
    return total


def change(gains: Gains, by: dict[str, float]) -> Gains:
    """The gains with some of them multiplied by exp(``by``)."""
    return replace(gains, **{name: getattr(gains, name) * math.exp(by[name]) for name in by})


def search(trials: int, rng: np.random.Generator, progress: bool = True) -> tuple[Gains, float]:
    """Random search for the first quarter of the trials, then hill climbing from its best."""
    env = PhysicsOnly()
    names = [field.name for field in fields(Gains)]
    best, top = GAINS, score(GAINS, env)
    retry: dict[str, float] = {}
    bar = tqdm(range(trials), desc="trials", disable=not progress)
    for trial in bar:
        if trial < trials // 4:
            start, by = GAINS, {name: 0.2 * rng.normal() for name in names}
        elif retry:
            start, by, retry = best, {name: -retry[name] for name in retry}, {}
        else:
            few = [name for name in names if rng.random() < 0.3] or [str(rng.choice(names))]
            size = rng.choice([0.05, 0.12, 0.25])
            start, by = best, {name: size * rng.normal() for name in few}
            retry = by
        tried = change(start, by)
        reached = score(tried, env)
        if reached > top:
            best, top, retry = tried, reached, {}
        bar.set_postfix(best=f"{top:.2f}")
    return best, top


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m helpers.tune", description=__doc__)
    parser.add_argument("--trials", type=int, default=120, help="gains to try (default: 120)")
    parser.add_argument("--seed", type=int, default=0, help="of the search (default: 0)")
    options = parser.parse_args(arguments)
    gains, reached = search(options.trials, np.random.default_rng(options.seed))
    print(f"score {reached:.2f}; to paste into helpers/experts.py:\n\nclass Gains:")
    for field, value in zip(fields(Gains), astuple(gains), strict=True):
        print(f"    {field.name}: float = {value:.4g}")
    env = PhysicsOnly()
    print(f"\non the validation tracks {CHECK.start}–{CHECK.stop - 1}:")
    for name, pace in (("default", DEFAULT_PACE), ("racer", RACER_PACE)):
        returns, steps, finished, _ = laps(RacingDriver(env, pace, gains), CHECK).T
        print(
            f"{name:8} pace {pace}: {returns.mean():.1f} ± {returns.std():.1f}, minimum "
            f"{returns.min():.0f}, {steps.mean():.0f} steps, {finished.mean():.0%} of laps finished"
        )


if __name__ == "__main__":
    main()
