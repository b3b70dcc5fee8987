"""The score table: resumed where it stopped, and a file that belongs to the code beside it."""

import platform
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from safetensors.numpy import save_file

from helpers import prerequisites, scores
from helpers.experts import KeyboardDriver, RacingDriver
from helpers.rollouts import rollout
from helpers.scores import DRIVERS, TEST_TRACKS, Driver, Result, markdown, read, update, write

COMMITTED = read()
DATA = Path(__file__).parents[1] / "data"
CHEAP = [name for name, driver in DRIVERS.items() if not driver.saved_as]
LEARNED = [name for name, driver in DRIVERS.items() if driver.saved_as]
SAME_BUILD = sys.platform == "linux" and platform.machine() == "x86_64"


def committed(name: str) -> list[Result]:
    if not COMMITTED:
        pytest.skip("notebooks/scores.csv is not there: run `make scores`")
    return [result for result in COMMITTED if result.policy == name]


@pytest.mark.parametrize("name", DRIVERS)
def test_every_policy_has_driven_every_test_track_once(name: str) -> None:
    results = committed(name)
    assert [result.track for result in results] == list(TEST_TRACKS)
    assert len({result.digest for result in results}) == 1


@pytest.mark.parametrize("name", CHEAP)
def test_teachers_drive_as_the_file_says(name: str) -> None:
    few = committed(name)[::45]
    again = DRIVERS[name].drive([result.track for result in few])
    # Box2D, built for another processor, rounds differently, and a lap amplifies it
    assert again.returns == pytest.approx([r.total for r in few], abs=1e-5 if SAME_BUILD else 40)


def weights_at_hand(driver: Driver, digest: str, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Find the file's weights among the reader's own and those of `make outputs`."""
    for folder in (DATA, DATA / "outputs"):
        if (folder / "policies" / f"{driver.saved_as}.safetensors").exists():
            monkeypatch.setenv("IL_DATA", str(folder))
            if driver.digest == digest:
                return True
    return False


@pytest.mark.parametrize("name", LEARNED)
def test_networks_drive_as_the_file_says(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    few, driver = committed(name)[::60], DRIVERS[name]
    if not weights_at_hand(driver, few[0].digest, monkeypatch):
        pytest.skip(f"no {driver.saved_as} with the digest of scores.csv in data/: can't drive it")
    again = driver.drive([result.track for result in few])
    assert again.returns == pytest.approx([r.total for r in few], abs=0.5 if SAME_BUILD else 40)


def test_nothing_drawn_and_the_same_rewards() -> None:
    drawn, physics = (
        gym.make("FastCarRacing-v3"),
        gym.make(scores.PHYSICS, disable_env_checker=True),
    )
    laps = [rollout(env, KeyboardDriver(env), 3, max_steps=150) for env in (drawn, physics)]
    assert laps[0].rewards.tolist() == laps[1].rewards.tolist()


@pytest.fixture
def one_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short laps, saved one by one."""
    monkeypatch.setattr(scores, "AT_ONCE", 1)
    monkeypatch.setattr(gym.registry[scores.PHYSICS], "max_episode_steps", 30)


@pytest.mark.usefixtures("one_each")
def test_resumes_where_it_was_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drivers = {name: DRIVERS[name] for name in CHEAP[:2]}
    path, drive, driven = tmp_path / "scores.csv", Driver.drive, []

    def until_the_third(self, tracks, workers=1):
        driven.extend(tracks)
        if len(driven) == 3:
            raise KeyboardInterrupt
        return drive(self, tracks, workers)

    monkeypatch.setattr(Driver, "drive", until_the_third)
    with pytest.raises(KeyboardInterrupt):
        update(path, drivers, tracks=(0, 1), workers=1)
    assert [(r.policy, r.track) for r in read(path)] == [(CHEAP[0], 0), (CHEAP[0], 1)]
    results = update(path, drivers, tracks=(0, 1), workers=1)
    assert driven == [0, 1, 0, 0, 1]  # the first policy's laps were kept
    assert read(path) == [r._replace(total=round(r.total, 6)) for r in results]
    assert len(results) == 4


@pytest.mark.usefixtures("one_each")
def test_results_of_another_version_are_driven_again(tmp_path: Path) -> None:
    path, drivers = tmp_path / "scores.csv", {"teacher": Driver(RacingDriver)}
    write([Result("teacher", "old", 0, 1.0, 1, False), Result("gone", "x", 0, 1.0, 1, True)], path)
    (result,) = update(path, drivers, tracks=(0,), workers=1)
    assert result.digest == drivers["teacher"].digest and result.steps == 30


def test_the_table() -> None:
    drivers = {"a": Driver(RacingDriver, labels=1_000, minutes=0.5), "b": Driver(RacingDriver)}
    results = [Result("a", "", track, total, 9, total > 0) for track, total in enumerate((-2, 4))]
    table = markdown(results, drivers).splitlines()
    assert len(table) == 3  # b has no results yet
    assert table[2] == "| a | 1.0 | −2.0 to 4.0 | −2.0 | −1.4 | 1 of 2 | 1,000 | 0.5 |"


def test_digests_follow_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IL_DATA", str(tmp_path))
    driver = Driver(prerequisites.plain_racing_clone, "some-policy")
    with pytest.raises(FileNotFoundError):
        _ = driver.digest
    path = tmp_path / "policies" / "some-policy.safetensors"
    path.parent.mkdir(exist_ok=True)
    weights = {"a": np.ones(2, np.float32), "b": np.zeros(3, np.float32)}
    save_file(weights, path)
    first = driver.digest
    save_file(weights, path, {"the header": "is another one"})
    assert driver.digest == first and len(first) == 12
    save_file(weights | {"b": np.ones(3, np.float32)}, path)
    assert driver.digest != first
    assert np.unique([DRIVERS[name].digest for name in CHEAP]).size == 1  # all in experts.py


def test_the_readme_shows_the_table_of_the_file() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    assert markdown(read()) in readme
