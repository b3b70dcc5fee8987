"""How much faster FastCarRacing is than Gymnasium's CarRacing, and where its time goes.

    python tools/bench.py [seconds, 30 by default]

Both drive the same laps in one process, in turns of 25 steps, so that a busy machine slows both
alike; the ratio is the median over turns. Only ``step`` is timed: no reset, no driver.
"""

import sys
import time
from collections import defaultdict
from typing import Any

import numpy as np
import pygame
from gymnasium.envs.box2d.car_racing import CarRacing
from pygame import gfxdraw

from helpers.worlds.car_racing import FastCarRacing
from helpers.worlds.drivers import RacingDriver

TURN = 25  # steps
LAP = 700  # steps: about what a lap takes, so that the slow opening zoom has its share
OPENING = 50  # steps of zoom


def compare(seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Steps/s of T turns, stock and fast (T, 2); and whether a turn is in the opening (T,)."""
    stock, fast = CarRacing(), FastCarRacing()
    driver = RacingDriver(stock)
    rates, opening = [], []
    end = time.perf_counter() + seconds
    seed = 0
    while time.perf_counter() < end:
        stock.reset(seed=seed)
        fast.reset(seed=seed)
        for step in range(0, LAP, TURN):
            spent, ended = {stock: 0.0, fast: 0.0}, False
            actions: list[np.ndarray] = []
            for env in (stock, fast):
                for i in range(TURN):
                    if env is stock:
                        actions.append(driver())
                    start = time.perf_counter()
                    _, _, over, _, _ = env.step(actions[i])
                    spent[env] += time.perf_counter() - start
                    ended |= over
            rates.append([TURN / spent[stock], TURN / spent[fast]])
            opening.append(step < OPENING)
            if ended or time.perf_counter() > end:
                break
        seed += 1
    return np.array(rates), np.array(opening)


def breakdown(laps: int = 2) -> dict[str, float]:
    """Microseconds of a step spent in each part of FastCarRacing, over ``laps`` of LAP steps."""
    env = FastCarRacing()
    env.reset(seed=0)
    driver = RacingDriver(env)
    spent: dict[str, float] = defaultdict(float)
    inner = [0.0]  # time of the calls within the one that is being timed

    def timed(name: str, owner: Any, attribute: str) -> tuple[Any, str, Any]:
        original = getattr(owner, attribute)

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            inner.append(0.0)
            start = time.perf_counter()
            result = original(*args, **kwargs)
            took = time.perf_counter() - start
            spent[name] += took - inner.pop()
            inner[-1] += took
            return result

        setattr(owner, attribute, wrapper)
        return owner, attribute, original

    undo = [
        timed("physics: solver, contacts", type(env.world), "Step"),
        timed("physics: wheels", type(env.car), "step"),
        timed("choose the polygons, fill the field", FastCarRacing, "_render_road"),
        timed("polygons' edges (gfxdraw.aapolygon)", gfxdraw, "aapolygon"),
        timed("polygons' insides (gfxdraw.filled_polygon)", gfxdraw, "filled_polygon"),
        timed("car", type(env.car), "draw"),
        timed("shrink (smoothscale)", pygame.transform, "smoothscale"),
        timed("turn over (flip)", pygame.transform, "flip"),
        timed("indicators", FastCarRacing, "_render_indicators"),
        timed("score", FastCarRacing, "_render_score"),
        timed("array", FastCarRacing, "_create_image_array"),
        timed("rest of drawing", FastCarRacing, "_render"),
        timed("rest of step", FastCarRacing, "step"),
    ]
    try:
        for seed in range(laps):
            env.reset(seed=seed)
            for _ in range(LAP):
                env.step(driver())
    finally:
        for owner, attribute, original in undo:
            setattr(owner, attribute, original)
    return {name: 1e6 * took / laps / LAP for name, took in spent.items()}


def main() -> None:
    rates, opening = compare(float(sys.argv[1]) if len(sys.argv) > 1 else 30.0)
    ratios = rates[:, 1] / rates[:, 0]
    stock, fast = np.median(rates, axis=0)
    low, middle, high = np.percentile(ratios, [10, 50, 90])
    print(f"stock {stock:5.0f} steps/s   CarRacing, median turn")
    print(f"fast  {fast:5.0f} steps/s   FastCarRacing")
    print(f"ratio {middle:5.2f}   median of {len(ratios)} turns (80% in {low:.2f} to {high:.2f})")
    total = (1 / rates[:, 0]).sum() / (1 / rates[:, 1]).sum()
    print(
        f"      {total:5.2f}   of all steps' time; {np.median(ratios[opening]):.2f} in the opening "
        f"zoom, {np.median(ratios[~opening]):.2f} after it"
    )
    parts = breakdown()
    print(f"\nA step of FastCarRacing: {sum(parts.values()):.0f} microseconds, timers included")
    for name, took in sorted(parts.items(), key=lambda part: -part[1]):
        print(f"  {took:5.0f}  {took / sum(parts.values()):4.0%}  {name}")


if __name__ == "__main__":
    main()
