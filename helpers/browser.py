"""Driving in a notebook cell: the browser shows the car and holds the keys, the kernel drives.

Taught in 03-collect-car-racing. The laps are those of ``helpers.laps``: same files, same rules as
in the pygame window. An anywidget sends the arrow keys that are held, and whether the picture has
the focus; a task on the kernel's event loop steps the car only while it has.

JupyterLab 4.4 and later gives the messages of widgets a thread of their own in the kernel (a
subshell): the car drives on while other cells run. Elsewhere it stands until they are done. Hence
the lock: keys, steps and `end` may come from different threads.
"""

from __future__ import annotations

import asyncio
import base64
import html
import io
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import anywidget
import gymnasium as gym
import numpy as np
from IPython.core.getipython import get_ipython
from IPython.display import HTML, display
from PIL import Image

from helpers.keyboard import STEPS_PER_SECOND, keyboard_action
from helpers.laps import LapSession, list_laps, make_env

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

    Arrow keys drive, R restarts the lap, Escape ends, after which a still picture and the table of
    the folder's laps take its place. With a ``policy`` the policy drives until an arrow key takes
    over; what you do then is saved as labels.

    The cell returns at once. Where nobody drives (no browser, or "Run All"), the next cell runs on
    and finds no laps.
    """

    _esm = Path(__file__).parent / "cockpit.js"
    _css = Path(__file__).parent / "cockpit.css"

    def __init__(
        self,
        policy: Callable[[np.ndarray], Any] | None = None,
        *,
        laps: int = 3,
        folder: str | Path | None = None,
        seeds: Iterable[int] | None = None,
        env: gym.Env | None = None,
        steps_per_second: float = STEPS_PER_SECOND,
    ) -> None:
        super().__init__()
        self._picture = b""  # the latest that shows a car under way
        self.session = LapSession(env or make_env(), folder, laps=laps, seeds=seeds, policy=policy)
        self.steps_per_second = steps_per_second
        self.ended = False
        self.error: Exception | None = None
        self._keys: frozenset[str] = frozenset()
        self._focus = False
        self._task: asyncio.Task[None] | None = None
        self._displays: list[Any] = []
        self._sent = self._seen = 0
        self._shown = 0.0  # when, s
        self._times: deque[float] = deque(maxlen=2 * round(steps_per_second))
        self._lock = threading.RLock()
        self.on_msg(self._receive)

    # -- the kernel's side of the wheel ------------------------------------------------------

    def _receive(self, _: Any, message: dict[str, Any], __: Any) -> None:
        """A word from the browser: keys and focus, a picture that was shown, or an order."""
        if "seen" in message:
            self._seen = max(self._seen, message["seen"])
            return
        with self._lock:
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

    @property
    def running(self) -> bool:
        """Whether the car is being driven, or will be as soon as the kernel is free."""
        task = self._task  # its loop has ended where the browser gave up the kernel's subshell
        return task is not None and not task.done() and task.get_loop().is_running()

    async def _drive(self) -> None:
        """Step and show the car, until the focus goes, the browser is gone or the laps are done."""
        self._times.clear()
        due, period = time.monotonic(), 1 / self.steps_per_second
        while self._focus and not self.ended:
            heard = time.monotonic()
            while self._sent - self._seen >= IN_FLIGHT and self._focus:
                if time.monotonic() - heard > GONE:
                    self._keys, self._focus = frozenset(), False
                await asyncio.sleep(0.005)
            with self._lock:
                if not self._focus or self.ended:
                    return
                try:
                    self._step()
                except Exception as error:  # a task's exception would go unseen
                    self.error = error
                    self.end()
            # a late step is made up for, two are not: the car would jump
            due = max(due, time.monotonic() - period) + period
            await asyncio.sleep(max(due - time.monotonic(), 0.002))

    def _step(self) -> None:
        self._times.append(time.monotonic())
        if self.session.step(self._action()) or self.session.waiting:
            self._times.clear()  # saving took a while, and a car that waits has no pace
        if not self.session.waiting or time.monotonic() - self._shown > STILL:
            self._show()
        if self.session.done:
            self.end()

    def _action(self) -> np.ndarray:
        names = ("ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown")
        return keyboard_action(*(name in self._keys for name in names))

    def end(self) -> None:
        """Stop; the lap under way is lost, the finished ones are on disk."""
        with self._lock:
            if self.ended:
                return
            self.ended, self._focus = True, False
            for shown, new in zip(self._displays, (self._still(), ""), strict=False):
                shown.update(HTML(new))
            self._show()  # where the page was loaded anew, the update above finds no cell

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
        picture = self._jpeg()
        if not self.session.waiting:
            self._picture = picture
        now = self.session.status
        if self.ended:
            now |= {"ended": True, "message": self._words()}
        line = "Lap {lap} of {laps} · return {return} · {tiles} of {track} tiles · speed {speed}"
        now["line"] = line.format(**now) + self._pace()
        if self.session.policy is not None:
            now["line"] += " · you drive" if now["human"] else " · the policy drives"
        self.send({"frame": self._sent, "status": now}, buffers=[picture])

    def _pace(self) -> str:
        if len(self._times) < self.steps_per_second:
            return ""
        pace = (len(self._times) - 1) / (self._times[-1] - self._times[0])
        slow = pace < 0.9 * self.steps_per_second
        wanted = f" (slow: {self.steps_per_second:.0f} wanted)" if slow else ""
        return f" · {pace:.0f} steps/s{wanted}"

    def _still_jpeg(self) -> bytes:
        """The latest picture of the drive, or the start of the track from near."""
        if not self._picture:
            for _ in range(NEAR):
                self.session.env.step(np.zeros(3, np.float32))
            self._picture = self._jpeg()
            self.session.restart()
        return self._picture

    def _words(self) -> str:
        if self.error is not None:
            return f"Driving stopped: {type(self.error).__name__}: {self.error}"
        if self.ended:
            return f"{self.session.driven} of {self.session.laps} laps driven here."
        return "Nobody drives here. Run this cell in JupyterLab to take the wheel."

    def _still(self) -> str:
        """The picture and the laps, as HTML that a saved notebook shows."""
        words = self._words()
        alt = f"The race car on track {self.session.seed}, seen from above. {words}"
        data = base64.b64encode(self._still_jpeg()).decode()
        return (
            f'<img src="data:image/jpeg;base64,{data}" alt="{html.escape(alt)}" width="480">'
            f"<p>{html.escape(words)}</p>{list_laps(self.session.folder)._repr_html_()}"
        )

    def show(self, live: bool | None = None) -> None:
        """Display it: live in a browser, otherwise (or with ``live=False``) a still picture."""
        if not (_in_browser() if live is None else live) or self.ended:
            display(HTML(self._still()))
            return
        data, metadata = self._repr_mimebundle_() or ({}, {})
        data["text/plain"] = ""  # GitHub and nbviewer, without widgets, show the still alone
        self._displays = [display(data, metadata=metadata, raw=True, display_id=True)]
        if "JPY_SESSION_NAME" in os.environ:  # JupyterLab and Notebook 7 know the style
            still = f'<div class="cockpit-still">{self._still()}{EITHER}</div>'
            self._displays.append(display(HTML(still), display_id=True))

    def _ipython_display_(self) -> None:
        self.show()


def _in_browser() -> bool:
    """Whether this cell was run from a notebook on a screen, not by nbconvert or nbval."""
    shell = get_ipython()
    cell = getattr(shell, "parent_header", None) or {}
    return (
        "cellId" in cell.get("metadata", {})
        or "JPY_SESSION_NAME" in os.environ
        or "VSCODE_PID" in os.environ
        or "google.colab" in sys.modules
    )
