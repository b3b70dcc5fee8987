"""White lines across the road, registered as "StopLines-v3", and a driver who stops at each.

It stands for a second and goes on: what it does depends on how long it has been standing, which
no single picture shows.
"""

import math
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np

from helpers.worlds.car_racing import HALF_ROAD, FastCarRacing
from helpers.worlds.drivers import GAINS, Gains, RacingDriver

__all__ = ["STAND", "StopLines", "StoppingDriver"]

HALF_LINE = 1.25  # from a line's middle to its near side, units
EVERY, SEARCH = 70, 15  # a line every so many tiles, moved by up to so many to where it is straight
NOSE = 5.0  # the driver stops with the car's middle this far before a line's, units …
STILL = 1.0  # … and counts as standing when slower than this, units/s
STOPPING_PACE = 0.4
GENTLE = replace(GAINS, top_speed=55)  # at this pace, 35 units/s
STAND = 50  # steps that it stands: a second
SIGHT = 33.0  # from the car's middle to the furthest line that counts as ahead, units
SLOWING, HOLD = 25.0, 0.5  # units/s² on the way to a line; the most brake, and the brake at it


class StopLines(FastCarRacing):
    """FastCarRacing with a white line across the road here and there, on straight stretches.

    Observations, actions, rewards and ends are CarRacing's.

    lines  the tile at whose end each line lies, list of int, in the order of the road
    stood  for how many steps the car has stood before each, within a car's length: {place: steps}
    """

    def _create_track(self) -> bool:
        if not super()._create_track():
            return False
        turns = np.abs(np.diff([beta for _, beta, _, _ in self.track]))

        def bend(tile: int) -> float:
            return float(turns[tile - 12 : tile + 6].sum())

        places = range(EVERY // 2, len(self.track) - 2 * SEARCH, EVERY)
        self.lines = [min(range(i - SEARCH, i + SEARCH + 1), key=bend) for i in places]
        self.stood = dict.fromkeys(range(len(self.lines)), 0)
        for tile in self.lines:
            _, beta, x, y = self.track[tile]
            right = np.array([math.cos(beta), math.sin(beta)])
            along = np.array([-right[1], right[0]])
            corners = [
                tuple(np.array([x, y]) + side * HALF_ROAD * right + end * HALF_LINE * along)
                for side, end in ((-1, -1), (1, -1), (1, 1), (-1, 1))
            ]
            self.road_poly.append((corners, np.array([255, 255, 255])))
        return True

    def ahead(self) -> tuple[int | None, float]:
        """The next line on the car's own stretch: its place in ``lines``, and how far, units.

        Where none is within SIGHT, None and infinity.
        """
        assert self.car is not None
        for place, tile in enumerate(self.lines):
            _, beta, x, y = self.track[tile]
            to_x, to_y = x - self.car.hull.position[0], y - self.car.hull.position[1]
            along = to_y * math.cos(beta) - to_x * math.sin(beta)
            aside = to_x * math.cos(beta) + to_y * math.sin(beta)
            if 0 < along < SIGHT and abs(aside) < 2 * HALF_ROAD:
                return place, along
        return None, math.inf

    def step(self, action: Any) -> Any:
        out = super().step(action)
        place, gap = self.ahead()
        if place is not None and gap < 2 * NOSE:
            self.stood[place] += bool(self.car.hull.linearVelocity.length < STILL)  # type: ignore[union-attr]
        return out


class StoppingDriver(RacingDriver):
    """``RacingDriver`` for StopLines: at each line it stops, stands for a second, and goes on.

    It has a memory, of the steps for which it was asked while standing, and so must be asked at
    each step. Raises TypeError for another environment.
    """

    def __init__(self, env: gym.Env, pace: float = STOPPING_PACE, gains: Gains = GENTLE) -> None:
        super().__init__(env, pace, gains)
        if not isinstance(env.unwrapped, StopLines):
            raise TypeError(f"there are no lines in {env}: make StopLines-v3")
        self._waited: dict[int, int] = {}  # steps, by the line's place

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_waited": {}}

    def __call__(self, observation: object = None) -> np.ndarray:
        """The action here and now: float32, shape (3,)."""
        before = self._track
        action = super().__call__(observation)
        if self._track is not before:  # a new episode
            self._waited = {}
        env: Any = self.env.unwrapped
        place, gap = env.ahead()
        if place is None or self._waited.get(place, 0) >= STAND:
            return action
        speed = env.car.hull.linearVelocity.length
        if gap < NOSE + 1:
            self._waited[place] = self._waited.get(place, 0) + (speed < STILL)
            return np.array([action[0], 0, HOLD], np.float32)
        missing = math.sqrt(2 * SLOWING * (gap - NOSE)) - speed
        gas = min(action[1], max(self.gains.gas_gain * missing, 0.0))
        brake = max(action[2], min(max(-2 * self.gains.brake_gain * missing, 0.0), HOLD))
        return np.array([action[0], gas, brake], np.float32)
