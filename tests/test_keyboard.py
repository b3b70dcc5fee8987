"""Keys to action, and laps: recorded, saved as they end, listed, replayed, dropped."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from helpers import keyboard, laps
from helpers.demos import Demonstrations
from helpers.keyboard import keyboard_action
from helpers.laps import LapSession, drop_lap, labelled_steps, list_laps, replay_lap, step_log

GAS = keyboard_action(False, False, True, False)
NOTHING = keyboard_action(False, False, False, False)


class ToyRace(gym.Env):
    """Looks like CarRacing to a LapSession: the picture counts the steps, gas goes on by a tile.

    The lap has ``tiles`` tiles; those in ``missed`` are never visited; ``off`` is the step that
    leaves the field.
    """

    observation_space = gym.spaces.Box(0, 255, (96, 96, 3), np.uint8)
    action_space = gym.spaces.Box(-1, 1, (3,), np.float32)

    def __init__(self, tiles: int = 6, missed: tuple[int, ...] = (), off: int = -1) -> None:
        self.track, self.missed, self.off = list(range(tiles)), missed, off
        self.seeds: list[int | None] = []
        self.car = SimpleNamespace(hull=SimpleNamespace(linearVelocity=(3.0, 4.0)), wheels=[])

    def _look(self) -> np.ndarray:
        return np.full((96, 96, 3), self.steps, np.uint8)

    def _stand_on(self, tile: int) -> None:
        self.car.wheels = [SimpleNamespace(tiles=[SimpleNamespace(idx=tile)])]

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[np.ndarray, dict]:
        self.seeds.append(seed)
        self.steps, self.at, self.tile_visited_count = 0, 0, 1
        self._stand_on(0)
        return self._look(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        assert action.dtype == np.float32
        self.steps += 1
        if action[1] > 0:
            self.at += 1
            self.tile_visited_count += self.at < len(self.track) and self.at not in self.missed
        self._stand_on(self.at % len(self.track))
        if self.steps == self.off:
            return self._look(), -100.0, True, False, {"lap_finished": False}
        done = self.tile_visited_count == len(self.track)
        return self._look(), 1.0, done, False, {"lap_finished": True} if done else {}


def drive(session: LapSession, steps: int = 1, action: np.ndarray = GAS) -> None:
    for _ in range(steps):
        if session.waiting and np.any(action):
            session.step(NOTHING)  # let go of the keys first
        session.step(action)


def test_every_combination_of_keys_has_its_action() -> None:
    for keys in np.ndindex(2, 2, 2, 2):
        left, right, up, down = map(bool, keys)
        action = keyboard_action(left, right, up, down)
        assert action.dtype == np.float32 and action.shape == (3,)
        steer = {(True, False): -0.5, (False, True): 0.5}.get((left, right), 0.0)
        np.testing.assert_allclose(action, [steer, 0.2 * up, 0.1 * down], atol=1e-7)


def test_nothing_moves_before_the_first_key(tmp_path: Path) -> None:
    session = LapSession(ToyRace(), tmp_path)
    drive(session, 5, NOTHING)
    assert session.waiting and session.steps == 0
    drive(session)
    drive(session, 2, NOTHING)  # the car rolls on without a key
    assert not session.waiting and session.steps == 3


def test_a_key_that_is_still_held_does_not_start_the_next_lap(tmp_path: Path) -> None:
    session = LapSession(ToyRace(tiles=4), tmp_path)
    drive(session, 3)
    assert session.driven == 1 and "saved" in session.status["message"]
    for action, waits in [(GAS, True), (GAS, True), (NOTHING, True), (GAS, False)]:
        session.step(action)
        assert session.waiting == waits
    assert session.steps == 1


def test_a_lap_is_saved_when_it_ends_with_what_was_seen_before_each_action(tmp_path: Path) -> None:
    session = LapSession(ToyRace(tiles=6), tmp_path, laps=2, seeds=[70, 71])
    drive(session, 2)
    drive(session, 1, NOTHING)
    drive(session, 2)
    assert session.saved == [] and list(tmp_path.iterdir()) == []
    assert session.step(GAS)
    assert session.saved == list(tmp_path.iterdir()) and not session.done
    demo = Demonstrations.load(tmp_path, "CarRacing-v3")
    assert demo.observations[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5]
    np.testing.assert_allclose(demo.actions[:, 1], [0.2, 0.2, 0, 0.2, 0.2, 0.2])
    assert demo.seeds.tolist() == [70] and demo.finished.tolist() == [True]
    assert demo.sources.tolist() == ["human"] and demo.returns.tolist() == [6.0]
    drive(session, 5)
    assert session.done and len(Demonstrations.load(tmp_path)) == 2
    assert not session.step(GAS)  # nothing runs after the last lap


def test_restart_forgets_the_lap_and_keeps_the_track(tmp_path: Path) -> None:
    env = ToyRace(tiles=6)
    session = LapSession(env, tmp_path, laps=1, seeds=[70, 71])
    drive(session, 3)
    session.restart()
    assert session.waiting and session.steps == 0
    drive(session, 5)
    assert env.seeds == [70, 70] and session.done
    assert Demonstrations.load(tmp_path).lengths.tolist() == [5]


def test_a_lap_that_leaves_the_field_is_not_saved(tmp_path: Path) -> None:
    env = ToyRace(tiles=6, off=3)
    session = LapSession(env, tmp_path, seeds=[70, 71])
    drive(session, 3)
    assert list(tmp_path.iterdir()) == [] and session.driven == 0
    assert env.seeds == [70, 70] and "Off the field" in session.status["message"]


def test_a_lap_that_misses_a_tile_ends_at_the_line(tmp_path: Path) -> None:
    session = LapSession(ToyRace(tiles=30, missed=(10,)), tmp_path, laps=1)
    drive(session, 29)
    assert not session.done
    assert session.step(GAS) and session.done
    assert Demonstrations.load(tmp_path).finished.tolist() == [False]


def test_a_lap_that_ends_at_the_time_limit_is_saved_as_not_finished(tmp_path: Path) -> None:
    env = gym.wrappers.TimeLimit(ToyRace(tiles=30), 4)
    session = LapSession(env, tmp_path, laps=1)
    drive(session, 4)
    assert session.done and Demonstrations.load(tmp_path).finished.tolist() == [False]


def test_sessions_go_on_with_new_tracks(tmp_path: Path) -> None:
    first = LapSession(ToyRace(), tmp_path, laps=2)
    drive(first, 10)
    assert [lap.seed for lap in list_laps(tmp_path)] == [1000, 1001]
    assert LapSession(ToyRace(), tmp_path).seed == 1002


def test_a_session_ends_when_its_seeds_are_used_up(tmp_path: Path) -> None:
    session = LapSession(ToyRace(tiles=4), tmp_path, laps=3, seeds=[7])
    drive(session, 3)
    assert session.done and session.status["laps"] == 1


def test_which_steps_are_labels() -> None:
    held = [0, 0, 1, 1, 0, 0, 1, 0, 0, 0]
    human = [0, 0, 1, 1, 1, 1, 1, 1, 1, 0]
    assert labelled_steps(held, human).astype(int).tolist() == [0, 0, 1, 1, 1, 1, 1, 0, 0, 0]


class Clone:
    """A policy that always steers right and gives gas; counts its resets."""

    resets = 0

    def __call__(self, observation: np.ndarray) -> np.ndarray:
        return np.array([0.25, 0.5, 0.0])

    def reset(self) -> None:
        self.resets += 1


def test_a_take_over_labels_what_the_human_did_and_nothing_else(tmp_path: Path) -> None:
    clone = Clone()
    left = keyboard_action(True, False, False, False)
    session = LapSession(ToyRace(tiles=40), tmp_path, laps=1, policy=clone)
    assert not session.waiting and not session.human and clone.resets == 1
    assert "take over" in session.status["message"]
    drive(session, 5, NOTHING)  # steps 0 to 4: the clone
    drive(session, 3, left)  # 5 to 7: the human
    assert session.human
    drive(session, 4, NOTHING)  # 8 to 11: lets go for a moment: still the human
    drive(session, 2, left)  # 12, 13
    drive(session, laps.HAND_BACK - 1, NOTHING)  # 14 to 22: lets go for good
    assert session.human
    while not session.done:
        drive(session, 1, NOTHING)
    demo, log = Demonstrations.load(tmp_path), step_log(session.saved[0])
    assert log is not None
    assert np.flatnonzero(log["human"]).tolist() == list(range(5, 23))
    assert np.flatnonzero(log["labelled"]).tolist() == list(range(5, 14))
    assert demo.observations[:, 0, 0, 0].tolist() == list(range(5, 14))
    assert demo.actions[:, 0].tolist() == [-0.5] * 3 + [0.0] * 4 + [-0.5] * 2
    assert demo.sources.tolist() == ["takeover"]
    (lap,) = list_laps(tmp_path)
    assert (lap.labels, lap.steps, lap.total) == (9, len(log), float(len(log)))


def test_a_message_goes_after_a_while(tmp_path: Path) -> None:
    session = LapSession(ToyRace(tiles=200), tmp_path, policy=Clone())
    drive(session, laps.SHOWN, NOTHING)
    assert session.message
    drive(session, 1, NOTHING)
    assert not session.message


def test_a_lap_that_the_clone_drives_alone_leaves_no_file(tmp_path: Path) -> None:
    session = LapSession(ToyRace(), tmp_path, laps=1, policy=Clone())
    drive(session, 5, NOTHING)
    assert session.done and list(tmp_path.iterdir()) == []
    assert "without your help" in session.status["message"]


def test_laps_are_listed_replayed_and_dropped(tmp_path: Path) -> None:
    assert list_laps(tmp_path / "nowhere") == [] and "No laps" in list_laps(tmp_path)._repr_html_()
    drive(LapSession(ToyRace(tiles=20), tmp_path, laps=3), 3 * 19)
    listed = list_laps(tmp_path)
    assert [(lap.seed, lap.steps, lap.finished) for lap in listed] == [
        (1000 + i, 19, True) for i in range(3)
    ]
    assert listed._repr_html_().count("<tr>") == 4 and repr(listed).count("\n") == 3
    assert "The car on track 1001, 19 steps by human" in repr(replay_lap(tmp_path, 1))
    assert [lap.seed for lap in drop_lap(tmp_path, 1)] == [1000, 1002]
    assert Demonstrations.load(tmp_path).seeds.tolist() == [1000, 1002]
    assert len(list((tmp_path / "dropped").iterdir())) == 1
    with pytest.raises(IndexError):
        drop_lap(tmp_path, 2)


def test_without_a_display_the_cell_says_so_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    assert not keyboard.has_display()
    assert keyboard.drive_window(folder=tmp_path) == []
    assert capsys.readouterr().out.count(".") == 1
    monkeypatch.setenv("DISPLAY", ":0")
    assert keyboard.has_display()
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    assert not keyboard.has_display()
    monkeypatch.delenv("SDL_VIDEODRIVER")
    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.delenv("DISPLAY")
    assert keyboard.has_display()
