"""Rollouts repeat themselves, whatever the number of workers, and scores are what they say."""

import os
import signal
import subprocess
import sys
import time
from itertools import count

import gymnasium as gym
import numpy as np
import pytest
import torch

from helpers.demonstrations import Demonstrations
from helpers.plumbing import each
from helpers.rollouts import Scores, bootstrap_interval, evaluate, rollout, run_all
from helpers.worlds.drivers import RacingDriver
from helpers.worlds.mountain_car import MountainCarVector, mountain_car_expert

SEEDS = [3, 1, 2, 7]
STRAIGHT = np.array([0.0, 0.3, 0.0], np.float32)


class RandomPolicy:
    """A teacher of the simplest kind: it reads its environment, not the observation."""

    def __init__(self, env):
        self.env = env

    def __getstate__(self):
        return {}

    def __call__(self, observation):
        return self.env.action_space.sample()


class FailOnSeed2(RandomPolicy):
    def __call__(self, observation):
        if self.env.unwrapped.np_random_seed == 2:
            raise FloatingPointError("no gas left")
        return 1


@pytest.fixture
def mountain():
    return gym.make("MountainCar-v0")


@pytest.fixture
def race():
    return gym.make("FastCarRacing-v3", max_episode_steps=30)


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


@pytest.mark.parametrize("name", ["__call__", "act"])
def test_a_policy_with_a_memory_is_reset_and_so_is_its_method(mountain, name):
    class Counter:
        count = 0

        def reset(self):
            self.count = 0

        def __call__(self, observation):
            self.count += 1
            return 1

        act = __call__

    counter = Counter()
    policy = counter if name == "__call__" else counter.act
    for seed, steps in ((0, 5), (1, 4)):
        rollout(mountain, policy, seed, max_steps=steps)
        assert counter.count == steps


def test_a_policy_may_change_its_arrays_and_its_picture(race):
    """Gymnasium's own key handler returns one array, and changes it in place."""
    action = STRAIGHT.copy()

    def policy(observation):
        action[0] += 0.01
        observation[:] = 0
        return action

    run = rollout(race, policy, 3, keep_observations=True)
    assert len(set(run.actions[:, 0].tolist())) == len(run.actions) == 30
    assert all(frame.any() for frame in run.observations)


@pytest.mark.parametrize(
    "action", [[0, 1, 0], (0.0, 1.0, 0.0), np.array([0.0, 1, 0]), torch.tensor([0.0, 1, 0])]
)
def test_what_can_be_cast_without_loss_is_cast(race, action):
    run = rollout(race, lambda observation: action, 3, max_steps=2)
    assert run.actions.dtype == np.float32 and run.actions.tolist() == [[0, 1, 0]] * 2


@pytest.mark.parametrize("action", [2, np.int8(2), np.uint8(2), np.array(2), torch.tensor(2)])
def test_a_whole_number_of_any_kind_is_an_action(mountain, action):
    assert rollout(mountain, lambda observation: action, 3, max_steps=2).actions.tolist() == [2, 2]


BAD_ACTIONS = {
    "None": (None, "is object of shape"),
    "four numbers": (np.zeros(4, np.float32), r"shape \(4,\); it must be float32 of shape \(3,\)"),
    "a table": (np.zeros((1, 3), np.float32), r"shape \(1, 3\)"),
    "words": (["left", "a", "b"], "it must be float32"),
    "booleans": (np.zeros(3, bool), "is bool of shape"),
    "ragged": ([[1, 2], 3], "no array of numbers"),
    "NaN": (np.array([0, np.nan, 0]), "has NaN or leaves"),
    "infinity": (np.array([0, np.inf, 0]), "has NaN or leaves"),
    "far out": (np.array([7, 0, 0], np.float32), r"leaves \[-1.*np.clip it"),
}
BAD_CHOICES = {
    "None": None,
    "half": 1.5,
    "seven": 7,
    "minus one": -1,
    "word": "left",
    "two": [1, 2],
}


@pytest.mark.parametrize("bad", BAD_ACTIONS)
def test_a_bad_action_is_named_at_the_first_step(race, bad):
    action, message = BAD_ACTIONS[bad]
    with pytest.raises((TypeError, ValueError), match=message):
        rollout(race, lambda observation: action, 3)
    assert race.get_wrapper_attr("_elapsed_steps") == 0  # nothing was driven


@pytest.mark.parametrize("bad", BAD_CHOICES)
def test_a_bad_choice_is_named_at_the_first_step(mountain, bad):
    with pytest.raises((TypeError, ValueError), match="is no whole number from 0 to 2"):
        rollout(mountain, lambda observation: BAD_CHOICES[bad], 3)


@pytest.mark.parametrize("seed", ["3", 3.0, None, -1, 2**63, [3]])
def test_a_bad_seed_is_named(mountain, seed):
    with pytest.raises((TypeError, ValueError), match="a seed "):
        rollout(mountain, mountain_car_expert, seed)


