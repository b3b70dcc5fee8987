"""MountainCarVector gives MountainCar-v0's numbers, to the bit."""

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.experts import mountain_car_expert
from helpers.mountain_car import MountainCarVector


def expert_batch(observations: np.ndarray) -> np.ndarray:
    return np.sign(observations[:, 1]).astype(np.int64) + 1


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
        observations, rewards, terminated, truncated, _ = cars.step(expert_batch(observations))
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


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (np.array([0, 1]), "shape"),
        (np.array([0, 1, 3]), "actions are 0"),
        (np.array([0.0, 1.0, 2.0]), "actions are 0"),
    ],
)
def test_bad_actions_are_refused(actions, message):
    cars = MountainCarVector(3)
    cars.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        cars.step(actions)


def test_one_seed_for_each_car():
    with pytest.raises(ValueError, match="2 seeds for 3 cars"):
        MountainCarVector(3).reset(seed=[1, 2])
    with pytest.raises(ValueError, match="num_envs"):
        MountainCarVector(0)
