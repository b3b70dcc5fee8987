"""The training loop, disturbed laps and DAgger, as the notebooks have taught them."""

import copy

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import nn

from helpers.demonstrations import Demonstrations
from helpers.networks import view
from helpers.rollouts import rollout
from helpers.training import (
    Disturbed,
    dagger,
    disturbed_lap,
    drive_and_ask,
    pairs_of,
    tensors,
    train,
)
from helpers.worlds.drivers import RacingDriver

HOW = {"steps": 60, "batch_size": 32, "learning_rate": 0.05}


@pytest.fixture
def pairs():
    generator = torch.Generator().manual_seed(1)
    observations = torch.randn(200, 4, generator=generator)
    return observations, observations @ torch.tensor([[1.0], [-2.0], [0.5], [0.0]])


def line(seed=0):
    torch.manual_seed(seed)
    return nn.Linear(4, 1)


def fit(model, pairs, seed=0, **how):
    generator = torch.Generator().manual_seed(seed)
    how = {**HOW, **how}
    return train(model, *pairs, nn.functional.mse_loss, generator=generator, progress=False, **how)


def test_it_learns(pairs):
    model = line()
    losses = fit(model, pairs, steps=300)
    assert len(losses) == 300 and losses[-1] < 1e-3 < losses[0]
    assert not model.training


def test_the_same_seeds_give_the_same_weights(pairs):
    one, same, other = line(), line(), line()
    losses = fit(one, pairs)
    torch.manual_seed(99)  # the loop reads no global state
    assert fit(same, pairs) == losses and torch.equal(one.weight, same.weight)
    assert fit(other, pairs, seed=1) != losses


def test_the_model_ends_with_the_mean_of_its_last_weights(pairs):
    weights = []

    class Noting(nn.Linear):
        def forward(self, x):
            weights.append(copy.deepcopy(self.weight.detach()))
            return super().forward(x)

    torch.manual_seed(0)
    last = Noting(4, 1)
    fit(last, pairs, average=0)
    torch.manual_seed(0)
    mean = nn.Linear(4, 1)
    fit(mean, pairs, average=0.1)
    expected = torch.stack([*weights[-5:], last.weight.detach()]).mean(0)
    assert torch.allclose(mean.weight, expected, atol=1e-6)
    assert not torch.allclose(mean.weight, last.weight, atol=1e-6)


def test_half_of_each_batch_is_augmented():
    def negate(observations, actions):
        return -observations, -actions

    sums = []

    class Noting(nn.Linear):
        def forward(self, x):
            sums.append(((x > 0).sum().item(), (x < 0).sum().item()))
            return super().forward(x)

    fit(Noting(1, 1), (torch.ones(100, 1), torch.ones(100, 1)), augment=negate)
    assert set(sums) == {(16, 16)}


def test_odd_sizes_work_and_senseless_ones_are_named(pairs):
    fit(line(), pairs, steps=1)
    fit(line(), pairs, steps=3, batch_size=1_000)
    with pytest.raises(ValueError, match="average=2"):
        fit(line(), pairs, average=2)
    with pytest.raises(ValueError, match="steps=0"):
        fit(line(), pairs, steps=0)
    with pytest.raises(ValueError, match="200 observations don't pair with 3 actions"):
        fit(line(), (pairs[0], pairs[1][:3]))
    for rate in (float("nan"), -0.1, 0, float("inf"), 1e9):
        with pytest.raises(ValueError, match="learning_rate="):
            fit(line(), pairs, learning_rate=rate)
    with pytest.raises(ValueError, match="the actions hold NaN"):
        fit(line(), (pairs[0], pairs[1] * torch.nan))
    with pytest.raises(ValueError, match=r"the loss is .* lower the learning rate"):
        fit(line(), (pairs[0] * 1e30, pairs[1]))


# -- disturbed laps and DAgger ------------------------------------------------------------------

STRAIGHT = np.array([0.9, 0.3, 0.0], np.float32)


def test_bursts_are_short_rare_and_only_in_what_is_done():
    driver = Disturbed(lambda observation: STRAIGHT, np.random.default_rng(0))
    done = np.array([driver(None) for _ in range(20_000)])
    pushed = done[:, 0] != STRAIGHT[0]
    starts = np.flatnonzero(np.diff(pushed.astype(int)) == 1)
    ends = np.flatnonzero(np.diff(pushed.astype(int)) == -1)
    lengths = ends[: len(starts)] - starts[: len(ends)]
    assert lengths.min() >= 10 and np.median(lengths) <= 25
    assert 0.05 < pushed.mean() < 0.2
    assert done.dtype == np.float32 and np.abs(done[:, 0]).max() <= 1
    assert (done[:, 1:] == STRAIGHT[1:]).all()
    assert (np.array(driver.labels) == STRAIGHT).all()