def test_bad_seeds_are_named_and_numpys_taken(mountain):
    for seeds, message in [
        (5, "seeds is 5"),
        ("12", "seeds is '12'"),
        ([], "no seeds"),
        (count(), "endless"),
        ([1, "2"], "these begin with"),
        (np.array([1.0]), "a seed is a whole number"),
    ]:
        for env in (mountain, MountainCarVector(2)):
            with pytest.raises((TypeError, ValueError), match=message):
                evaluate(env, mountain_car_expert, seeds, progress=False)
    for seeds in (np.arange(2, dtype=np.uint8), iter([0, 1]), (0, np.int64(1))):
        assert evaluate(mountain, mountain_car_expert, seeds, progress=False).seeds.tolist() == [
            0,
            1,
        ]


@pytest.mark.parametrize("max_steps", [0, -3, 2.5, "3"])
def test_no_steps_are_refused(mountain, max_steps):
    with pytest.raises(ValueError, match="max_steps"):
        rollout(mountain, mountain_car_expert, 0, max_steps=max_steps)


def test_what_is_no_policy_or_drives_another_car_is_refused(race, mountain):
    other = RacingDriver(gym.make("PhysicsOnly-v3"))
    with pytest.raises(ValueError, match="bound to another environment"):
        rollout(race, other, 0)
    with pytest.raises(ValueError, match="bound to another environment"):
        evaluate(race, other.__call__, [0])
    for nothing in (RacingDriver, None, torch.nn.Linear):
        with pytest.raises(TypeError, match="no policy"):
            evaluate(race, nothing, [0])
    with pytest.raises(TypeError, match="vector environment"):
        rollout(MountainCarVector(2), mountain_car_expert, 0)
    for drive, seeds in ((rollout, 0), (evaluate, [0])):
        with pytest.raises(TypeError, match="env is 'MountainCar-v0'; give an environment"):
            drive("MountainCar-v0", mountain_car_expert, seeds)
    for workers in (0, 1.5, "2"):
        with pytest.raises(ValueError, match=f"workers is {workers!r}"):
            evaluate(mountain, mountain_car_expert, [0], workers=workers)


def test_a_policy_that_cant_travel_is_refused_before_the_work(mountain):
    lock = __import__("threading").Lock()
    with pytest.raises(TypeError, match="use workers=1"):
        evaluate(mountain, lambda o: 1 if lock else 2, [0, 1], workers=2, progress=False)


@pytest.mark.parametrize("workers", [1, 2])
def test_same_results_in_the_same_order_for_any_number_of_workers(workers, race):
    random = RandomPolicy(race)
    scores = evaluate(race, random, SEEDS, workers=workers, progress=False)
    alone = [evaluate(race, random, [s], progress=False).mean for s in SEEDS]
    assert scores.seeds.tolist() == SEEDS
    assert scores.returns.tolist() == alone and len(set(alone)) > 1


@pytest.mark.parametrize("workers", [1, 2])
def test_an_exception_names_its_seed(workers, mountain):
    with pytest.raises(RuntimeError, match="seed 2: FloatingPointError: no gas left"):
        list(run_all(mountain, FailOnSeed2(mountain), SEEDS, workers=workers, progress=False))


def test_vector_scores_equal_single_scores(mountain):
    seeds = range(20_000, 20_025)
    batch = evaluate(MountainCarVector(10), mountain_car_expert, seeds)
    single = evaluate(mountain, mountain_car_expert, seeds, progress=False)
    for name in ("seeds", "returns", "lengths", "finished"):
        assert (getattr(batch, name) == getattr(single, name)).all(), name


@pytest.mark.parametrize("world", ["MountainCar-v0", "PhysicsOnly-v3"])
def test_bad_actions_of_many_cars_are_named(world):
    cars = gym.make_vec(world, num_envs=2, vectorization_mode="sync")
    good = cars.action_space.sample()
    for bad in (None, good[:1], np.concatenate([good, good]), good + 9, good * np.nan, "left"):
        for run in (evaluate, Demonstrations.record):
            with pytest.raises((TypeError, ValueError), match="the action"):
                run(cars, lambda observations, bad=bad: bad, [0, 1])


def test_unsigned_actions_of_stock_cars_do_not_wrap():
    cars = gym.make_vec("MountainCar-v0", num_envs=2, vectorization_mode="sync")
    seeds = range(6)
    unsigned = evaluate(cars, lambda o: mountain_car_expert(o).astype(np.uint8), seeds)
    assert unsigned.returns.tolist() == evaluate(cars, mountain_car_expert, seeds).returns.tolist()


def test_a_policy_of_many_cars_may_change_its_arrays_and_has_its_memory_cleared():
    class Painter:
        resets = 0

        def reset(self):
            self.resets, self.actions = self.resets + 1, np.zeros(2, np.int64)

        def __call__(self, observations):
            self.actions[:] = (self.actions + 1) % 3
            observations[:] = 0
            return self.actions

    policy = Painter()
    demos = Demonstrations.record(MountainCarVector(2), policy, range(4))
    assert policy.resets == 2  # one for each two cars
    assert demos.observations.any(axis=1).all()
    for start in demos.starts:
        assert demos.actions[start : start + 6].tolist() == [1, 2, 0, 1, 2, 0]
    other = RacingDriver(gym.make("PhysicsOnly-v3"))
    with pytest.raises(ValueError, match="bound to another environment"):
        evaluate(gym.make_vec("PhysicsOnly-v3", num_envs=2, vectorization_mode="sync"), other, [0])


