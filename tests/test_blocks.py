"""Blocks on the road: where they lie, what counts as a hit; a driver that passes either side."""

import math
import pickle

import gymnasium as gym
import numpy as np
import pytest

from helpers.rollouts import rollout
from helpers.worlds.blocks import (
    APART,
    FROM,
    HALF_BLOCK,
    LEFT,
    RIGHT,
    TO,
    AtBlocks,
    BlocksAlone,
    BlocksOnTheRoad,
    SwervingDriver,
    outcomes,
)  # fmt: skip
from helpers.worlds.car_racing import FastCarRacing, PhysicsOnly

VALIDATION = range(10_000, 10_004)
HALF_CAR = 1.38  # from the hull's middle to a wheel's outer side, units


class Undrawn(BlocksOnTheRoad):
    """The world without its pictures."""

    def _render(self, mode):
        return np.zeros((96, 96, 3), dtype=np.uint8)


def put(env, block, side, along=0.0, speed=0.0):
    """Set the car down beside a block: `side` units right of its middle, `along` beyond it."""
    car = env.car
    _, road, x, y = env.track[env.blocks[block]]
    right = np.array([math.cos(road), math.sin(road)])
    ahead = np.array([-right[1], right[0]])
    start, before = np.array(car.hull.position), car.hull.angle
    cos, sin = math.cos(road - before), math.sin(road - before)
    for body in [car.hull, *car.wheels]:
        dx, dy = np.array(body.position) - start
        place = np.array([x, y]) + side * right + along * ahead
        body.position = tuple(place + np.array([cos * dx - sin * dy, sin * dx + cos * dy]))
        body.angle += road - before
        body.linearVelocity = tuple(speed * ahead)
        body.angularVelocity = 0


def test_blocks_lie_apart_on_straight_road_and_are_seen():
    env = gym.make("BlocksOnTheRoad-v3")
    world = env.unwrapped
    for seed in VALIDATION:
        env.reset(seed=seed)
        assert len(world.blocks) >= 3
        assert min(np.diff([0, *world.blocks])) >= APART
        road = np.unwrap(np.array(world.track)[:, 1])
        for block in world.blocks:
            assert np.ptp(road[block - 11 : block + 5]) < 0.3
    world.t = 1.0  # past the opening zoom
    put(world, 0, 0, along=-20)
    red, green, blue = env.step(np.zeros(3, np.float32))[0][:84].astype(int).transpose(2, 0, 1)
    found = (red > 200) & (green < 60) & (blue < 60)
    rows, columns = np.nonzero(found[:60])
    assert len(rows) > 8 and abs(columns.mean() - 47.5) < 2


def test_blocks_change_neither_motion_nor_rewards():
    worlds = [Undrawn(), PhysicsOnly()]
    for world in worlds:
        world.reset(seed=1)
    for step in range(300):
        action = np.array([math.sin(step / 20) / 5, 0.3, 0])
        (_, reward, *_), (_, other, *_) = (world.step(action) for world in worlds)
        assert reward == other
    places = [tuple(world.car.hull.position) for world in worlds]
    assert places[0] == places[1]


@pytest.mark.parametrize("side", [LEFT, RIGHT])
def test_a_hit_is_a_touch(side):
    env = Undrawn()
    env.reset(seed=10_000)
    for gap, hit in ((0.1, False), (-0.1, True)):
        put(env, 1, side * (HALF_BLOCK + HALF_CAR + gap))
        for _ in range(2):
            env.step(np.zeros(3))
        assert env.hits == ({1} if hit else set())
        assert env.passed[1] == pytest.approx(side * (HALF_BLOCK + HALF_CAR + gap), abs=0.05)
    bodies = len(env.world.bodies)
    env.reset(seed=10_000)
    assert not env.hits and not env.passed
    assert len(env.world.bodies) == bodies  # of the lap before, nothing is left