def test_recorded_laps_repeat_and_their_labels_are_the_teachers(monkeypatch):
    monkeypatch.setattr(gym.registry["FastCarRacing-v3"], "max_episode_steps", 400)
    first, second, again = (disturbed_lap(seed) for seed in (3, 4, 4))
    env = gym.make("FastCarRacing-v3")
    teacher = RacingDriver(env)
    assert first[0].shape == (400, 54, 48) and first[0].dtype == np.uint8
    assert first[1].shape == (400, 3) and first[1].dtype == np.float32
    assert all((a == b).all() for a, b in zip(second, again, strict=True))
    clean = Demonstrations.record(env, teacher, [4])
    (lap,) = pairs_of(clean)
    same = (lap[1] == second[1]).all(axis=1)
    assert same[0] and not same.all()  # until the first burst
    assert (lap[0][0] == second[0][0]).all()
    views, actions = tensors([first, second])
    assert len(views) == len(actions) == 800
    env.close()


def test_each_round_learns_from_all_that_students_saw() -> None:
    drove = []

    def drive(student: str, number: int) -> list[str]:
        drove.append((student, number))
        return [f"laps of {student}"]

    rounds = list(dagger("clone", ["expert's laps"], 2, drive, lambda data, number: f"s{number}"))
    assert drove == [("clone", 1), ("s1", 2)]
    assert rounds[0] == ("s1", ["expert's laps", "laps of clone"])
    assert rounds[1] == ("s2", ["expert's laps", "laps of clone", "laps of s1"])


def test_the_student_drives_and_the_expert_answers() -> None:
    env = gym.make("FastCarRacing-v3", max_episode_steps=40)
    expert = RacingDriver(env)

    def lazy(frame: np.ndarray) -> np.ndarray:
        return np.array([0.0, 0.1, 0.0], np.float32)

    views, answers = drive_and_ask(env, lazy, expert, 3)
    assert views.shape == (40, 54, 48) and views.dtype == np.uint8
    assert answers.shape == (40, 3) and answers.dtype == np.float32
    run = rollout(env, lazy, 3, keep_observations=True)  # the same lap, without questions
    assert run.observations is not None
    assert np.array_equal(view(run.observations), views)
    assert answers[30, 1] > 0.2  # the expert would have gone faster


def test_an_expert_that_reuses_its_array_is_recorded_rightly() -> None:
    env = gym.make("FastCarRacing-v3", max_episode_steps=20)
    answer = np.zeros(3, np.float32)

    def expert(frame: np.ndarray) -> np.ndarray:
        answer[1] += 0.01
        return answer

    _, answers = drive_and_ask(env, lambda frame: STRAIGHT, expert, 3)
    driver = Disturbed(expert, np.random.default_rng(0))
    rollout(env, driver, 3)
    for labels in (answers, np.array(driver.labels)):
        assert len(set(labels[:, 1].tolist())) == 20


@pytest.mark.parametrize("world", ["FastCarRacing-v3", "PhysicsOnly-v3"])
def test_a_driver_of_another_car_answers_nothing(world: str) -> None:
    """It gave labels of another track, and they were recorded as the expert's."""
    env, other = (gym.make(world, max_episode_steps=20) for _ in range(2))
    expert = RacingDriver(other)
    other.reset(seed=5)
    with pytest.raises(ValueError, match="another environment"):
        drive_and_ask(env, lambda frame: STRAIGHT, expert, 3)


def test_a_memory_is_cleared_at_each_lap() -> None:
    env = gym.make("FastCarRacing-v3", max_episode_steps=6)

    class Counter:
        """Gas, and in the steering the steps since the last reset."""

        steps = 0

        def reset(self) -> None:
            self.steps = 0

        def act(self, frame: np.ndarray) -> np.ndarray:
            self.steps += 1
            return np.array([self.steps / 100, 0.1, 0], np.float32)

    counter, driver = Counter(), RacingDriver(env)
    for seed in (3, 4):
        drive_and_ask(env, counter.act, driver, seed)
        assert counter.steps == 6
    _, actions = drive_and_ask(env, driver, counter.act, 5)
    assert actions[0, 0] == np.float32(0.01)
