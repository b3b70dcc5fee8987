"""The score table: what the file says is what the policies do, and what the README shows."""

import os
import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import experiments
import gymnasium as gym
import numpy as np
import pytest
import scores
from cells import read
from scores import FILE, LEARNERS, PUSHED, SEEDS, TEACHERS, TRACKS, Entry, comes_back, markdown

from helpers import is_small
from helpers.rollouts import rollout
from helpers.worlds.drivers import KeyboardDriver, RacingDriver

COMMITTED = read(FILE, Entry)
SAME_BUILD = sys.platform == "linux" and platform.machine() == "x86_64"
ROOT = Path(__file__).resolve().parents[1]


def test_the_file_is_whole_and_belongs_to_the_code() -> None:
    assert set(COMMITTED) == set(scores.entries()), "make scores"
    for entry, row in COMMITTED.items():
        assert len(row["returns"].split()) == len(TRACKS), entry
        assert all(0 <= int(row[f"back_{push}"]) <= len(PUSHED) for push in scores.PUSHES), entry
        assert row["digest"] == scores.digest(entry), f"{entry}: the code has changed: make scores"


@pytest.mark.parametrize("name", TEACHERS)
def test_teachers_drive_as_the_file_says(name: str) -> None:
    env = gym.make("PhysicsOnly-v3")
    policy = TEACHERS[name](env)
    again = [rollout(env, policy, track).total for track in TRACKS[::45]]
    returns = [float(value) for value in COMMITTED[Entry(name)]["returns"].split()]
    # Box2D, built for another processor, rounds differently, and a lap amplifies it
    assert again == pytest.approx(returns[::45], abs=0.06 if SAME_BUILD else 40)


@pytest.mark.skipif(is_small(), reason="trains a network at full size")
@pytest.mark.parametrize("name", ["cured clone", "clone of disturbed laps"])
def test_learners_drive_as_the_file_says(name: str) -> None:
    cell = LEARNERS[name]
    experiments.record_missing([cell.data], os.cpu_count() or 1)
    student, _ = experiments.student_of(cell)
    again = [rollout(gym.make("FastCarRacing-v3"), student.act, t).total for t in TRACKS[:5]]
    if Entry(name) not in COMMITTED:
        pytest.skip("not made yet: make scores")
    returns = [float(value) for value in COMMITTED[Entry(name)]["returns"].split()]
    assert again == pytest.approx(returns[:5], abs=0.06 if SAME_BUILD else 300)


def test_nothing_drawn_and_the_same_rewards() -> None:
    drawn, physics = gym.make("FastCarRacing-v3"), gym.make("PhysicsOnly-v3")
    laps = [rollout(env, KeyboardDriver(env), 3, max_steps=150) for env in (drawn, physics)]
    assert laps[0].rewards.tolist() == laps[1].rewards.tolist()


def test_who_comes_back_after_a_push() -> None:
    env = gym.make("PhysicsOnly-v3")
    driver = RacingDriver(env)
    assert all(comes_back(env, driver, track, 10) for track in TRACKS[:3])
    straight_on = np.array([0, 0.3, 0], np.float32)
    assert not any(comes_back(env, lambda frame: straight_on, track, 10) for track in TRACKS[:3])


def test_a_learner_is_made_again_when_its_recipe_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "clone of disturbed laps"
    before = scores.digest(Entry(name))
    assert before == scores.digest(Entry(name, 3)) != scores.digest(Entry("random"))
    monkeypatch.setitem(LEARNERS, name, replace(LEARNERS[name], steps=2_000))
    assert scores.digest(Entry(name)) != before


def test_a_training_of_each_learner_comes_before_the_second_of_any() -> None:
    found = scores.entries()
    assert len(set(found)) == len(found) == len(TEACHERS) + SEEDS * len(LEARNERS)
    assert found[: len(TEACHERS)] == [Entry(name) for name in TEACHERS]
    each = [entry.seed for entry in found[len(TEACHERS) :]]
    assert each == sorted([*range(SEEDS)] * len(LEARNERS))


def test_a_row_is_what_was_driven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gym.registry["PhysicsOnly-v3"], "max_episode_steps", 30)
    monkeypatch.setattr(scores, "TRACKS", range(20_000, 20_003))
    monkeypatch.setattr(scores, "PUSHED", range(20_000, 20_002))
    path = tmp_path / "results" / "scores.csv"
    wanted = [Entry("random"), Entry("scripted driver as racer")]
    scores.update(wanted, 1, path)
    rows = read(path, Entry)
    assert list(rows) == wanted
    assert len(rows[wanted[0]]["returns"].split()) == 3 and rows[wanted[0]]["finished"] == "0"
    before = path.read_bytes()
    scores.update(wanted, 1, path)
    assert path.read_bytes() == before
    assert len(list(markdown(rows))) == 4


def test_the_table() -> None:
    row = {"labels": "22361", "training_s": "30", "back_10": "10", "back_20": "0"}
    results = {
        Entry("plain clone", seed): {**row, "returns": f"{value} {value}", "finished": str(seed)}
        for seed, value in enumerate((-2.0, 4.0, -2.0, 4.0, 1.0))
    }
    *_, line = markdown(results)
    assert line.startswith("| plain clone | 1.0 | −1.4 to 3.4 | ")
    assert line.endswith(" | −2.0 | −2.0 | 100% | 50% | 0% | 22,361 | 0.5 |")
    del results[Entry("plain clone", 3)]
    assert len(list(markdown(results))) == 2  # no row that would change


def test_the_readme_shows_the_table_of_the_file() -> None:
    assert "\n".join(markdown(COMMITTED)) in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_any_terminal_shows_the_table(encoding: str) -> None:
    command = [sys.executable, "tools/scores.py", "--table"]
    env = {**os.environ, "PYTHONIOENCODING": encoding}
    run = subprocess.run(command, cwd=ROOT, env=env, capture_output=True)
    assert run.returncode == 0, run.stderr
    lines = [line.encode(encoding, "replace").decode(encoding) for line in markdown(COMMITTED)]
    assert run.stdout.decode(encoding).splitlines() == lines
