"""The search for the driver's gains, and the choice of its pace, on a few steps."""

from functools import partial

import gymnasium as gym
import numpy as np
import tune


def test_search_repeats_itself_and_never_gets_worse(monkeypatch):
    monkeypatch.setattr(tune, "TRACKS", (1,))
    monkeypatch.setattr(gym.registry[tune.PHYSICS], "max_episode_steps", 60)
    start = tune.score(tune.START, gym.make(tune.PHYSICS))
    first, second = (tune.search(6, np.random.default_rng(3), progress=False) for _ in range(2))
    assert first == second
    assert first[1] >= start


def test_the_pace_is_compared_by_the_students(monkeypatch, capsys):
    monkeypatch.setattr(gym.registry["FastCarRacing-v3"], "max_episode_steps", 60)
    monkeypatch.setattr(tune, "fit_driver", partial(tune.fit_driver, steps=20))
    monkeypatch.setattr(tune, "STUDENT_LAPS", 1)
    monkeypatch.setattr(tune, "STUDENT_PACES", (0.5, 0.6))
    monkeypatch.setattr(tune, "CHECK", range(10_000, 10_001))
    tune.main(["--students"])
    slow, fast = capsys.readouterr().out.splitlines()
    teachers = [float(line.split("teacher ")[1].split(",")[0]) for line in (slow, fast)]
    assert slow.startswith("pace  0.5") and fast.startswith("pace  0.6")
    assert 850 < teachers[0] < teachers[1]  # each line's own pace drove
    assert all("student" in line and "1 episodes" in line for line in (slow, fast))
