"""Driving in a notebook cell: the browser shows the car and holds the keys, the kernel drives.

Taught in 03-collect-car-racing. An anywidget sends the arrow keys that are held, and whether the
picture has the focus; a task on the kernel's event loop steps the car only while it has.

JupyterLab 4.4 and later gives the messages of widgets a thread of their own in the kernel (a
subshell): the car drives on while other cells run. Elsewhere it stands until they are done. Hence
the lock: keys, steps and `end` may come from different threads.
"""

from __future__ import annotations

import asyncio
import html
import io
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anywidget
import gymnasium as gym
import numpy as np
from IPython.core.getipython import get_ipython
from IPython.display import HTML, display
from PIL import Image

from helpers.by_hand.laps import LapSession, list_laps, make_env
from helpers.by_hand.window import STEPS_PER_SECOND, keyboard_action
from helpers.rollouts import Policy
from helpers.show import Picture

__all__ = ["Cockpit"]

IN_FLIGHT = 3  # pictures on their way that the browser has not shown yet
NEAR = 60  # steps until the opening zoom is over
STILL = 0.5  # s between pictures while the car waits
GONE = 2.0  # s without a word from the browser until we take it for closed
# A saved widget has no model when its notebook is opened again, and JupyterLab says so in red. A
# still picture stands behind it, of which the reader sees one or the other.
EITHER = """<style>
.jp-OutputArea-child:has(.cockpit) + .jp-OutputArea-child:has(.cockpit-still),
.jp-OutputArea-child:not(:has(.cockpit)):has(+ .jp-OutputArea-child .cockpit-still) {
  display: none;
}
</style>"""


