"""Keys to action, and laps: recorded, saved as they end, listed, replayed, dropped."""

import errno
import io
import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pygame
import pytest
from PIL import Image

from helpers.by_hand import laps, window
from helpers.by_hand.cockpit import Cockpit
from helpers.by_hand.laps import (
    LapSession,
    drop_lap,
    labelled_steps,
    list_laps,
    replay_lap,
    step_log,
)
from helpers.by_hand.window import keyboard_action
from helpers.demonstrations import Demonstrations, DemonstrationsError
from helpers.worlds.drivers import KeyboardDriver, RacingDriver

GAS = keyboard_action(False, False, True, False)
LEFT = keyboard_action(True, False, False, False)
NOTHING = keyboard_action(False, False, False, False)


class ToyRace(gym.Env):
    """Looks like CarRacing to a LapSession: the picture counts the steps, gas goes on by a tile.

    The lap has ``tiles`` tiles; those in ``missed`` are never visited; ``off`` is the step that
    leaves the field.
    """

    observation_space = gym.spaces.Box(0, 255, (96, 96, 3), np.uint8)
    action_space = gym.spaces.Box(-1, 1, (3,), np.float32)
    spec = gym.spec("FastCarRacing-v3")
    render_mode = "rgb_array"

    def __init__(self, tiles: int = 6, missed: tuple[int, ...] = (), off: int = -1) -> None:
        self.track, self.missed, self.off = list(range(tiles)), missed, off
        self.seeds: list[int | None] = []
        self.car = SimpleNamespace(hull=SimpleNamespace(linearVelocity=(3.0, 4.0)), wheels=[])

    def _view(self) -> np.ndarray:
        return np.full((96, 96, 3), self.steps, np.uint8)

    def render(self) -> np.ndarray:
        return np.zeros((400, 600, 3), np.uint8)

    def _stand_on(self, tile: int) -> None:
        self.car.wheels = [SimpleNamespace(tiles=[SimpleNamespace(idx=tile)])]

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[np.ndarray, dict]:
        self.seeds.append(seed)
        self.steps, self.at, self.tile_visited_count = 0, 0, 1
        self._stand_on(0)
        return self._view(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        assert action.dtype == np.float32
        self.steps += 1
        if action[1] > 0:
            self.at += 1
            self.tile_visited_count += self.at < len(self.track) and self.at not in self.missed
        self._stand_on(self.at % len(self.track))
        if self.steps == self.off:
            return self._view(), -100.0, True, False, {"lap_finished": False}
        done = self.tile_visited_count == len(self.track)
        return self._view(), 1.0, done, False, {"lap_finished": True} if done else {}


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
    assert session.done and session.laps == 1


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
    session = LapSession(ToyRace(tiles=40), tmp_path, laps=1, policy=clone)
    assert not session.waiting and not session.human and clone.resets == 1
    assert "take over" in session.status["message"]
    drive(session, 5, NOTHING)  # steps 0 to 4: the clone
    drive(session, 3, LEFT)  # 5 to 7: the human
    assert session.human
    drive(session, 4, NOTHING)  # 8 to 11: lets go for a moment: still the human
    drive(session, 2, LEFT)  # 12, 13
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


def test_ending_early_keeps_take_overs_and_drops_a_lap_by_hand(tmp_path: Path) -> None:
    beside = LapSession(ToyRace(tiles=40), tmp_path / "beside", laps=2, policy=Clone())
    drive(beside, 5, NOTHING)
    drive(beside, 3, LEFT)
    drive(beside, 2, NOTHING)
    beside.stop()
    (lap,) = list_laps(tmp_path / "beside")
    assert (lap.labels, lap.steps, beside.labels) == (3, 10, 3) and beside.unsaved is None
    assert not Demonstrations.load(lap.path).finished[0]
    drive(beside, 5, NOTHING)  # the next lap, nobody's hand on the wheel
    beside.stop()
    beside.stop()
    assert len(list_laps(tmp_path / "beside")) == 1

    alone = LapSession(ToyRace(tiles=40), tmp_path / "alone", laps=2)
    drive(alone, 5)
    alone.stop()
    assert list_laps(tmp_path / "alone") == [] and alone.labels == 0


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


def tracks(listed: laps.Laps) -> list[int]:
    return [lap.seed for lap in listed]


def test_laps_are_listed_replayed_and_dropped(tmp_path: Path) -> None:
    assert list_laps(tmp_path / "nowhere") == [] and "No laps" in list_laps(tmp_path)._repr_html_()
    drive(LapSession(ToyRace(tiles=20), tmp_path, laps=3), 3 * 19)
    listed = list_laps(tmp_path)
    assert [(lap.seed, lap.steps) for lap in listed] == [(1000 + i, 19) for i in range(3)]
    assert listed._repr_html_().count("<tr>") == 4 and repr(listed).count("\n") == 3
    assert "The car on track 1001, 19 steps by human" in repr(replay_lap(tmp_path, 1))
    file = listed[1].path.name
    for _ in range(2):  # a cell that is run again drops no other lap
        assert tracks(drop_lap(tmp_path, file)) == [1000, 1002]
    assert Demonstrations.load(tmp_path).seeds.tolist() == [1000, 1002]
    assert len(list((tmp_path / "dropped").iterdir())) == 1
    for number in (2, -3):
        with pytest.raises(IndexError, match=f"no lap {number}: .*{tmp_path.name} holds 2 laps"):
            replay_lap(tmp_path, number)
    with pytest.raises(IndexError, match="holds 0 laps"):
        replay_lap(tmp_path / "nowhere")
    for _ in range(2):
        assert tracks(drop_lap(tmp_path, file, undo=True)) == [1000, 1001, 1002]
    for undo in (False, True):
        with pytest.raises(FileNotFoundError, match=r"lap-9\.npz; list_laps"):
            drop_lap(tmp_path, "lap-9.npz", undo=undo)


def test_the_table_says_how_many_tiles_a_lap_touched(tmp_path: Path) -> None:
    session = LapSession(laps.make_env(60), tmp_path, laps=1)
    drive(session, 60)
    world: Any = session.env.unwrapped
    tiles = f"{world.tile_visited_count} of {len(world.track)}"
    assert 5 < world.tile_visited_count < 60
    assert f"{tiles} tiles" in session.status["line"]
    assert tiles in repr(list_laps(tmp_path)) and f"{tiles} tiles" in repr(replay_lap(tmp_path))


def test_the_steps_by_hand_are_told_where_a_policy_drove_too(tmp_path: Path) -> None:
    make_laps(tmp_path / "human", [7])
    assert "by hand" not in repr(list_laps(tmp_path / "human"))
    take_over(tmp_path / "takeover")
    table = repr(list_laps(tmp_path / "takeover"))
    assert table.split()[:5] == ["lap", "track", "steps", "by", "hand"]
    assert table.splitlines()[1].split()[:4] == ["0", "7", "7", "5"]


def test_hands_off_the_keys_the_car_waits_and_the_lap_goes_on(tmp_path: Path) -> None:
    session = LapSession(ToyRace(tiles=20), tmp_path, laps=1)
    drive(session, 3)
    drive(session, laps.HANDS_OFF - 1, NOTHING)
    assert not session.waiting and session.steps == laps.HANDS_OFF + 2
    drive(session, 50, NOTHING)
    assert session.status["waiting"] and session.steps == laps.HANDS_OFF + 2
    assert "Hands off" in session.message
    drive(session)
    assert not session.waiting and not session.message
    drive(session, 15)
    assert Demonstrations.load(tmp_path).lengths.tolist() == [laps.HANDS_OFF + 18]

    beside = LapSession(ToyRace(tiles=999), tmp_path / "takeover", policy=Clone())
    drive(beside, 2 * laps.HANDS_OFF, NOTHING)
    assert beside.steps == 2 * laps.HANDS_OFF  # the policy drives on


def test_hands_off_the_keys_the_car_stops_before_it_leaves_the_field(tmp_path: Path) -> None:
    session = LapSession(laps.make_env(), tmp_path, seeds=[1004])  # of 84 tries the nearest
    driver = KeyboardDriver(session.env)
    drive(session)  # the first key
    while session.steps < 117:
        session.step(driver())
    drive(session, 2 * laps.HANDS_OFF, NOTHING)
    assert 117 + 50 < session.steps < 117 + 1 + laps.HANDS_OFF and session.waiting
    assert "Hands off" in session.message


def test_without_a_display_the_cell_says_so_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    assert not window.has_display()
    assert window.drive_window(folder=tmp_path) == []
    assert capsys.readouterr().out.count(".") == 1
    monkeypatch.setenv("DISPLAY", ":0")
    assert window.has_display()
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    assert not window.has_display()
    monkeypatch.delenv("SDL_VIDEODRIVER")
    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.delenv("DISPLAY")
    assert window.has_display()


# -- what can go wrong ---------------------------------------------------------------------------


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """A function that fills the disk up, and makes room again."""
    full, fsync = False, os.fsync

    def sync(file: int) -> None:
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(file)

    def fill(now: bool) -> None:
        nonlocal full
        full = now

    monkeypatch.setattr("os.fsync", sync)
    return fill


def test_a_folder_that_cannot_be_written_is_told_before_driving(
    tmp_path: Path, full_disk: Callable[[bool], None]
) -> None:
    full_disk(True)
    env = ToyRace()
    with pytest.raises(OSError, match=r"can't write .*No space left.*IL_DATA"):
        LapSession(env, tmp_path)
    assert env.seeds == [] and list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"can't write .*IL_DATA"):
        LapSession(env, tmp_path / "file" / "laps")


