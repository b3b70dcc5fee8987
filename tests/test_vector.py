"""Cars side by side end as they do alone: one rule says who has finished."""

import gymnasium as gym
import numpy as np

from helpers.demonstrations import Demonstrations
from helpers.rollouts import evaluate, rollout
from helpers.worlds.drivers import RacingDriver

STRAIGHT = np.array([0, 0.5, 0], np.float32)


def test_a_car_that_leaves_the_field_has_not_finished():
    cars = gym.make_vec("FastCarRacing-v3", num_envs=2, vectorization_mode="sync")
    scores = evaluate(cars, lambda frames: np.stack([STRAIGHT] * len(frames)), [6, 8])
    env = gym.make("PhysicsOnly-v3")
    alone = [rollout(env, lambda frame: STRAIGHT, seed) for seed in (6, 8)]
    assert scores.lengths.tolist() == [len(run.rewards) for run in alone]
    np.testing.assert_allclose(scores.returns, [run.total for run in alone])
    assert scores.lengths.max() < 250  # it was the field's edge that ended them
    assert not scores.finished.any() and not any(run.finished for run in alone)


def test_one_finishes_and_the_other_leaves_the_field():
    cars = gym.make_vec("PhysicsOnly-v3", num_envs=2, vectorization_mode="sync")
    driver = RacingDriver(cars.envs[0])

    def policy(frames):
        return np.stack([driver(frames[0]), STRAIGHT])

    assert Demonstrations.record(cars, policy, [3, 3]).finished.tolist() == [True, False]
    scores = evaluate(cars, policy, [3, 3])
    assert scores.finished.tolist() == [True, False]
    assert scores.returns[0] > 900 and scores.returns[1] < 0
