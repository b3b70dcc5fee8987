"""The pygame window on a real (virtual) screen: Xvfb shows it, xdotool holds the keys."""

import ctypes
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from lab import skip_or_fail

from helpers.by_hand.laps import list_laps
from helpers.by_hand.window import STEPS_PER_SECOND, keyboard_action
from helpers.demonstrations import Demonstrations

START = 30  # s until the window must be there
GRACE = 20  # s until the window's process must have ended

DRIVE = """
import sys
from helpers.by_hand.window import drive_window
from helpers.by_hand.laps import make_env

laps, limit, folder, patience = *map(int, sys.argv[1:3]), sys.argv[3], float(sys.argv[4])
listed = drive_window(env=make_env(limit), folder=folder, laps=laps, patience=patience)
print("listed", len(listed), flush=True)
"""


@pytest.fixture(scope="module")
def screen() -> Iterator[str]:
    """The name of a virtual screen, ":99" say."""
    missing = [tool for tool in ("Xvfb", "xdotool") if shutil.which(tool) is None]
    if missing:
        skip_or_fail(f"no {' and no '.join(missing)}: apt-get install xvfb xdotool")
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "1280x1024x24", "-nolisten", "tcp"],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    with os.fdopen(read) as pipe:
        number = pipe.readline().strip()  # the server picks a free one and says so when it is up
    if not number:
        server.wait(10)
        skip_or_fail("Xvfb did not start")
    yield f":{number}"
    server.terminate()
    server.wait(10)


