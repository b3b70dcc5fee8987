"""FastCarRacing against Gymnasium's CarRacing, byte for byte.

``make test-full`` (``IL_SIZE=full``) adds ten whole episodes, expert and random.
"""

import gc
import hashlib
import inspect
import os
import pickle
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pygame
import pytest
from gymnasium.envs.box2d.car_dynamics import Car
from gymnasium.envs.box2d.car_racing import PLAYFIELD, CarRacing
from gymnasium.utils.env_checker import check_env

from helpers.worlds.car_racing import FastCarRacing, PhysicsOnly
from helpers.worlds.drivers import RacingDriver

Act = Callable[[int], Any]  # step -> action


def assert_same(stock: Any, fast: Any, where: str) -> None:
    """Equal values, types and memory layout, of arrays and of everything else."""
    assert type(stock) is type(fast), where
    if isinstance(stock, np.ndarray):
        assert (stock.dtype, stock.shape, stock.strides) == (fast.dtype, fast.shape, fast.strides)
        different = np.argwhere((stock != fast).any(axis=-1))
        assert not len(different), f"{where}: {len(different)} pixels, first at {different[0]}"
    else:
        assert stock == fast, f"{where}: {stock} and {fast}"


def drive_both(stock: gym.Env, fast: gym.Env, act: Act, steps: int, render_every: int = 0) -> int:
    """Drives both through the same actions, compares all they return; the number of steps."""
    for step in range(steps):
        action = act(step)
        parts = zip(stock.step(action), fast.step(action), strict=True)
        names = ("observation", "reward", "terminated", "truncated", "info")
        results = dict(zip(names, parts, strict=True))
        for name, (one, other) in results.items():
            assert_same(one, other, f"{name} of step {step}")
        if render_every and step % render_every == 0:
            assert_same(stock.render(), fast.render(), f"render after step {step}")
        if results["terminated"][0] or results["truncated"][0]:
            return step + 1
    return steps


def reset_both(stock: gym.Env, fast: gym.Env, seed: int | None, options: Any = None) -> None:
    one, other = (env.reset(seed=seed, options=options) for env in (stock, fast))
    assert_same(one[0], other[0], "observation of reset")
    assert one[1] == other[1]


def pair(**options: Any) -> tuple[CarRacing, FastCarRacing]:
    return CarRacing(**options), FastCarRacing(**options)


def wander(seed: int) -> Act:
    """Random actions that go somewhere: the steering drifts, the gas beats the brake."""
    rng = np.random.default_rng(seed)
    steer = np.clip(np.cumsum(rng.normal(0, 0.2, 1000)), -1, 1)
    actions = np.column_stack([steer, rng.uniform(0, 1, 1000), rng.uniform(0, 0.2, 1000)])
    return lambda step: actions[step].astype(np.float32)


@pytest.mark.parametrize("seed", range(4))
def test_random_actions(seed: int) -> None:
    stock, fast = pair()
    for episode in range(2):  # the second without a seed: the generators agree as well
        reset_both(stock, fast, None if episode else seed)
        drive_both(stock, fast, wander(seed), 30 if episode else 80)


def full(*values: Any) -> Any:
    """A case for ``IL_SIZE=full``: some 10 s each."""
    skip = pytest.mark.skipif(os.environ.get("IL_SIZE") != "full", reason="needs IL_SIZE=full")
    return pytest.param(*values, marks=skip)


EPISODES = [("expert", 3), ("random", 4)] + [
    full(who, seed) for seed in range(100, 105) for who in ("expert", "random")
]


@pytest.mark.parametrize(("who", "seed"), EPISODES)
def test_whole_episode(who: str, seed: int) -> None:
    """Made by gym.make with all its wrappers, to the end of the lap or of the time."""
    stock, fast = gym.make("CarRacing-v3"), gym.make("FastCarRacing-v3")
    reset_both(stock, fast, seed)
    driver = RacingDriver(stock)
    act: Act = wander(seed) if who == "random" else lambda step: driver()
    steps = drive_both(stock, fast, act, 1001)
    assert steps <= 1000, "an episode ends after 1000 steps"