@pytest.mark.parametrize("policy", [None, lambda observation: LEFT])
def test_a_disk_that_fills_up_loses_no_lap(
    tmp_path: Path, full_disk: Callable[[bool], None], policy: Any
) -> None:
    env = ToyRace(tiles=4)
    session = LapSession(env, tmp_path, laps=2, seeds=[70, 71], policy=policy)
    full_disk(True)
    drive(session, 3)
    for _ in range(3):  # presses of a key: each tries again
        assert "Not saved (No space left on device)" in session.status["message"]
        assert (session.driven, session.steps, env.steps, env.seeds) == (0, 3, 3, [70])
        session.restart()  # R doesn't lose it either
        drive(session, 2, NOTHING)
        drive(session)
    with pytest.raises(OSError, match="can't write"):
        session.save_again()
    assert list(tmp_path.iterdir()) == [] and not session.status["waiting"]
    full_disk(False)
    assert not session.step(GAS)  # still held since the last try
    session.step(NOTHING)
    assert session.step(GAS) and "Lap 1 of 2: 3 points, saved" in session.message
    assert Demonstrations.load(tmp_path).lengths.tolist() == [3] and env.seeds == [70, 71]
    assert len(list(tmp_path.glob("*.npy"))) == (policy is not None)

    full_disk(True)
    drive(session, 3)
    assert not session.done
    full_disk(False)
    session.save_again()
    session.save_again()
    assert session.done and [lap.seed for lap in list_laps(tmp_path)] == [70, 71]


