"""Lines across the road: where they are, that they show, and a driver who remembers its stop."""

import gymnasium as gym
import numpy as np
import pytest
import torch
import waiting
from cells import read

from helpers.networks import view
from helpers.rollouts import rollout
from helpers.worlds.stops import EVERY, SEARCH, STAND, StopLines, StoppingDriver


@pytest.fixture(scope="module")
def lap() -> tuple[StopLines, np.ndarray, np.ndarray]:
    """A lap on track 3: its world, pictures and actions."""
    env = gym.make("StopLines-v3")
    run = rollout(env, StoppingDriver(env), 3, keep_observations=True)
    return env.unwrapped, run.observations, run.actions  # type: ignore[return-value]


def test_the_driver_stands_a_second_at_each_line_and_goes_on(lap) -> None:
    world, _, actions = lap
    assert len(world.lines) >= 3 and (np.diff(world.lines) >= EVERY - 2 * SEARCH).all()
    assert all(abs(steps - STAND) <= 3 for steps in world.stood.values())
    assert (actions[:, 2] > 0.4).sum() >= STAND * len(world.lines)


def test_a_line_shows(lap) -> None:
    """While the car stands the picture stays; ahead there is a bright bar on the dark road."""
    _, pictures, actions = lap
    standing = np.flatnonzero(actions[:, 2] > 0.4)[-5]  # near the end of the last stop
    seen = view(pictures[standing])
    assert np.array_equal(seen[:42], view(pictures[standing - 10])[:42])
    ahead = seen[15:33, 20]  # a column of road beside the car, and ahead of it
    assert ahead.max() > 200 > 115 > np.median(ahead)


def test_what_it_does_depends_on_how_long_it_has_stood() -> None:
    """The same state, asked again and again: hold, and after a second go."""
    env = gym.make("StopLines-v3")
    driver = StoppingDriver(env)
    env.reset(seed=3)
    while env.unwrapped.stood[0] < 5:
        env.step(driver(None))
    asked = np.array([driver(None) for _ in range(STAND)])
    assert (asked[:40, 1] == 0).all() and asked[-1, 1] > 0.1
    assert asked[-1, 2] == 0 < asked[0, 2]
    assert driver.__getstate__()["_waited"] == {}


def test_a_new_lap_is_stopped_at_again() -> None:
    env = gym.make("StopLines-v3", max_episode_steps=260)
    driver = StoppingDriver(env)
    for _ in range(2):
        rollout(env, driver, 3)
        assert env.unwrapped.stood[0] >= STAND - 1


def test_another_world_is_refused() -> None:
    with pytest.raises(TypeError, match="StopLines-v3"):
        StoppingDriver(gym.make("PhysicsOnly-v3"))


@pytest.mark.parametrize("name", waiting.POLICIES)
def test_each_learner_drives_on_what_it_was_taught_on(name: str) -> None:
    head, seen, _ = waiting.POLICIES[name]
    torch.manual_seed(0)
    network = waiting.Usual("speed", head.size) if seen is waiting.NOW else waiting.Past(head.size)
    frames = np.random.default_rng(0).integers(0, 256, (70, 96, 96, 3), np.uint8)
    student = waiting.Student(waiting.First(network, head), waiting.Learner(head), seen)
    with torch.no_grad():
        taught = [network(torch.from_numpy(seen.inputs(frames)[[t]])) for t in (0, 40, 69)]
        for _ in range(2):
            student.reset()
            driven = [network(student.look(frame)) for frame in frames]
            for at, out in zip((0, 40, 69), taught, strict=True):
                assert torch.allclose(driven[at], out, atol=1e-5)


def test_drawn_classes_are_as_likely_as_the_network_says() -> None:
    head = waiting.Drawn()
    out = torch.full((4_000, head.size), -20.0)
    out[:, 40], out[:, 0] = np.log(3), 0  # steering: three to one, right to left
    out[:, 41], out[:, -1] = 0, 0
    torch.manual_seed(0)
    assert float((head.actions(out)[:, 0, 0] > 0).float().mean()) == pytest.approx(0.75, abs=0.03)


def test_the_committed_results_belong_to_the_committed_code() -> None:
    rows = read(waiting.FILE, waiting.Cell).items()
    stale = [cell for cell, row in rows if row["digest"] != waiting.digest(cell)]
    assert not stale, "the code has changed since: make experiments"