@pytest.mark.parametrize(
    "options",
    [
        {"render_mode": "rgb_array"},
        {"render_mode": "state_pixels"},
        {"render_mode": "rgb_array", "domain_randomize": True},
        {"render_mode": "rgb_array", "continuous": False},
        {"lap_complete_percent": 0.02, "verbose": True},
    ],
    ids=str,
)
def test_options_and_renders(options: dict[str, Any]) -> None:
    stock, fast = pair(**options)
    rng = np.random.default_rng(0)
    act: Act = wander(0) if stock.continuous else lambda step: int(rng.integers(5))
    every = 5 if stock.render_mode else 0
    reset_both(stock, fast, 20)
    drive_both(stock, fast, act, 50, every)
    for randomize in (False, True):
        reset_both(stock, fast, None, {"randomize": randomize})
        drive_both(stock, fast, act, 8, every)


def test_skid_marks_are_in_the_render() -> None:
    """Marks show in rgb_array only, so full gas into a corner compares them."""
    stock, fast = pair(render_mode="rgb_array")
    reset_both(stock, fast, 5)
    act = [np.array(a, dtype=np.float32) for a in ([0, 1, 0], [-1, 0.3, 0.8])]
    drive_both(stock, fast, lambda step: act[step > 60], 100, 10)
    assert len(fast.car.particles) > 0


def test_edge_of_the_field() -> None:
    """Beyond the field the picture is black, and a reused surface isn't."""
    stock, fast = pair(render_mode="rgb_array")
    reset_both(stock, fast, 6)
    for env in (stock, fast):
        env.t = 1.0  # past the opening zoom
        move = np.array([PLAYFIELD - 20, 20 - PLAYFIELD]) - env.car.hull.position
        for body in (env.car.hull, *env.car.wheels):
            body.position = tuple(np.array(body.position) + move)
            body.linearVelocity = (15.0, -10.0)
    steps = drive_both(stock, fast, wander(6), 200, 10)
    assert steps < 200, "the car never left the field"
    assert (fast.render() == 0).all(axis=2).mean() > 0.2, "little black in the picture"


@pytest.mark.parametrize("omega", [385.0, 395.0, 600.0, -600.0])
@pytest.mark.parametrize("part", ["wheel", "hull"])
def test_indicators_that_leave_the_bar(part: str, omega: float) -> None:
    stock, fast = pair(render_mode="rgb_array")
    reset_both(stock, fast, 7)
    drive_both(stock, fast, wander(7), 3)
    for env in (stock, fast):
        if part == "wheel":
            env.car.wheels[0].omega = omega
        else:
            env.car.hull.linearVelocity = (0, omega / 2)
    for _ in range(2):  # the frame after must not show what the one before left behind
        assert_same(stock.render(), fast.render(), "render")
        assert_same(stock._render("state_pixels"), fast._render("state_pixels"), "state")
        for env in (stock, fast):
            env.car.wheels[0].omega = 1.0
            env.car.hull.linearVelocity = (0, 1)