@pytest.mark.parametrize("leave", [False, True])
def test_a_window_keeps_a_lap_that_is_not_saved(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    full_disk: Callable[[bool], None],
    leave: bool,
) -> None:
    """The disk is full when the lap ends; seconds later a key saves it, or Escape is pressed."""
    call = -1

    def get_action() -> np.ndarray:
        nonlocal call
        call += 1
        assert call < 20
        if call == 1:
            full_disk(True)
        if call == 10:  # the lap ended with call 5
            assert list(tmp_path.glob("*.npz")) == []
            full_disk(leave)
            if leave:
                pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_ESCAPE))
        return GAS if 1 <= call <= 5 or call == 10 else NOTHING

    def run() -> list[Any]:
        env = ToyRace(tiles=6)
        return window.drive_window(get_action, env=env, folder=tmp_path, laps=1, patience=1.5)

    monkeypatch.setattr(window, "has_display", lambda: True)
    monkeypatch.setattr(window, "STEPS_PER_SECOND", 1000)
    monkeypatch.setattr(pygame.time, "get_ticks", lambda: 1000 * call)
    if leave:
        with pytest.raises(OSError, match="No space left"):
            run()
    else:
        assert [lap.steps for lap in run()] == [5]


def test_arrays_that_are_changed_in_place_are_copied(tmp_path: Path) -> None:
    reused = np.zeros(3)

    def painter(observation: np.ndarray) -> np.ndarray:
        reused[0] += 0.125
        observation[:] = 99
        return reused

    session = LapSession(ToyRace(tiles=6), tmp_path / "a", laps=1, policy=painter)
    drive(session, 1, NOTHING)  # the policy
    key = np.zeros(3, np.float32)
    for gas in (0.1, 0.2, 0.3, 0.4, 0.5):
        key[1] = gas
        session.step(key)
    demo = Demonstrations.load(tmp_path / "a")
    np.testing.assert_allclose(demo.actions[:, 1], [0.1, 0.2, 0.3, 0.4, 0.5])
    assert demo.observations[:, 0, 0, 0].tolist() == [1, 2, 3, 4, 5]

    class OneBuffer(ToyRace):  # an environment that reuses its picture
        picture = np.zeros((96, 96, 3), np.uint8)

        def _view(self) -> np.ndarray:
            self.picture[:] = self.steps
            return self.picture

    drive(LapSession(OneBuffer(tiles=6), tmp_path / "b", laps=1), 5)
    assert Demonstrations.load(tmp_path / "b").observations[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (np.full(3, np.nan), ValueError, "NaN"),
        (np.array([0.0, 3.0, 0.0]), ValueError, r"np\.clip"),
        (np.zeros(4), TypeError, "shape"),
        (None, TypeError, "None"),
    ],
)
def test_a_policy_whose_answer_is_no_action_stops_the_lap(
    tmp_path: Path, answer: Any, error: type[Exception], words: str
) -> None:
    session = LapSession(ToyRace(), tmp_path, policy=lambda observation: answer)
    with pytest.raises(error, match=words):
        drive(session, 1, NOTHING)
    assert session.steps == 0
    for bad in (
        RacingDriver,
        "clone",
        RacingDriver(laps.make_env()),
    ):  # a class, no callable, another's
        with pytest.raises((TypeError, ValueError), match=r"no policy|another environment"):
            LapSession(ToyRace(), tmp_path, policy=bad)  # type: ignore[arg-type]