def test_the_driver_passes_on_the_side_that_it_was_told():
    env = gym.wrappers.TimeLimit(Undrawn(), 2_000)
    rng, taken = np.random.default_rng(0), []
    choices = {
        "right": lambda: RIGHT,
        "left": lambda: LEFT,
        "either": lambda: taken.append(int(rng.choice([LEFT, RIGHT]))) or taken[-1],
    }
    for name, choose in choices.items():
        driver = SwervingDriver(env, choose)
        for seed in VALIDATION[: 1 + (name == "either")]:
            taken.clear()
            rollout(env, driver, seed)
            sides = np.sign(list(env.unwrapped.passed.values()))
            assert len(sides) == len(env.unwrapped.blocks) and not env.unwrapped.hits
            wanted = taken if name == "either" else [choose()] * len(sides)
            assert list(sides) == wanted == list(driver.sides.values())


@pytest.mark.parametrize("side", [LEFT, RIGHT])
def test_near_a_block_the_driver_goes_where_the_car_points(side):
    """Whatever it was told; and from further off where nobody tells it."""
    env = Undrawn()
    for choose, along in ((lambda: -side, -5), (None, -16)):
        env.reset(seed=10_000)
        put(env, 0, side, along, speed=25)
        driver = SwervingDriver(env, choose)
        assert driver()[0] * side > 0 and driver.sides == {0: side}


def test_the_driver_needs_blocks_and_can_be_sent_to_workers():
    with pytest.raises(TypeError, match="no blocks"):
        SwervingDriver(FastCarRacing())
    env = Undrawn()
    env.reset(seed=0)
    driver = SwervingDriver(env)
    driver()
    copy = pickle.loads(pickle.dumps(driver))
    copy.env = env
    np.testing.assert_array_equal(copy(), driver())


def test_near_a_block_is_from_45_units_before_it_to_3_behind_it():
    env = Undrawn()
    env.reset(seed=10_000)
    for along, to_go in (
        (-FROM - 1, None),
        (-FROM + 1, FROM - 1),
        (TO - 1, 1 - TO),
        (TO + 1, None),
    ):
        put(env, 1, 2, along)
        near = env.near()
        assert (near and near.to_go) == (None if to_go is None else pytest.approx(to_go, abs=0.01))
        assert near is None or (near.place == 1 and near.right == pytest.approx(2, abs=0.01))


def test_alone_blocks_are_seen_as_in_the_whole_world_and_nothing_else_is():
    seen = []
    for env in (BlocksAlone(), BlocksOnTheRoad()):
        env.reset(seed=10_000)
        env.t = 1.0
        put(env, 0, 0, along=-20)
        near = env.step(np.zeros(3))[0]
        put(env, 0, 0, along=10)
        seen.append((near, env.step(np.zeros(3))[0]))
    (near, between), (near_too, drawn) = seen
    assert (near == near_too).all() and drawn.any() and not between.any()


def test_the_learner_drives_near_blocks_alone():
    env = gym.wrappers.TimeLimit(Undrawn(), 700)
    driver, places, seen = SwervingDriver(env), [], []

    class Learner:
        begin = places.append

        def __call__(self, observation):
            seen.append(env.unwrapped.near() is not None)
            return driver(observation)

    policy = AtBlocks(env, Learner())
    learned = rollout(env, policy, 10_000)
    assert len(policy.ways) == len(seen) and {near.place for near in policy.ways} == {*places}
    assert places == [0, 1, 2][: len(places)] and places and all(seen)
    assert learned.actions.tolist() == rollout(env, SwervingDriver(env), 10_000).actions.tolist()
    assert set(outcomes(env)[: len(places) - 1]) <= {"L", "R"} and outcomes(env)[-1] == "-"


def test_outcomes():
    env = Undrawn()
    env.reset(seed=10_000)
    put(env, 0, -4), env.step(np.zeros(3))
    put(env, 1, 4), env.step(np.zeros(3))
    put(env, 2, 1), env.step(np.zeros(3)), env.step(np.zeros(3))
    assert outcomes(env) == "LRH" + "-" * (len(env.blocks) - 3)
