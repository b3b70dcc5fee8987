"""Red blocks in the middle of the road, registered as "BlocksOnTheRoad-v3", and who drives past.

Each block can be passed on the left and on the right: two right answers, whose average hits it.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from helpers.worlds.car_racing import HALF_ROAD, FastCarRacing
from helpers.worlds.drivers import BEHIND, GAINS, TILE, Gains, RacingDriver, racing_lines

__all__ = [
    "LEFT", "RIGHT", "AtBlocks", "BlocksAlone", "BlocksOnTheRoad", "Near", "SwervingDriver",
    "outcomes",
]  # fmt: skip

HALF_BLOCK = 1.5  # from a block's middle to its sides, units; the car is 2.8 wide and 5 long
APART = 30  # tiles between two blocks, at least
STRAIGHT = 0.3  # no block where the road turns by more than this, rad, …
STRAIGHT_FROM, STRAIGHT_TO = 18, 5  # … from so many tiles before it to so many after it

FROM, TO = 45, 3  # units before a block and behind it: between, the car is near it

NARROW = 0.1  # the driver comes along the middle of the road, this close to it, units
DECIDES = 5  # tiles before a block: there the driver swerves to one side of it …
COMMITS = 2  # … and from there on it takes the side where the car points, whatever it had chosen
BERTH = 4.25  # the line past a block lies this far to one side of its middle, units …
BEFORE, AFTER = 2, 5  # … from so many tiles before it to so many after it
LEFT, RIGHT = -1, 1
SWERVING_PACE = 0.55
# Slower on straight road, and the wheels aim less far ahead, or it would not get aside in time
NIMBLE = replace(GAINS, top_speed=40, look_time=0.03)


class Near(NamedTuple):
    """The block that a car is near, by its place in ``blocks``; units to go; units right of it."""

    place: int
    to_go: float
    right: float


class BlocksOnTheRoad(FastCarRacing):
    """FastCarRacing with red square blocks in the middle of straight stretches.

    They are drawn, not solid: a car that touches one drives on. Observations, actions and rewards
    are CarRacing's.

    blocks  the tile at whose end each block lies, list of int, in the order of the road
    hits    which of the blocks the car has touched, with hull or wheel: a set of their places in
            ``blocks``
    passed  how far to the right of a block's middle the hull's middle went by, units: {place: …}
    """

    def _create_track(self) -> bool:
        if not super()._create_track():
            return False
        turns = np.abs(np.diff([beta for _, beta, _, _ in self.track]))

        def bend(tile: int) -> float:
            return float(turns[tile - STRAIGHT_FROM : tile + STRAIGHT_TO].sum())

        self.blocks: list[int] = []
        for tile in range(APART, len(self.track) - 10):
            if tile - (self.blocks or [0])[-1] >= APART and bend(tile) < STRAIGHT:
                self.blocks.append(tile)
        self._bodies = []
        for tile in self.blocks:
            _, beta, x, y = self.track[tile]
            body = self.world.CreateStaticBody(position=(x, y), angle=beta)
            body.CreatePolygonFixture(box=(HALF_BLOCK, HALF_BLOCK), isSensor=True)
            corners = [tuple(body.transform * v) for v in body.fixtures[0].shape.vertices]
            self.road_poly.append((corners, np.array([255, 0, 0])))
            # stock destroys these before the next track
            self.road.append(body)  # type: ignore[attr-defined]
            self._bodies.append(body)
        self.hits: set[int] = set()
        self.passed: dict[int, float] = {}
        return True

    def near(self) -> Near | None:
        """The block that the car comes to, or is beside; None between blocks."""
        for place, body in enumerate(self._bodies):
            right, along = body.GetLocalPoint(self.car.hull.position)  # type: ignore[union-attr]
            if -FROM < along < TO and abs(right) < 2 * HALF_ROAD:
                return Near(place, -along, right)
        return None

    def step(self, action: Any) -> Any:
        out = super().step(action)
        for place, body in enumerate(self._bodies):
            right, along = body.GetLocalPoint(self.car.hull.position)  # type: ignore[union-attr]
            if math.hypot(right, along) < 2 * HALF_ROAD:
                if any(edge.contact.touching for edge in body.contacts):
                    self.hits.add(place)
                if abs(along) < 1:
                    self.passed[place] = right
        return out


class BlocksAlone(BlocksOnTheRoad):
    """The same, but pictures between blocks stay black, which saves the time to draw them."""

    def _render(self, mode: str) -> Any:
        if mode == "state_pixels" and self.car is not None and self.near() is None:
            return np.zeros((96, 96, 3), np.uint8)
        return super()._render(mode)


def outcomes(env: gym.Env) -> str:
    """How the car fared, a letter for each block of the lap: Left, Right, Hit, "-" for not there.

    A block that the car has touched is hit, whichever way it went by.
    """
    world: Any = env.unwrapped
    went = {place: "L" if right < 0 else "R" for place, right in world.passed.items()}
    hits = dict.fromkeys(world.hits, "H")
    return "".join((went | hits).get(place, "-") for place in range(len(world.blocks)))


class SwervingDriver(RacingDriver):
    """``RacingDriver`` for BlocksOnTheRoad: it passes each block on one of its sides, late.

    It comes along the middle of the road, as if there were no choice, and swerves 18 units before
    the block: to the side that ``choose`` says then, LEFT or RIGHT. A push may turn the car to the
    other side; from 7 units before the block on, the driver goes where the car points. Without
    ``choose`` it always does. ``sides`` are those taken so far: {place in ``blocks``: side}.

    Raises TypeError for an environment without blocks.
    """

    def __init__(
        self,
        env: gym.Env,
        choose: Callable[[], int] | None = None,
        pace: float = SWERVING_PACE,
        gains: Gains = NIMBLE,
    ) -> None:
        super().__init__(env, pace, gains)
        if not isinstance(env.unwrapped, BlocksOnTheRoad):
            raise TypeError(f"there are no blocks in {env}; make one from BlocksOnTheRoad-v3")
        self.choose = choose
        self.sides: dict[int, int] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "choose": self.choose, "sides": {}}

    def _read(self, observation: object) -> Any:
        before = self._track
        car = super()._read(observation)
        if self._track is not before:
            self.sides = {}
            self._ways = {side: self._past(side) for side in (LEFT, RIGHT)}
            self._lines = self._past(0)
        tile, _ = self._place(car)
        for place, block in enumerate(self.env.unwrapped.blocks):  # type: ignore[attr-defined]
            left = block - tile  # tiles that are left to it
            if 0 <= left <= DECIDES:
                self._take(place, block, self._side(place, car, tile, left))
        return car

    def _side(self, place: int, car: Any, tile: int, left: int) -> int:
        if self.choose is not None and left > COMMITS:
            return self.sides.get(place) or self.choose()
        right = self._right[tile]
        off = np.dot(np.array(car.at) - self._middle[tile], right)
        return RIGHT if off + np.dot(car.heading, right) * left * TILE > 0 else LEFT

    def _take(self, place: int, block: int, side: int) -> None:
        """From now on, the lines that show this block pass it on that side."""
        if self.sides.get(place) != side:
            self.sides[place] = side
            shown = slice(block - DECIDES, block + AFTER + BEHIND + 2)
            self._lines[shown] = self._ways[side][shown]

    def _past(self, side: int) -> np.ndarray:
        """The lines past all blocks on one side; or, for 0, on as if the middle were free.

        ``racing_lines`` lets a line lie as far to the left of the middle as to the right, and as
        far everywhere. So the middle is moved, and what counts as one unit to its right.
        """
        room = HALF_ROAD - self.gains.margin
        moved, half = np.zeros(len(self._middle)), np.full(len(self._middle), room)
        for block in self.env.unwrapped.blocks:  # type: ignore[attr-defined]
            half[block - STRAIGHT_FROM : block + 1] = NARROW
            if side:
                half[block - DECIDES + 1 : block] = room
                aside = slice(block - BEFORE, block + AFTER + 1)
                moved[aside], half[aside] = side * (BERTH + room) / 2, (room - BERTH) / 2
        middle = self._middle + moved[:, None] * self._right
        return racing_lines(middle, self._right * (half / room)[:, None], self.gains)


class AtBlocks:
    """A policy: ``learner`` drives near a block, the scripted driver everywhere else.

    Where ``learner`` has a ``begin``, it is called at each block, with its place. ``ways`` says
    where it drove in this lap, step by step.
    """

    def __init__(self, env: gym.Env, learner: Any) -> None:
        self.driver, self.learner = SwervingDriver(env), learner
        self.world: Any = env.unwrapped

    def reset(self) -> None:
        self.at: int | None = None
        self.ways: list[Near] = []

    def __call__(self, observation: np.ndarray) -> Any:
        near = self.world.near()
        if near is None:
            return self.driver(observation)
        self.ways.append(near)
        if near.place != self.at:
            self.at = near.place
            getattr(self.learner, "begin", lambda place: None)(near.place)
        return self.learner(observation)
