"""Rollouts repeat themselves, whatever the number of workers, and scores are what they say."""

import os
import signal
import subprocess
import sys
import time

import gymnasium as gym
import numpy as np
import pytest

from helpers.experts import mountain_car_expert
from helpers.mountain_car import MountainCarVector
from helpers.rollouts import (
    Scores,
    bootstrap_interval,
    evaluate,
    evaluate_vector,
    rollout,
    run_many,
)

SEEDS = [3, 1, 2, 7]


class RandomPolicy:
    def __init__(self, env):
        self.space = env.action_space

    def __call__(self, observation):
        return self.space.sample()


def fail_on_seed_2(env):
    assert env.unwrapped.np_random_seed != 2  # not yet reset: never fires

    def act(observation):
        if env.unwrapped.np_random_seed == 2:
            raise FloatingPointError("no gas left")
        return 1

    return act


def test_a_rollout_is_its_own_seeds():
    env = gym.make("MountainCar-v0")
    random = RandomPolicy(env)
    first = rollout(env, random, 4, keep_observations=True)
    rollout(env, random, 5)
    again = rollout(env, random, 4, keep_observations=True)
    assert (first.actions == again.actions).all() and len(set(first.actions.tolist())) == 3
    assert (first.observations == again.observations).all()
    assert first.total == -200 and not first.finished and len(first.rewards) == 200


def test_frames_and_max_steps():
    env = gym.make("MountainCar-v0", render_mode="rgb_array")
    run = rollout(env, mountain_car_expert, 0, keep_frames=True, max_steps=3)
    assert len(run.frames) == 4 and run.frames[0].dtype == np.uint8 and len(run.actions) == 3
    with pytest.raises(ValueError, match="render_mode"):
        rollout(gym.make("MountainCar-v0"), mountain_car_expert, 0, keep_frames=True)


def test_a_policy_with_a_memory_is_reset():
    class Counter:
        count = 0

        def reset(self):
            self.count = 0

        def __call__(self, observation):
            self.count += 1
            return 1

    policy = Counter()
    env = gym.make("MountainCar-v0")
    for _ in range(2):
        rollout(env, policy, 0, max_steps=5)
    assert policy.count == 5


@pytest.mark.parametrize("workers", [1, 2])
def test_same_results_in_the_same_order_for_any_number_of_workers(workers):
    scores = evaluate(
        RandomPolicy, "FastCarRacing-v3", SEEDS, bind=True, workers=workers, progress=False,
        max_episode_steps=30,
    )  # fmt: skip
    alone = [
        evaluate(RandomPolicy, "FastCarRacing-v3", [s], bind=True, progress=False,
                 max_episode_steps=30).mean
        for s in SEEDS
    ]  # fmt: skip
    assert scores.seeds.tolist() == SEEDS
    assert scores.returns.tolist() == alone and len(set(alone)) > 1


@pytest.mark.parametrize("workers", [1, 2])
def test_an_exception_names_its_seed(workers):
    with pytest.raises(RuntimeError, match="seed 2: FloatingPointError: no gas left"):
        run_many(fail_on_seed_2, "MountainCar-v0", SEEDS, bind=True, workers=workers,
                 progress=False)  # fmt: skip


def test_no_seeds_is_an_error():
    with pytest.raises(ValueError, match="no seeds"):
        evaluate(mountain_car_expert, "MountainCar-v0", [])


def test_vector_scores_equal_single_scores():
    seeds = range(20_000, 20_025)
    batch = evaluate_vector(
        lambda o: np.sign(o[:, 1]).astype(np.int64) + 1, MountainCarVector(10), seeds
    )
    single = evaluate(mountain_car_expert, "MountainCar-v0", seeds, progress=False)
    for name in ("seeds", "returns", "lengths", "finished"):
        assert (getattr(batch, name) == getattr(single, name)).all(), name


def test_the_interval_holds_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(100):
        low, high = bootstrap_interval(rng.normal(5, 2, size=60))
        hits += low <= 5 <= high
    assert 88 <= hits <= 99
    assert bootstrap_interval(np.full(9, 3.0)) == (3.0, 3.0)


def test_scores():
    scores = Scores(np.arange(4), np.array([1.0, 2, 3, 6]), np.full(4, 9), np.array([1, 1, 0, 1]))
    assert scores.mean == 3 and scores.minimum == 1 and scores.finished_share == 0.75
    assert scores.percentile(50) == 2.5 and "75% finished" in str(scores)
    assert scores.interval[0] < 3 < scores.interval[1] and scores.interval == scores.interval


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no SIGINT to one process")
@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupt_stops_at_once_and_leaves_no_worker(workers, tmp_path):
    program = tmp_path / "endless.py"
    program.write_text(f"""
import os, pathlib, time
from helpers.rollouts import run_many
def slow(observation):
    pathlib.Path({str(tmp_path)!r}, f"{{os.getpid()}}.pid").touch()
    time.sleep(0.01)
    return 1
if __name__ == "__main__":
    run_many(slow, "MountainCar-v0", range(10_000), workers={workers}, progress=False)
""")
    run = subprocess.Popen([sys.executable, str(program)], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("*.pid"))) < workers and time.monotonic() < deadline:
        time.sleep(0.1)
    at_work = [int(path.stem) for path in tmp_path.glob("*.pid")]
    run.send_signal(signal.SIGINT)
    _, error = run.communicate(timeout=30)
    assert len(at_work) == workers and "KeyboardInterrupt" in error
    deadline = time.monotonic() + 10
    while alive(at_work) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not alive(at_work)


def alive(pids):
    """Those of the processes that still run."""
    found = []
    for pid in pids:
        try:
            os.kill(pid, 0)
            found.append(pid)
        except ProcessLookupError:
            pass
    return found
