"""MountainCarVector gives MountainCar-v0's numbers, to the bit; the planner's values are its."""

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.rollouts import evaluate
from helpers.worlds.mountain_car import (
    MountainCarPlanner,
    MountainCarVector,
    mountain_car_expert,
)


def stock_episode(env, seed, choose):
    """Observations, actions and ends of one stock episode."""
    observation, _ = env.reset(seed=seed)
    steps, ended = [observation], False
    ends = []
    while not ended:
        observation, reward, terminated, truncated, _ = env.step(choose(observation))
        steps.append(observation)
        ends.append((reward, terminated, truncated))
        ended = terminated or truncated
    return np.array(steps), ends


def test_whole_episodes_equal_stock_on_1000_seeds():
    seeds = list(range(1000))
    cars = MountainCarVector(len(seeds))
    observations, _ = cars.reset(seed=seeds)
    history, ends = [observations], []
    for _ in range(200):
        observations, rewards, terminated, truncated, _ = cars.step(
            mountain_car_expert(observations)
        )
        history.append(observations)
        ends.append((rewards, terminated, truncated))
    stock = gym.make("MountainCar-v0")
    for i, seed in enumerate(seeds):
        expected, expected_ends = stock_episode(stock, seed, mountain_car_expert)
        ours = np.array([step[i] for step in history[: len(expected)]])
        assert ours.dtype == expected.dtype
        assert ours.tobytes() == expected.tobytes(), f"seed {seed} differs"
        assert [tuple(column[i] for column in end) for end in ends[: len(expected_ends)]] == (
            expected_ends
        ), f"seed {seed} ends differently"


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), actions_seed=st.integers(0, 2**31))
def test_random_actions_and_autoreset_equal_stock_vector(seed, actions_seed):
    stock = gym.make_vec("MountainCar-v0", num_envs=3, vectorization_mode="sync")
    ours = MountainCarVector(3)
    rng = np.random.default_rng(actions_seed)
    pairs = [env.reset(seed=seed)[0] for env in (stock, ours)]
    assert pairs[0].tobytes() == pairs[1].tobytes()
    pushes = rng.integers(0, 3, size=3)
    for _ in range(420):  # two time limits: the autoreset is compared too
        if rng.random() < 0.1:  # long pushes, to reach the wall and the flag now and then
            pushes = rng.integers(0, 3, size=3)
        (a, b) = stock.step(pushes), ours.step(pushes)
        for expected, got in zip(a[:4], b[:4], strict=True):
            assert expected.tobytes() == got.tobytes()


def test_observations_given_out_are_not_changed_later():
    cars = MountainCarVector(2)
    first, _ = cars.reset(seed=[0, 1])
    kept = first.copy()
    cars.step(np.array([0, 2]))
    assert (first == kept).all()


@pytest.mark.parametrize("kind", [np.uint8, np.uint64, np.int8])
def test_the_integers_kind_changes_nothing(kind):
    """Unsigned actions wrapped round: 0 − 1 = 255, a push to the right."""
    score = {
        k: evaluate(
            MountainCarVector(50), lambda o, k=k: mountain_car_expert(o).astype(k), range(50)
        )
        for k in (np.int64, kind)
    }
    assert (score[kind].returns == score[np.int64].returns).all()
    assert -120 < score[kind].mean < -110


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (np.array([0, 1]), r"int64 of shape \(2,\); give \(3,\) integers"),
        (np.array([0.0, 1.0, 2.0]), "float64 of shape"),
        (np.array([True, False, True]), "bool of shape"),
        (None, "object of shape"),
        (np.array([0, 1, 3]), "an action is 3; 0 pushes left"),
        (np.array([0, -1, 1]), "an action is -1;"),
        (np.array([7, 1, 2], np.int8), "an action is 7;"),
        (np.array([0, 99, 2], np.uint8), "an action is 99;"),
        (np.array([0, 1, 2**63 + 1], np.uint64), "an action is 9223372036854775809;"),
    ],
)
def test_bad_actions_are_refused(actions, message):
    cars = MountainCarVector(3)
    with pytest.raises(gym.error.ResetNeeded, match="reset the cars"):
        cars.step(np.ones(3, int))
    cars.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        cars.step(actions)
    assert (cars.elapsed == 0).all()


def test_seeds_of_any_whole_kind():
    cars = MountainCarVector(3)
    expected = cars.reset(seed=[4, 5, 6])[0]
    for seed in (4, np.int64(4), np.uint8(4), range(4, 7), np.arange(4, 7), (4, np.int32(5), 6)):
        assert (cars.reset(seed=seed)[0] == expected).all()


@pytest.mark.parametrize(
    ("seed", "message"),
    [
        ([1, 2], "2 seeds for 3 cars"),
        (np.arange(4), "4 seeds for 3 cars"),
        ([], "no seeds"),
        (-1, "between 0 and"),
        (np.array([1, -2, 3]), "between 0 and"),
        (2.0, "whole number"),
        ("3", "whole number"),
        ([1.0, 2.0, 3.0], "whole number"),
    ],
)
def test_bad_seeds_are_refused(seed, message):
    cars = MountainCarVector(3)
    cars.reset(seed=7)
    kept = cars.generators
    with pytest.raises((TypeError, ValueError), match=message):
        cars.reset(seed=seed)
    assert cars.generators is kept


def test_no_cars_are_refused():
    with pytest.raises(ValueError, match="num_envs is 0; it must be 1 or more"):
        MountainCarVector(0)


@pytest.fixture(scope="module")
def planner():
    return MountainCarPlanner((151, 101))


def test_values_are_about_what_the_planner_gets(planner):
    """Interpolation smears the border between one swing and two: there, values are too low."""
    seeds = range(200)
    starts, _ = MountainCarVector(len(seeds)).reset(seed=seeds)
    got = evaluate(MountainCarVector(len(seeds)), planner, seeds)
    assert got.finished.all() and -101 < got.mean < -96
    short = got.returns - planner.value(starts)
    assert short.min() > -1.5 and short.max() < 12 and np.median(short) < 3


def test_values_are_those_of_their_best_action(planner):
    """0 at the flag, and elsewhere one step's cost more than what the stock physics leads to."""
    assert (planner.values[planner.positions >= 0.5] == 0).all() and (planner.values <= 0).all()
    stock = gym.make("MountainCar-v0").unwrapped
    stock.reset(seed=0)
    rng = np.random.default_rng(0)
    for i, j in rng.integers(0, [130, 101], (200, 2)):  # short of the flag
        after = []
        for action in range(3):
            stock.state = (planner.positions[i], planner.velocities[j])
            stock.step(action)
            after.append(float(planner.value(np.array(stock.state))))
        assert planner.values[i, j] == pytest.approx(max(after) - 1, abs=0.002)


def test_values_between_the_grids_points(planner):
    grid = np.stack(np.meshgrid(planner.positions, planner.velocities, indexing="ij"), axis=-1)
    assert planner.value(grid) == pytest.approx(planner.values)
    middle = (grid[40, 60] + grid[41, 61]) / 2
    assert planner.value(middle) == pytest.approx(planner.values[40:42, 60:62].mean())


def test_the_planner_answers_for_one_car_as_for_many(planner):
    states, _ = MountainCarVector(20).reset(seed=0)
    actions = planner(states)
    assert actions.dtype == np.int64 and [planner(state) for state in states] == actions.tolist()
    assert type(planner(states[0])) is int


def test_a_grid_of_one_point_is_refused():
    with pytest.raises(ValueError, match="two points or more"):
        MountainCarPlanner((1, 50))
