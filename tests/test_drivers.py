"""The teachers, on the physics alone: no picture is drawn."""

import math
import pickle

import gymnasium as gym
import numpy as np
import pytest

from helpers.rollouts import evaluate, rollout
from helpers.training import Disturbed, drive_and_ask
from helpers.worlds.car_racing import HALF_ROAD, PhysicsOnly, off_centre
from helpers.worlds.drivers import (
    AHEAD,
    BEHIND,
    BRAKE_KEY,
    DEFAULT_PACE,
    GAS_KEY,
    RACER_PACE,
    STEER_KEY,
    TILE,
    KeyboardDriver,
    RacingDriver,
)
from helpers.worlds.mountain_car import mountain_car_expert

VALIDATION = range(10_000, 10_006)
COAST = np.zeros(3, dtype=np.float32)
MAX_STEPS = 1000  # CarRacing-v3's time limit


@pytest.fixture(scope="module")
def env() -> PhysicsOnly:
    return PhysicsOnly()


def put(env, tile, side=0.0, turn=0.0, speed=0.0, slide=0.0, spin=0.0, past=0.0):
    """Set the car down: `side` units right of the middle, heading `turn` rad left of the road,
    `past` units beyond the tile's end."""
    car = env.car
    _, road, x, y = env.track[tile % len(env.track)]
    angle, (x0, y0) = road + turn, car.hull.position
    cos, sin = math.cos(angle - car.hull.angle), math.sin(angle - car.hull.angle)
    x += side * math.cos(road) - past * math.sin(road)
    y += side * math.sin(road) + past * math.cos(road)
    before = car.hull.angle
    for body in [car.hull, *car.wheels]:
        dx, dy = body.position[0] - x0, body.position[1] - y0
        body.position = (x + cos * dx - sin * dy, y + sin * dx + cos * dy)
        body.angle += angle - before
        way = angle + slide
        body.linearVelocity = (-math.sin(way) * speed, math.cos(way) * speed)
        body.angularVelocity = spin
    for wheel in car.wheels:
        wheel.omega = speed / wheel.wheel_rad


def heading_error(env):
    """Angle between the car and the nearest piece of road, in rad."""
    road = np.array(env.track)
    x, y = env.car.hull.position
    nearest = np.hypot(road[:, 2] - x, road[:, 3] - y).argmin()
    return abs(math.remainder(env.car.hull.angle - road[nearest, 1], 2 * math.pi))


def test_mountain_car_expert_pushes_the_way_the_car_rolls():
    for velocity, action in ((-0.01, 0), (0.0, 1), (-0.0, 1), (1e-9, 2)):
        pushed = mountain_car_expert(np.array([-0.5, velocity], dtype=np.float32))
        assert (pushed, type(pushed)) == (action, int)


def test_mountain_car_expert_reaches_the_flag():
    env = gym.make("MountainCar-v0")
    for seed in range(5):
        observation, _ = env.reset(seed=seed)
        terminated = truncated = False
        while not (terminated or truncated):
            observation, _, terminated, truncated, _ = env.step(mountain_car_expert(observation))
        assert terminated


@pytest.mark.parametrize(
    ("pace", "mean", "least"), [(DEFAULT_PACE, 920, 905), (RACER_PACE, 925, 910)]
)
def test_racing_driver_finishes_fast(env, pace, mean, least):
    driver = RacingDriver(env, pace)
    runs = [rollout(env, driver, seed, max_steps=MAX_STEPS) for seed in VALIDATION]
    returns = [run.total for run in runs]
    assert all(run.finished for run in runs)
    assert np.mean(returns) > mean and min(returns) > least
    for run in runs:
        assert np.abs(np.diff(run.actions[:, 0])).mean() < 0.02  # smooth, nothing is bang-bang


def test_more_pace_is_more_speed(env):
    slow, middling, fast = (
        len(rollout(env, RacingDriver(env, pace), 10_003, max_steps=MAX_STEPS).actions)
        for pace in (0.5, 0.6, 0.7)
    )
    assert slow > middling > fast


def test_physics_only_gives_the_rewards_of_car_racing(env):
    stock = gym.make("CarRacing-v3")
    driver = RacingDriver(stock)
    stock.reset(seed=10_001)
    env.reset(seed=10_001)
    for _ in range(60):
        action = driver()
        assert stock.step(action)[1:] == env.step(action)[1:]
    stock.close()


def test_keyboard_driver_presses_keys_and_finishes_most_laps(env):
    driver = KeyboardDriver(env)
    runs = [rollout(env, driver, seed, max_steps=MAX_STEPS) for seed in VALIDATION]
    seen = np.concatenate([run.actions for run in runs])
    assert seen.dtype == np.float32 and seen.shape[1:] == (3,)
    keys = [np.float32([0, key]).tolist() for key in (STEER_KEY, GAS_KEY, BRAKE_KEY)]
    keys[0].append(-STEER_KEY)
    for column, values in zip(seen.T, keys, strict=True):
        assert set(column.tolist()) == set(values)  # all of them, and no others
    returns = [run.total for run in runs]
    assert np.mean(returns) > 880
    assert np.mean(np.array(returns) > 900) > 0.6  # above 900: finished in time