class Window:
    """A process that drives in a window on ``screen``."""

    def __init__(
        self, screen: str, folder: Path, laps: int = 1, limit: int = 60, patience: int = 60
    ) -> None:
        self.env = {**os.environ, "DISPLAY": screen}
        self.env.pop("SDL_VIDEODRIVER", None)
        self.env.pop("WAYLAND_DISPLAY", None)
        self.process = subprocess.Popen(
            [sys.executable, "-c", DRIVE, str(laps), str(limit), str(folder), str(patience)],
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        deadline = time.monotonic() + START
        while not (found := self.xdotool("search", "--onlyvisible", "--class", ".")):
            assert self.process.poll() is None, self.process.stdout.read()  # type: ignore[union-attr]
            assert time.monotonic() < deadline, "no window"
            time.sleep(0.1)
        self.id = found.split()[0]
        self.xdotool("windowfocus", "--sync", self.id)  # there is no window manager to do it
        time.sleep(0.3)

    def xdotool(self, *args: str) -> str:
        done = subprocess.run(["xdotool", *args], env=self.env, capture_output=True, text=True)
        return done.stdout

    def hold(self, *keys: str) -> None:
        for key in keys:
            self.xdotool("keydown", key)

    def release(self, *keys: str) -> None:
        for key in keys:
            self.xdotool("keyup", key)

    def start_the_next_lap(self) -> None:
        self.release("Up")
        time.sleep(0.2)
        self.hold("Up")
        time.sleep(0.3)

    def end(self) -> str:
        """Wait until the process has ended by itself, without an error; returns what it printed."""
        out, _ = self.process.communicate(timeout=GRACE)
        assert self.process.returncode == 0, out
        return out


class ClientMessage(ctypes.Structure):
    """Xlib's XClientMessageEvent, padded to the size of an XEvent."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("serial", ctypes.c_ulong),
        ("send_event", ctypes.c_int),
        ("display", ctypes.c_void_p),
        ("window", ctypes.c_ulong),
        ("message_type", ctypes.c_ulong),
        ("format", ctypes.c_int),
        ("data", ctypes.c_long * 5),
        ("padding", ctypes.c_long * 24),
    )


def click_the_cross(window: Window) -> None:
    """What a window manager sends when its cross is clicked; there is no manager here."""
    x11 = ctypes.CDLL("libX11.so.6")
    x11.XOpenDisplay.restype = ctypes.c_void_p
    x11.XInternAtom.restype = ctypes.c_ulong
    display = ctypes.c_void_p(x11.XOpenDisplay(window.env["DISPLAY"].encode()))
    protocols, delete = (
        x11.XInternAtom(display, name, 0) for name in (b"WM_PROTOCOLS", b"WM_DELETE_WINDOW")
    )
    message = ClientMessage(type=33, window=int(window.id), message_type=protocols, format=32)
    message.data[0] = delete
    x11.XSendEvent(display, ctypes.c_ulong(int(window.id)), 0, 0, ctypes.byref(message))
    x11.XCloseDisplay(display)


@pytest.fixture
def window(screen: str, tmp_path: Path) -> Iterator[type]:
    opened: list[Window] = []

    def open_window(**options: int) -> Window:
        opened.append(Window(screen, tmp_path, **options))
        return opened[-1]

    yield open_window
    for each in opened:
        each.release("Up", "Down", "Left", "Right")
        each.process.kill()
        each.process.wait(10)


def runs(actions: np.ndarray) -> list[tuple[np.ndarray, int]]:
    """The actions without their repetitions, and how many steps each was held."""
    cuts = np.flatnonzero(np.any(np.diff(actions, axis=0), axis=1)) + 1
    return [(part[0], len(part)) for part in np.split(actions, cuts)]


def test_the_recorded_actions_are_those_of_the_keys(window, tmp_path: Path) -> None:
    drive = window(limit=150)
    time.sleep(0.6)  # nobody drives yet: nothing is recorded
    sent, since = [], []

    def state(**held: bool) -> None:
        arrows = [held.get(name, False) for name in ("left", "right", "up", "down")]
        sent.append(keyboard_action(*arrows))
        since.append(time.monotonic())
        time.sleep(0.5)  # 12 steps

    drive.hold("Up")
    state(up=True)
    drive.hold("Left")
    state(up=True, left=True)
    drive.release("Up")
    state(left=True)
    drive.hold("Right")  # both
    state(left=True, right=True)
    drive.release("Left")
    state(right=True)
    drive.xdotool("keyup", "Right", "keydown", "Down")
    state(down=True)
    drive.release("Down")
    since.append(time.monotonic())
    assert "listed 1" in drive.end()  # coasts to the time limit

    actions = Demonstrations.load(tmp_path, "CarRacing-v3").actions
    assert len(actions) == 150
    # xdotool can't release one key and press another at once: a step or two lie between
    steady = [run for run in runs(actions) if run[1] > 3]
    np.testing.assert_array_equal([action for action, _ in steady], [*sent, 0 * sent[0]])
    for (_, steps), seconds in zip(steady[:-1], np.diff(since), strict=True):
        assert steps <= STEPS_PER_SECOND * seconds + 8, steady  # xdotool needs a moment to start


def test_r_restarts_the_lap_on_the_same_track(window, tmp_path: Path) -> None:
    drive = window(limit=30)
    drive.hold("Left")
    time.sleep(0.4)
    drive.release("Left")
    drive.xdotool("key", "r")
    time.sleep(0.4)
    drive.hold("Up")
    assert "listed 1" in drive.end()
    (lap,) = list_laps(tmp_path)
    assert (lap.seed, lap.steps) == (1000, 30)
    actions = Demonstrations.load(tmp_path).actions
    np.testing.assert_array_equal(actions, [keyboard_action(False, False, True, False)] * 30)


@pytest.mark.parametrize("way", ["escape", "close"])
def test_ending_early_keeps_the_finished_lap_and_loses_the_one_under_way(
    window, tmp_path: Path, way: str
) -> None:
    drive = window(laps=3, limit=40)
    drive.hold("Up")
    deadline = time.monotonic() + GRACE
    while not list(tmp_path.glob("*.npz")):
        assert time.monotonic() < deadline, "no lap was saved"
        time.sleep(0.05)
    drive.start_the_next_lap()
    if way == "escape":
        drive.xdotool("key", "Escape")
    else:
        click_the_cross(drive)
    assert "listed 1" in drive.end()
    assert [lap.steps for lap in list_laps(tmp_path)] == [40]


def test_a_window_that_nobody_drives_closes_and_says_so(window, tmp_path: Path) -> None:
    drive = window(patience=9)
    assert "No key was pressed for 9 seconds" in drive.end()
    assert not list_laps(tmp_path)


def test_a_killed_window_leaves_only_whole_laps(window, tmp_path: Path) -> None:
    drive = window(laps=3, limit=40)
    drive.hold("Up")
    while not list(tmp_path.glob("*.npz")):
        time.sleep(0.05)
    drive.start_the_next_lap()
    drive.process.kill()
    drive.process.wait(10)
    assert [lap.steps for lap in list_laps(tmp_path)] == [40]
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".npz"]