def test_a_vector_environment_that_restarts_otherwise_is_refused():
    mode = gym.vector.AutoresetMode.SAME_STEP
    cars = gym.vector.SyncVectorEnv([lambda: gym.make("MountainCar-v0")], autoreset_mode=mode)
    with pytest.raises(ValueError, match="NEXT_STEP"):
        evaluate(cars, mountain_car_expert, [0])


def test_scores_and_intervals_of_nothing_are_refused():
    for values in ([], [np.nan, 1], [[1, 2]], 3.0):
        with pytest.raises(ValueError, match="finite"):
            bootstrap_interval(np.array(values))
    good = np.arange(2), np.zeros(2), np.ones(2, int), np.ones(2, bool)
    for bad in (np.zeros(3), np.array([0, np.nan])):
        with pytest.raises(ValueError, match="without NaN"):
            Scores(good[0], bad, *good[2:])
    with pytest.raises(ValueError, match="E ≥ 1"):
        Scores(*(column[:0] for column in good))


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
    assert "75% finished" in str(scores)
    assert scores.interval[0] < 3 < scores.interval[1] and scores.interval == scores.interval


def interrupted(folder, number, level):
    """Squares of the numbers; the first time, 3 is interrupted. Each call leaves a file."""
    (folder / f"{number}-{level}-{len(list(folder.iterdir()))}").touch()
    if number == 3 and len(list(folder.glob("3-*"))) == 1:
        time.sleep(1)  # until what the other worker has finished is known
        raise KeyboardInterrupt
    return level * number**2


@pytest.mark.parametrize("workers", [1, 2])
def test_the_same_call_after_an_interrupt_does_what_is_left(workers, tmp_path):
    def calls(number):
        return len(list(tmp_path.glob(f"{number}-*")))

    tasks = [(tmp_path, number, 1) for number in range(5)]
    with pytest.raises(KeyboardInterrupt):
        each(interrupted, tasks, workers, progress=False)
    before = calls(0)
    assert before == 1
    assert each(interrupted, tasks, workers, progress=False) == [0, 1, 4, 9, 16]
    assert calls(0) == 1 and calls(3) == 2
    other = [(tmp_path, number, 2) for number in range(5)]  # another call, and nothing is left over
    assert each(interrupted, other, workers, progress=False) == [0, 2, 8, 18, 32]
    assert each(interrupted, tasks, workers, progress=False) == [0, 1, 4, 9, 16]
    assert calls(0) == 3


def test_what_a_function_refers_to_belongs_to_the_call(tmp_path):
    """As in a notebook, where a constant is changed between the interrupt and the second run."""
    scope = {"interrupted": interrupted, "folder": tmp_path, "LEVEL": 1}
    exec("def level(number): return interrupted(folder, number, LEVEL)", scope)
    level = scope["level"]
    level.__module__ = "__main__"
    with pytest.raises(KeyboardInterrupt):
        each(level, [(2,), (3,)], 1, progress=False)
    scope["LEVEL"] = 5
    assert each(level, [(2,), (3,)], 1, progress=False) == [20, 45]


def test_an_interrupted_evaluation_goes_on(mountain, tmp_path):
    def once(observation):
        (tmp_path / str(len(list(tmp_path.iterdir())))).touch()
        if len(list(tmp_path.iterdir())) == 300:
            raise KeyboardInterrupt
        return 1

    with pytest.raises(KeyboardInterrupt):
        evaluate(mountain, once, range(3), progress=False)
    scores = evaluate(mountain, once, range(3), progress=False)
    assert scores.lengths.tolist() == [200] * 3 and len(list(tmp_path.iterdir())) == 700


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no SIGINT to one process")
@pytest.mark.parametrize(("workers", "how"), [(1, "SIGINT"), (2, "SIGINT"), (2, "SIGKILL")])
def test_an_interrupt_stops_at_once_and_a_kill_leaves_no_worker(workers, how, tmp_path):
    program = tmp_path / "endless.py"
    program.write_text(f"""
import os, pathlib, signal, time
import gymnasium as gym
from helpers.rollouts import run_all
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
def slow(observation):
    pathlib.Path({str(tmp_path)!r}, f"{{os.getpid()}}.pid").touch()
    time.sleep(0.01)
    return 1
if __name__ == "__main__":
    env = gym.make("MountainCar-v0")
    list(run_all(env, slow, range(10_000), workers={workers}, progress=False))
""")
    run = subprocess.Popen([sys.executable, str(program)], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("*.pid"))) < workers and time.monotonic() < deadline:
        time.sleep(0.1)
    at_work = [int(path.stem) for path in tmp_path.glob("*.pid")]
    run.send_signal(getattr(signal, how))
    error = run.stderr.read() if how == "SIGINT" else ""  # orphans keep the pipe open
    run.wait(timeout=30)
    assert len(at_work) == workers and ("KeyboardInterrupt" in error) == (how == "SIGINT")
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