def test_environments_that_cannot_be_shown_or_recorded_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window, "has_display", lambda: True)
    blind = gym.make("FastCarRacing-v3")
    for start in (LapSession, window.drive_window, Cockpit):
        with pytest.raises(ValueError, match='render_mode="rgb_array"'):
            start(env=blind, folder=tmp_path)
    grey = gym.wrappers.GrayscaleObservation(ToyRace())
    with pytest.raises(ValueError, match="wrappers"):
        LapSession(grey, tmp_path)
    with pytest.raises(ValueError, match=r"MountainCar-v0|takes"):
        LapSession(gym.make("CarRacing-v3", render_mode="rgb_array", continuous=False), tmp_path)


def test_laps_and_seeds_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    for wrong in (0, -1):
        with pytest.raises(ValueError, match=f"laps is {wrong}"):
            LapSession(ToyRace(), tmp_path, laps=wrong)
    for bad in ([], ["3"], [-1], 5):
        with pytest.raises((TypeError, ValueError), match="seed"):
            LapSession(ToyRace(), tmp_path, seeds=bad)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_endless_seeds_are_as_many_as_laps(tmp_path: Path) -> None:
    session = LapSession(ToyRace(tiles=4), tmp_path, laps=2, seeds=itertools.count(5))
    drive(session, 6)
    assert session.done and [lap.seed for lap in list_laps(tmp_path)] == [5, 6]


def make_laps(folder: Path, seeds: list[int], steps: int = 5) -> Demonstrations:
    drive(LapSession(ToyRace(tiles=steps + 1), folder, laps=len(seeds), seeds=seeds), 999)
    return Demonstrations.load(folder)


def test_a_file_of_three_laps_is_listed_as_three_and_a_hidden_one_not(tmp_path: Path) -> None:
    short = make_laps(tmp_path / "short", [6, 7, 8], steps=5)
    long = make_laps(tmp_path / "long", [9], steps=16)
    Demonstrations.concatenate([short[1:], long]).save(tmp_path / "b-three.npz")
    short[0].save(tmp_path / "a-one.npz")
    (tmp_path / "._a-one.npz").write_bytes(b"what macOS leaves on other systems' disks")
    listed, loaded = list_laps(tmp_path), Demonstrations.load(tmp_path)
    assert [lap.seed for lap in listed] == loaded.seeds.tolist() == [6, 7, 8, 9]
    assert [lap.steps for lap in listed] == loaded.lengths.tolist() == [5, 5, 5, 16]
    assert [lap.total for lap in listed] == loaded.returns.tolist()
    replay = replay_lap(tmp_path, 3)
    assert "track 9, 16 steps" in repr(replay)
    assert Image.open(io.BytesIO(replay.data)).n_frames == 4  # every fourth
    assert LapSession(ToyRace(), tmp_path, seeds=None).seed == 1000
    assert tracks(drop_lap(tmp_path, "a-one.npz")) == [7, 8, 9]
    assert drop_lap(tmp_path, "b-three.npz") == []  # as a whole
    assert tracks(drop_lap(tmp_path, "b-three.npz", undo=True)) == [7, 8, 9]