@pytest.fixture
def no_window(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    pygame.display.quit()
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    yield
    pygame.display.quit()


def test_human_window(no_window: None) -> None:
    """The window's pixels; and the other environments outlive its close()."""
    stock, fast = pair(render_mode="human")
    quiet_stock, quiet_fast = pair()
    reset_both(quiet_stock, quiet_fast, 9)
    shown = []
    for env in (stock, fast):
        env.reset(seed=8)
        assert env.screen is not None
        for step in range(30):
            observation = env.step(wander(8)(step))[0]
            shown.append((observation, pygame.surfarray.array3d(env.screen)))
    for step, (one, other) in enumerate(zip(shown[:30], shown[30:], strict=True)):
        assert_same(one[0], other[0], f"observation of step {step}")
        assert_same(one[1], other[1], f"window after step {step}")
    stock.close()  # quits pygame, fonts included
    drive_both(quiet_stock, quiet_fast, wander(9), 10)


def test_before_reset_and_without_a_mode() -> None:
    assert FastCarRacing(render_mode="rgb_array").render() is None
    env = gym.make("FastCarRacing-v3")
    env.reset(seed=0)
    with pytest.warns(UserWarning, match="without specifying any render mode"):
        assert env.unwrapped.render() is None
    with pytest.raises(AssertionError):
        env.unwrapped._render("no such mode")


def test_frames_are_the_callers_own() -> None:
    """Surfaces are reused, frames must not be; nor do two environments share surfaces."""
    one, other = FastCarRacing(render_mode="rgb_array"), FastCarRacing(render_mode="rgb_array")
    kept = [one.reset(seed=0)[0], one.render(), other.reset(seed=1)[0], other.render()]
    copies = [frame.copy() for frame in kept]
    for step in range(5):
        one.step(wander(0)(step))
        other.step(wander(1)(step))
        one.render()
    for frame, copy in zip(kept, copies, strict=True):
        np.testing.assert_array_equal(frame, copy)
    again = FastCarRacing()
    again.reset(seed=1)
    for step in range(5):
        last = again.step(wander(1)(step))[0]
    np.testing.assert_array_equal(last, other.state)
    black = PhysicsOnly()
    black.reset(seed=0)[0][:] = 255  # a policy may paint into its picture
    assert not black.step(wander(0)(0))[0].any()


def test_registered_like_stock() -> None:
    stock, fast = gym.spec("CarRacing-v3"), gym.spec("FastCarRacing-v3")
    different = {
        key for key, value in vars(stock).items() if value != getattr(fast, key) and key != "vector"
    }
    assert different == {"id", "name", "entry_point"}
    env = gym.make("FastCarRacing-v3", render_mode="rgb_array", domain_randomize=True)
    assert type(env.unwrapped) is FastCarRacing
    copy = pickle.loads(pickle.dumps(env.unwrapped))
    assert type(copy) is FastCarRacing and copy.domain_randomize
    with pytest.warns(UserWarning):  # stock's: the action space isn't symmetric
        check_env(copy, skip_render_check=False)


def resident() -> float:
    """MiB of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc/self/statm")
def test_memory_stays_flat() -> None:
    """100 short episodes; one lost narrow picture (300 kB) in each would fail."""
    env = FastCarRacing(render_mode="rgb_array")
    sizes = []
    for episode in range(110):
        env.reset(seed=episode)
        for step in range(2):
            env.step(wander(0)(step))
        env.render()
        if episode % 20 == 9:
            gc.collect()
            sizes.append(resident())
    assert sizes[-1] - sizes[0] < 8, f"MiB, first after 10 episodes, then every 20: {sizes}"


def test_it_is_faster() -> None:
    """A loose bound for any machine on any day; tools/bench.py has the figure."""
    times: dict[CarRacing, list[float]] = {env: [] for env in pair()}
    for env in times:
        env.reset(seed=4)
        env.t = 1.0  # past the opening zoom
    for _ in range(5):
        for env, spent in times.items():
            start = time.process_time()
            for _ in range(8):
                env.step(np.zeros(3, dtype=np.float32))
            spent.append(time.process_time() - start)
    stock, fast = (min(spent) for spent in times.values())
    assert stock / fast > 2, f"{stock / fast:.2f} times stock's steps per second"


# What FastCarRacing copies from Gymnasium 1.4.0, or counts on.
DIGESTS = {
    "CarRacing.__init__": "d4d584c374d7",
    "CarRacing._create_track": "e037248b399d",
    "CarRacing.reset": "8fd42fd91552",
    "CarRacing.step": "227818b40a04",
    "CarRacing.render": "377be57299aa",
    "CarRacing._render": "116f7f294e07",
    "CarRacing._render_road": "81eeaa6e8fde",
    "CarRacing._draw_colored_polygon": "0faaf99684cb",
    "CarRacing._render_indicators": "fbe662a75e3a",
    "CarRacing._create_image_array": "ad9db49c1808",
    "CarRacing.close": "d1599e31a761",
    "Car.draw": "97b1345f002e",
}


def digest(function: Any) -> str:
    """Of a function's source, comments and white space left out."""
    source = re.sub(r"#.*", "", inspect.getsource(function))
    return hashlib.sha256("".join(source.split()).encode()).hexdigest()[:12]


def test_gymnasium_is_the_one_we_know() -> None:
    known = {f.__qualname__: f for f in vars(CarRacing).values() if inspect.isfunction(f)}
    known["Car.draw"] = Car.draw
    found = {name: digest(known[name]) if name in known else "gone" for name in DIGESTS}
    changed = [name for name in DIGESTS if found[name] != DIGESTS[name]]
    assert not changed, (
        f"Gymnasium {gym.__version__} has changed {', '.join(changed)}, and "
        "helpers/worlds/car_racing.py is written against 1.4.0's. Read what changed, bring "
        "FastCarRacing in line, run `IL_SIZE=full pytest tests/test_car_racing.py`, and when "
        "only this test fails, set "
        f"DIGESTS = {found}"
    )
