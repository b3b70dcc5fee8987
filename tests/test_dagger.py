"""DAgger: who drives, who answers, what is learned from; and the student that it makes."""

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from helpers import policies, prerequisites
from helpers.dagger import dagger, drive_and_ask
from helpers.experts import RacingDriver
from helpers.rollouts import rollout


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

    laps = drive_and_ask(env, lazy, expert, [3, 4])
    assert [len(views) for views, _ in laps] == [40, 40]
    views, answers = laps[0]
    assert views.shape == (40, 54, 48) and views.dtype == np.uint8
    assert answers.shape == (40, 3) and answers.dtype == np.float32
    run = rollout(env, lazy, 3, keep_observations=True)  # the same lap, without questions
    assert run.observations is not None
    assert np.array_equal(policies.look(run.observations), views)
    assert answers[30, 1] > 0.2  # the expert would have gone faster


def test_made_then_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IL_DATA", str(tmp_path))
    monkeypatch.setenv("IL_SIZE", "small")
    made = prerequisites.racing_dagger()
    assert "06-fix-it-with-dagger" in capsys.readouterr().out
    assert policies.policy_path(prerequisites.DAGGER).exists()
    loaded = prerequisites.racing_dagger()
    assert capsys.readouterr().out == ""
    frame = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    assert loaded.act(frame).tolist() == made.act(frame).tolist()