def test_same_lap_again(env):
    def actions(driver, seed):
        return rollout(env, driver, seed, max_steps=MAX_STEPS).actions.tobytes()

    first = actions(RacingDriver(env), 10_002)
    assert actions(RacingDriver(env), 10_002) == first
    other = RacingDriver(env)  # one that has seen other tracks, and was asked more often
    actions(other, 10_004)
    env.reset(seed=10_002)
    for _ in range(5):
        other()
    assert actions(other, 10_002) == first


@pytest.mark.parametrize("kind", [RacingDriver, KeyboardDriver])
def test_action_depends_on_the_state_alone(env, kind):
    """In DAgger the driver is asked on laps that another one drives."""
    rng = np.random.default_rng(0)
    env.reset(seed=10_005)
    watching = kind(env)
    for _ in range(200):
        env.state[:] = rng.integers(0, 256, (96, 96, 3))  # garbage, in the picture that it is given
        action = watching(env.state)
        assert np.array_equal(action, watching(None))
        assert np.array_equal(action, kind(env)())
        env.step(np.array([rng.uniform(-1, 1), 0.3, 0], dtype=np.float32))


def test_asking_changes_nothing(env):
    driver = RacingDriver(env)
    states = []
    for asks in (0, 3):
        env.reset(seed=10_000)
        for _ in range(40):
            for _ in range(asks):
                driver()
            env.step(np.array([0.1, 0.5, 0], dtype=np.float32))
        hull = env.car.hull
        states.append((*hull.position, hull.angle, *hull.linearVelocity, env.reward))
    assert states[0] == states[1]


def test_actions_are_valid_and_smooth_in_the_state(env):
    driver = RacingDriver(env)
    env.reset(seed=10_001)
    space = gym.spaces.Box(np.float32([-0.4, 0, 0]), np.float32([0.4, 1, 1]))
    for tile in range(0, 120, 7):
        put(env, tile, side=1.0, speed=55)
        here = driver()
        assert space.contains(here)
        put(env, tile, side=1.01, turn=0.002, speed=55.05)
        assert np.abs(driver() - here).max() < 0.05


def test_actions_do_not_jump_from_tile_to_tile(env):
    driver, jumps = RacingDriver(env), []
    env.reset(seed=10_005)
    for tile in range(20, 180):
        actions = []
        for past in (-0.001, 0.001):
            put(env, tile, side=1.0, speed=55, past=past)
            actions.append(driver())
        jumps.append(np.abs(actions[1] - actions[0]))
    assert (np.max(jumps, axis=0) < (0.05, 0.4, 0.1)).all()  # steer, gas, brake


@pytest.mark.parametrize(
    "state",
    [
        {"side": 11, "turn": 0.6, "speed": 40},
        {"side": -16, "turn": 0.5, "speed": 60},
        {"side": 25, "turn": 1.0, "speed": 30},
        {"turn": 1.6, "speed": 5},
        {"turn": 3.0},
        {"turn": math.pi},
        {"side": 3, "turn": 3.1, "speed": 40},
        {"side": -12, "turn": -2.8, "speed": 20},
        {"turn": 0.6, "speed": 60, "slide": -0.8, "spin": 2.0},
        {"side": 3, "turn": 0.5, "speed": 50, "slide": -0.5, "spin": 6.0},
        {"speed": 100},
    ],
    ids=str,
)
def test_recovers(env, state):
    """Within 4 s it drives along the road again, for a quarter of a second at least."""
    driver = RacingDriver(env)
    for tile in (40, 100, 160, 200):
        env.reset(seed=10_004)
        for _ in range(50):  # the car's wheels settle, well away from `tile`
            env.step(COAST)
        put(env, tile, **state)
        good = 0
        for _ in range(200):
            env.step(driver())
            fine = off_centre(env) < 1 and heading_error(env) < 0.8
            good = good + 1 if fine and env.car.hull.linearVelocity.length > 15 else 0
            if good == 13:
                break
        assert good == 13, f"tile {tile}"


def test_goes_on_after_missing_tiles(env):
    """A lap with tiles left out goes round again, and ends when they are visited."""
    env.reset(seed=10_003)
    for _ in range(50):
        env.step(COAST)
    put(env, 30, speed=30)  # tiles 2 … 29 are left out
    driver = RacingDriver(env)
    for _ in range(1500):
        terminated, info = env.step(driver())[2::2]
        if terminated:
            break
    assert terminated and info["lap_finished"]