class Cockpit(anywidget.AnyWidget):
    """Drive ``laps`` laps in the cell that shows this; `LapSession` has the arguments.

    Arrow keys drive, R restarts the lap, Escape pauses, and Escape again ends, after which a still
    picture and the table of the folder's laps take its place. With a ``policy`` the policy drives
    until an arrow key takes over; what you do then is saved as labels. An error ends the drive, and
    is shown in the cell.

    The cell returns at once. Where nobody drives (no browser, or "Run All"), the next cell runs on
    and finds no laps.
    """

    _esm = Path(__file__).parent / "cockpit.js"
    _css = Path(__file__).parent / "cockpit.css"

    def __init__(
        self,
        policy: Policy | None = None,
        *,
        laps: int = 3,
        folder: str | Path | None = None,
        seeds: Iterable[int] | None = None,
        env: gym.Env | None = None,
    ) -> None:
        super().__init__()
        self._picture = b""  # the latest that shows a car under way
        self.session = LapSession(env or make_env(), folder, laps=laps, seeds=seeds, policy=policy)
        self.ended = False
        self.error: Exception | None = None
        self._out = getattr(get_ipython(), "execution_count", 0)  # the cell that shows it
        self._keys: frozenset[str] = frozenset()
        self._focus = False
        self._task: asyncio.Task[None] | None = None
        self._displays: list[Any] = []
        self._sent = self._seen = 0
        self._shown = 0.0  # when, s
        self._times: deque[float] = deque(maxlen=2 * STEPS_PER_SECOND)
        self._lock = threading.RLock()
        self.on_msg(self._receive)

    # -- the kernel's side of the wheel ------------------------------------------------------

    def _receive(self, _: Any, message: dict[str, Any], __: Any) -> None:
        """A word from the browser: keys and focus, a picture that was shown, or an order."""
        with self._lock, self._ending_on_error():
            if "seen" in message:
                self._seen = max(self._seen, message["seen"])
            else:
                self._keys = frozenset(message["keys"])
                self._focus = message["focus"]
            match message.get("do"):
                case "restart" if not self.ended:
                    self.session.restart()
                case "end":
                    self.end()
            if message.get("do"):
                self._show()
            if self._focus and not self.ended and not self.running:
                self._seen = self._sent
                self._task = asyncio.get_running_loop().create_task(self._drive())

    @contextmanager
    def _ending_on_error(self) -> Iterator[None]:
        """A task's exception, or a message's, would go unseen."""
        try:
            yield
        except Exception as error:
            self.error = error
            self.end()

    @property
    def running(self) -> bool:
        """Whether the car is being driven, or will be as soon as the kernel is free."""
        task = self._task  # its loop has ended where the browser gave up the kernel's subshell
        return task is not None and not task.done() and task.get_loop().is_running()

    async def _drive(self) -> None:
        """Step and show the car, until the focus goes, the browser is gone or the laps are done."""
        self._times.clear()
        due, period = time.monotonic(), 1 / STEPS_PER_SECOND
        while self._focus and not self.ended:
            heard = time.monotonic()
            while self._sent - self._seen >= IN_FLIGHT and self._focus:
                if time.monotonic() - heard > GONE:
                    return  # its next word, if one comes, starts this again
                await asyncio.sleep(0.005)
            with self._lock, self._ending_on_error():
                if not self._focus or self.ended:
                    return
                self._step()
            # a late step is made up for, two are not: the car would jump
            due = max(due, time.monotonic() - period) + period
            await asyncio.sleep(max(due - time.monotonic(), 0.002))

    def _step(self) -> None:
        self._times.append(time.monotonic())
        waited = self.session.waiting
        keys = (f"Arrow{way}" in self._keys for way in ("Left", "Right", "Up", "Down"))
        if self.session.step(keyboard_action(*keys)) or self.session.waiting:
            self._times.clear()  # saving took a while, and a car that waits has no pace
        if not (waited and self.session.waiting) or time.monotonic() - self._shown > STILL:
            self._show()
        if self.session.done:
            self.end()

    def end(self) -> None:
        """Stop. Finished laps are on disk; of the one under way, take-overs are saved as labels."""
        with self._lock:
            if self.ended:
                return
            self.ended, self._focus = True, False
            try:
                self.session.stop()
                still = self._still()
            except Exception as error:  # whatever it is, the page hears of the end
                self.error = self.error or error
                still = f"<p>{html.escape(self._words())}</p>"
            self._show()  # where the page was loaded anew, the update below finds no cell
            for shown, new in zip(self._displays, (still, ""), strict=False):
                shown.update(HTML(new))

    # -- what is seen ------------------------------------------------------------------------

    def _jpeg(self) -> bytes:
        picture: Any = self.session.env.render()
        file = io.BytesIO()
        # no chroma subsampling: it smears the red and white kerbs
        Image.fromarray(picture).save(file, "JPEG", quality=90, subsampling=0)
        return file.getvalue()

    def _show(self) -> None:
        self._sent += 1
        self._shown = time.monotonic()
        status: dict[str, Any] = {"ended": True, "message": self._words()}
        picture = self._picture
        if not self.ended:
            status, picture = self.session.status, self._jpeg()
            status["line"] = self._pace() + status["line"]
            if not self.session.waiting:
                self._picture = picture
        self.send({"frame": self._sent, "status": status}, buffers=[picture] if picture else [])

    def _pace(self) -> str:
        if len(self._times) < STEPS_PER_SECOND:
            return ""
        pace = (len(self._times) - 1) / (self._times[-1] - self._times[0])
        slow = pace < 0.9 * STEPS_PER_SECOND
        return f"{pace:.0f} of {STEPS_PER_SECOND} steps/s · " if slow else ""

    def _words(self) -> str:
        if not self.ended:
            return "Nobody drives here. Run this cell in JupyterLab to take the wheel."
        words = f"{self.session.driven} of {self.session.laps} laps driven here."
        if self.session.policy is not None:
            words += f" {self.session.labels:,} steps of yours are saved as labels."
        words += " Go on with the next cell; to drive more laps, run this one again."
        if self.error is not None:
            words += f" Driving stopped: {type(self.error).__name__}: {self.error}"
        if self.session.unsaved:
            order = f"Out[{self._out}].session.save_again()"
            words += f"\nThe last lap is kept: to save it, run {order} in a cell."
        return words

    def _still(self) -> str:
        """The latest picture of the drive and the laps, as HTML that a saved notebook shows."""
        if not self._picture:  # the start of the track, from near
            for _ in range(NEAR):
                self.session.env.step(np.zeros(3, np.float32))
            self._picture = self._jpeg()
            self.session.restart()
        words = self._words()
        alt = f"The race car on track {self.session.seed}, seen from above. {words}"
        img = Picture(self._picture, "jpeg", alt, 480)._repr_mimebundle_()["text/html"]
        listed = list_laps(self.session.folder)._repr_html_()
        return f"{img}<p>{html.escape(words)}</p>{listed}"

    def _ipython_display_(self) -> None:
        if self.ended or not _in_browser():
            display(HTML(self._still()))
            return
        data, metadata = self._repr_mimebundle_() or ({}, {})
        data["text/plain"] = ""  # GitHub and nbviewer, without widgets, show the still alone
        self._displays = [display(data, metadata=metadata, raw=True, display_id=True)]
        if "JPY_SESSION_NAME" in os.environ:  # JupyterLab and Notebook 7 know the style
            still = f'<div class="cockpit-still">{self._still()}{EITHER}</div>'
            self._displays.append(display(HTML(still), display_id=True))


def _in_browser() -> bool:
    """Whether this cell was run from a notebook on a screen, not by nbconvert or nbval."""
    cell = getattr(get_ipython(), "parent_header", None) or {}
    hosts = {"JPY_SESSION_NAME", "VSCODE_PID", "google.colab"}
    return "cellId" in cell.get("metadata", {}) or bool(hosts & {*os.environ, *sys.modules})
