"""Demonstrations to Minari and back: every bit, and Minari's own tools read what was written."""

import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import gymnasium as gym
import minari
import numpy as np
import pytest
from minari.data_collector import EpisodeBuffer
from minari_data import OFF_THE_FIELD, from_minari, to_minari

from helpers.demonstrations import Demonstrations, DemonstrationsError
from helpers.worlds.drivers import RacingDriver
from helpers.worlds.mountain_car import MountainCarVector, mountain_car_expert

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:minari")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    return tmp_path


def mountain() -> Demonstrations:
    """Two that reach the flag, and one that is out of time."""
    good = Demonstrations.record(MountainCarVector(2), mountain_car_expert, [5, 2**40])
    lazy = Demonstrations.record(MountainCarVector(1), lambda o: np.ones(len(o), int), [7], "lazy")
    return Demonstrations.concatenate([good, lazy])


def racing() -> Demonstrations:
    """Three laps of eight steps: cut short, finished, and off the field."""
    env = gym.make("FastCarRacing-v3", max_episode_steps=8)
    laps = Demonstrations.record(env, RacingDriver(env), [3, 1, 2], "somebody")
    rewards = laps.rewards.copy()
    rewards[-1] = OFF_THE_FIELD
    return replace(laps, rewards=rewards, finished=np.array([False, True, False]))


@pytest.mark.parametrize("record", [mountain, racing])
def test_a_round_trip_keeps_every_bit(record) -> None:
    demos = record()
    to_minari(demos, "mine/some-v0")
    again = from_minari("mine/some-v0")
    assert again.env_id == demos.env_id
    for field in fields(demos)[1:]:
        before, after = getattr(demos, field.name), getattr(again, field.name)
        assert (after.dtype, after.shape) == (before.dtype, before.shape), field.name
        assert after.tobytes() == before.tobytes(), field.name


def test_minari_reads_what_was_written(folder: Path) -> None:
    demos = racing()
    to_minari(demos, "mine/laps-v1", author="Ada", algorithm_name="a scripted driver")
    dataset = minari.load_dataset("mine/laps-v1")
    assert (dataset.total_episodes, dataset.total_steps) == (3, 24)
    assert dataset.recover_environment().spec.id == "CarRacing-v3"
    ends = []
    for episode in dataset.iterate_episodes():
        ends.append((bool(episode.terminations[-1]), bool(episode.truncations[-1])))
        assert not episode.terminations[:-1].any() and not episode.truncations[:-1].any()
        assert dataset.observation_space.contains(episode.observations[-1])
        assert len(episode.observations) == len(episode) + 1 == len(episode.actions) + 1
        assert (episode.observations[-1] == episode.observations[-2]).all()
    assert ends == [(False, True), (True, False), (True, False)]
    command = [Path(sys.executable).with_name("minari"), "list", "local"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "mine/laps-v1" in shown and "Ada" in shown
    with pytest.raises(ValueError, match="already"):
        to_minari(demos, "mine/laps-v1")


def test_sets_that_others_made() -> None:
    """As Minari's own collector writes them: float64 rewards, without our notes."""
    moves = {"actions": np.array([2, 2]), "rewards": np.array([-1.0, -1.0])}
    ends = {"terminations": np.array([False, True]), "truncations": np.array([False, False])}
    states = np.zeros((3, 2), np.float32)
    for env_id, name in (("MountainCar-v0", "a-v0"), ("CartPole-v1", "b-v0")):
        seen = states if env_id == "MountainCar-v0" else np.zeros((3, 4), np.float32)
        one = EpisodeBuffer(observations=seen, **moves, **ends)
        minari.create_dataset_from_buffers(name, [one], env=env_id)
    demos = from_minari("a-v0")
    assert demos.finished.tolist() == [True] and demos.seeds.tolist() == [-1]
    assert demos.sources.tolist() == ["a-v0"] and demos.lengths.tolist() == [2]
    with pytest.raises(DemonstrationsError, match="CartPole-v1"):
        from_minari("b-v0")
    with pytest.raises(FileNotFoundError):
        from_minari("none-v0")