def test_knows_only_the_road_in_view(env):
    """Move the road beyond the view: same action. Move it within: another one."""
    env.reset(seed=10_005)
    track, tile = list(env.track), 80
    put(env, tile, side=1, speed=60)
    driver = RacingDriver(env)
    here = driver()

    def with_road_moved(first, last):
        env.track = [
            (a, b, x + 0.3 * (first <= i <= last), y + 0.2 * (first <= i <= last))
            for i, (a, b, x, y) in enumerate(track)
        ]
        action = driver()
        env.track = track
        return action

    picture = 600 / 16.2  # the picture ends 600 pixels of a 1000 by 800 window ahead, units
    assert picture > (AHEAD + 1) * TILE
    assert np.allclose(with_road_moved(tile + AHEAD + 2, len(track)), here, atol=1e-5)
    assert np.allclose(with_road_moved(0, tile - BEHIND - 2), here, atol=1e-5)
    assert not np.allclose(with_road_moved(tile + AHEAD - 2, len(track)), here, atol=1e-5)


def test_off_centre(env):
    env.reset(seed=10_000)
    assert off_centre(env) < 0.05
    for side in (-9.0, -3.0, 3.0, 9.0):
        put(env, 1, side=side)  # on the first straight
        assert off_centre(env) == pytest.approx(abs(side) / HALF_ROAD, abs=0.02)


def test_prefers_the_stretch_that_runs_its_way(env):
    """Two stretches side by side: the heading decides between them."""
    env.reset(seed=10_000)
    n, away = 40, 14.0  # up one way, down the other, 14 units beside it
    up = [(0.0, 0.0, 0.0, 3.5 * i) for i in range(n)]
    down = [(0.0, math.pi, away, 3.5 * (n - i)) for i in range(n)]
    env.track = up + down
    driver = RacingDriver(env)
    for tile in (20, 60):  # right of its own stretch, past the halfway line: back to the left
        put(env, tile, side=8.0, speed=20)
        assert driver()[0] < 0


def test_what_cannot_be():
    for pace in (0, -1, 1.5, math.nan):
        with pytest.raises(ValueError, match="pace"):
            RacingDriver(PhysicsOnly(), pace)
    with pytest.raises(gym.error.ResetNeeded):
        RacingDriver(PhysicsOnly())()
    for given in (gym.make("MountainCar-v0"), "FastCarRacing-v3", PhysicsOnly, None):
        with pytest.raises(TypeError, match=r"KeyboardDriver drives one CarRacing .* FastCar"):
            KeyboardDriver(given)
    cars = gym.make_vec("PhysicsOnly-v3", num_envs=2, vectorization_mode="sync")
    with pytest.raises(TypeError, match="RacingDriver drives one CarRacing and was given SyncVec"):
        RacingDriver(cars)


def test_a_driver_hidden_in_a_policy_knows_a_foreign_picture():
    """`rollout` refuses a driver of another environment; here it can't see the driver."""
    driven, other = (gym.make("FastCarRacing-v3", max_episode_steps=20) for _ in range(2))
    other.reset(seed=1)
    ours, foreign = RacingDriver(driven), RacingDriver(other)
    rng = np.random.default_rng(0)
    for drive in (
        lambda: rollout(driven, lambda frame: foreign(frame), 2),
        lambda: rollout(driven, Disturbed(foreign, rng), 2),
        lambda: drive_and_ask(driven, ours, foreign, 2),
        lambda: drive_and_ask(driven, ours, KeyboardDriver(other), 2),
    ):
        with pytest.raises(ValueError, match=r"Driver is bound to another environment"):
            drive()
    assert foreign().shape == foreign(None).shape == (3,)  # without a picture nothing is said


def test_no_false_alarm():
    """A painted, a copied and a wrapped picture are still those of the driver's environment."""
    env = gym.make("FastCarRacing-v3", max_episode_steps=20)
    driver = RacingDriver(env)
    plain = rollout(env, driver, 3)

    def paints(frame):
        frame[:20] = 255
        return driver(frame)

    assert rollout(env, paints, 3).total == plain.total
    assert rollout(env, lambda frame: driver(frame.copy()), 3).total == plain.total
    dark = gym.wrappers.TransformObservation(env, lambda frame: frame // 2, env.observation_space)
    assert rollout(dark, RacingDriver(dark), 3).total == plain.total


def test_a_driver_goes_to_workers_and_is_bound_there():
    env = gym.make("PhysicsOnly-v3", max_episode_steps=150)
    driver = KeyboardDriver(env, 0.4)
    rollout(env, driver, 5)
    one, two = (
        evaluate(env, driver, [7, 3, 5], workers=workers, progress=False) for workers in (1, 2)
    )
    for name in ("seeds", "returns", "lengths", "finished"):
        assert (getattr(one, name) == getattr(two, name)).all()
    copy = pickle.loads(pickle.dumps(driver))
    assert copy.env is None
    with pytest.raises(gym.error.ResetNeeded, match="needs an environment"):
        copy()
    copy.env = env
    assert (copy() == driver()).all()