def test_the_pictures_are_not_unpacked_for_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_laps(tmp_path, [7, 8])
    read, unpack = set(), np.lib.npyio.NpzFile.__getitem__

    def note(self: Any, name: str) -> np.ndarray:
        read.add(name)
        return unpack(self, name)

    monkeypatch.setattr(np.lib.npyio.NpzFile, "__getitem__", note)
    assert len(list_laps(tmp_path)) == 2
    assert "rewards" in read and not {"observations", "actions"} & read


def test_what_is_no_lap_is_refused_by_name(tmp_path: Path) -> None:
    make_laps(tmp_path, [7])
    zero = np.zeros(1, np.int64)
    car = Demonstrations(
        "MountainCar-v0", np.zeros((1, 2), np.float32), zero, np.zeros(1, np.float32),
        zero + 1, zero, zero > 0, np.array(["expert"]),
    )  # fmt: skip
    path = car.save(tmp_path / "runs.npz")
    with pytest.raises(DemonstrationsError, match=r"runs\.npz holds MountainCar-v0"):
        list_laps(tmp_path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DemonstrationsError, match=r"runs\.npz .*; delete it"):
        list_laps(tmp_path)


def take_over(folder: Path, seed: int = 7) -> Path:
    session = LapSession(ToyRace(tiles=8), folder, seeds=[seed], policy=lambda observation: GAS)
    drive(session, 2, NOTHING)
    drive(session, 5)
    (path,) = session.saved
    return path


def test_a_damaged_log_leaves_its_lap_listed(tmp_path: Path) -> None:
    path = take_over(tmp_path)
    assert [(lap.steps, lap.labels) for lap in list_laps(tmp_path)] == [(7, 5)]
    log = path.with_suffix(".npy")
    whole = log.read_bytes()
    for damaged in (b"", whole[:40], whole[:-5], b"PK" + whole, whole.replace(b"human", b"robot")):
        log.write_bytes(damaged)
        assert step_log(path) is None
        assert [(lap.steps, lap.labels) for lap in list_laps(tmp_path)] == [(5, 5)]
        LapSession(ToyRace(), tmp_path)


def test_drops_take_names_as_they_are_and_never_overwrite(tmp_path: Path) -> None:
    def lap(name: str, seed: int) -> None:
        path = take_over(tmp_path / "new", seed)
        for end in (".npz", ".npy"):
            path.with_suffix(end).rename(tmp_path / f"{name}{end}")

    lap("lap1", 7)
    lap("lap[1]", 8)  # as a pattern it matches the first, and not itself
    assert [lap.path.stem for lap in drop_lap(tmp_path, "lap[1].npz")] == ["lap1"]
    assert step_log(tmp_path / "lap1.npz") is not None
    assert drop_lap(tmp_path, "lap1.npz") == []
    for seed in (9, 10):
        lap("lap1", seed)
        assert drop_lap(tmp_path, "lap1.npz") == []
    dropped = list_laps(tmp_path / "dropped")
    assert {lap.path.stem: lap.seed for lap in dropped} == {
        "lap1": 7, "lap[1]": 8, "lap1-1": 9, "lap1-2": 10,
    }  # fmt: skip
    assert [lap.steps for lap in dropped] == [7] * 4  # each with its log
    lap("lap1", 11)
    assert sorted(tracks(drop_lap(tmp_path, "lap1.npz", undo=True))) == [7, 11]
    assert [lap.steps for lap in list_laps(tmp_path)] == [7, 7]


def test_the_table_can_be_printed_in_a_windows_console(tmp_path: Path) -> None:
    make_laps(tmp_path, [7, 8])
    for path, name in zip(sorted(tmp_path.iterdir()), ("наш-круг", "Ünser"), strict=True):
        path.rename(tmp_path / f"{name}.npz")
    code = f"from helpers.by_hand.laps import list_laps; print(list_laps({str(tmp_path)!r}))"
    env = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    out = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=True)
    assert "Ünser.npz" in (text := out.stdout.decode("cp1252")) and "???-????.npz" in text
    assert "наш-круг.npz" in list_laps(tmp_path)._repr_html_()
