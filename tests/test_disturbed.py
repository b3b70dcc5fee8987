"""Disturbed laps: the car is pushed, the labels are the teacher's; and the two clones of 04."""

from functools import partial
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from helpers import policies
from helpers.demos import Demonstrations
from helpers.disturbed import Disturbed, laps_of, record_disturbed, tensors
from helpers.experts import RacingDriver
from helpers.prerequisites import CLONE, PLAIN_CLONE, plain_racing_clone, racing_clone

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


def test_recorded_laps_repeat_and_their_labels_are_the_teachers():
    env = gym.make("FastCarRacing-v3", max_episode_steps=400)
    teacher = RacingDriver(env)
    first, second = record_disturbed(env, teacher, [3, 4], progress=False)
    (again,) = record_disturbed(env, teacher, [4], progress=False)
    assert first[0].shape == (400, 54, 48) and first[0].dtype == np.uint8
    assert first[1].shape == (400, 3) and first[1].dtype == np.float32
    assert all((a == b).all() for a, b in zip(second, again, strict=True))
    clean = Demonstrations.record(env, teacher, [4], progress=False)
    (lap,) = laps_of(clean)
    same = (lap[1] == second[1]).all(axis=1)
    assert same[0] and not same.all()  # until the first burst
    assert (lap[0][0] == second[0][0]).all()
    views, actions = tensors([first, second])
    assert len(views) == len(actions) == 800
    env.close()


@pytest.mark.parametrize(
    ("clone", "name"), [(plain_racing_clone, PLAIN_CLONE), (racing_clone, CLONE)]
)
def test_clones_are_made_then_loaded(clone, name, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setenv("IL_DATA", str(tmp_path))
    monkeypatch.setenv("IL_SIZE", "small")
    short = partial(gym.make, max_episode_steps=120)
    monkeypatch.setattr("helpers.prerequisites.gym.make", short)
    made = clone()
    said = capsys.readouterr().out
    assert f"Training {name}" in said and "04-clone-car-racing" in said
    assert policies.policy_path(name).exists()
    loaded = clone()
    assert capsys.readouterr().out == ""
    frame = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    action = loaded.act(frame)
    assert (action == made.act(frame)).all()
    assert action.shape == (3,) and action.dtype == np.float32
    policies.policy_path(name).write_bytes(b"cut off")
    with pytest.raises(policies.PolicyError, match="04-clone-car-racing again"):
        clone()
