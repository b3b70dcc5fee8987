"""The cockpit in a real browser: JupyterLab and Notebook 7 in headless Chromium, with real keys."""

import ast
import asyncio
import builtins
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
import torch
from lab import KERNEL_STATUS, JupyterLab, NotebookPage
from nbclient import NotebookClient

from helpers.by_hand import cockpit as module
from helpers.by_hand.cockpit import Cockpit
from helpers.by_hand.laps import list_laps, make_env, step_log
from helpers.by_hand.window import keyboard_action
from helpers.demonstrations import Demonstrations

APPS = ("lab", "notebook")
REPEAT = 0.033  # s between the repeats of a key that is held
PATIENCE = 60  # s, on a busy machine, for what takes a few
STAGE = ".cockpit-stage"
WHERE = """() => {
    const notebook = window.jupyterapp.shell.currentWidget.content;
    return [notebook.activeCellIndex, notebook.mode, Math.round(notebook.outerNode.scrollTop)];
}"""
ASK = """async (code) => {
    const { kernel } = window.jupyterapp.shell.currentWidget.sessionContext.session;
    const future = kernel.requestExecute({ code, store_history: false });
    let out = "";
    future.onIOPub = ({ header, content }) => {
        if (header.msg_type === "stream") out += content.text;
        if (header.msg_type === "error") out += `"${content.ename}: ${content.evalue}"`;
    };
    await future.done;
    return out;
}"""
RUN_CELL = """(index) => {
    window.jupyterapp.shell.currentWidget.content.activeCellIndex = index;
    return window.jupyterapp.commands.execute("notebook:run-cell");
}"""
SCROLL_TO = """(edge) => {
    const outer = window.jupyterapp.shell.currentWidget.content.outerNode;
    const [window_, stage] = [outer, document.querySelector('.cockpit-stage')].map(
        (node) => node.getBoundingClientRect());
    const [from, inward] = edge === 'top' ? [stage.bottom, 40] : [stage.top, -40];
    outer.scrollTop += from - window_[edge] - inward;
    return [stage.left + 40, window_[edge] + inward / 2];
}"""
IN_VIEW = """() => {
    const outer = window.jupyterapp.shell.currentWidget.content.outerNode.getBoundingClientRect();
    return [...document.querySelectorAll('.cockpit-picture, .cockpit-key')].every((node) => {
        const { top, bottom } = node.getBoundingClientRect();
        return top >= outer.top && bottom <= outer.bottom + 1;
    });
}"""
SET_UP = """
import json
from ipywidgets.widgets.widget import _instances
from helpers.by_hand.cockpit import Cockpit
from helpers.by_hand.laps import make_env

def running():  # cars that are driven
    return sum(getattr(w, "running", False) is True for w in list(_instances.values()))
"""


class Seat:
    """A driver's seat: a notebook in the browser, and hands for its keys."""

    def __init__(self, notebook: NotebookPage) -> None:
        self.notebook, self.page = notebook, notebook.page
        self.down: list[str] = []
        self.sent: list[np.ndarray] = []  # the actions of the keys that were held a while

    def ask(self, expression: str) -> Any:
        """The value of a Python expression in the kernel."""
        return json.loads(self.page.evaluate(ASK, f"print(json.dumps({expression}))"))

    def until(self, expression: str, timeout: float = PATIENCE) -> None:
        deadline = time.monotonic() + timeout
        while not self.ask(expression):
            assert time.monotonic() < deadline, f"not within {timeout} s: {expression}"
            self.page.wait_for_timeout(100)

    def run_cell(self, index: int) -> None:
        """Run a cell, and wait for the kernel."""
        self.page.evaluate(RUN_CELL, index)
        self.notebook._until(f"() => ({KERNEL_STATUS})() === 'idle'", "the cell has run")

    def sit(self, which: int = 0) -> None:
        """Click a picture, and wait until the kernel answers."""
        self.page.locator(STAGE).nth(which).click()
        self.page.locator(".cockpit.driving").wait_for()
        self.wait_for_hint("Press an arrow key")

    def wait_for_hint(self, words: str, timeout: float = PATIENCE) -> None:
        hint = self.page.locator(".cockpit-hint", has_text=words).first
        hint.wait_for(timeout=timeout * 1000)

    def look_away(self) -> None:
        """Click an empty place of the page."""
        size = self.page.viewport_size
        self.page.mouse.click(size["width"] - 60, size["height"] - 80)

    def steps(self) -> int:
        return int(self.ask("cockpit.session.steps"))

    def hold(self, seconds: float, *keys: str, least: int = 0) -> None:
        """Hold these arrows and no other, with the repeats that a keyboard sends.

        ``least`` steps of the car, for machines that are busy.
        """
        for key in [key for key in self.down if key not in keys]:
            self.page.keyboard.up(f"Arrow{key}")
        for key in [key for key in keys if key not in self.down]:
            self.page.keyboard.down(f"Arrow{key}")
        self.down = list(keys)
        self.sent.append(keyboard_action(*(k in keys for k in ("Left", "Right", "Up", "Down"))))
        end = time.monotonic() + seconds
        enough = self.steps() + least if least else 0
        while time.monotonic() < end or (least and self.steps() < enough):
            assert time.monotonic() < end + PATIENCE, "the car stands"
            time.sleep(REPEAT)
            if keys:  # as a keyboard does, the key that was pressed last
                self.page.keyboard.down(f"Arrow{keys[-1]}")


@pytest.fixture
def take_seat(
    jupyterlab: JupyterLab, open_notebook: Callable[..., NotebookPage], tmp_path: Path
) -> Iterator[Callable[..., Seat]]:
    """A function: sources of cells -> a seat before that notebook, every cell run once.

    ``folder`` is ``tmp_path`` in the cells. The notebook is long enough to scroll.
    """
    seats: list[Seat] = []

    def take_seat(*sources: str, app: str = "lab") -> Seat:
        set_up = f"{SET_UP}\nfolder = {str(tmp_path)!r}"
        cells = [nbformat.v4.new_code_cell(source) for source in (set_up, *sources)]
        cells += [nbformat.v4.new_markdown_cell("A long text.\n\n" * 60)]
        nb = nbformat.v4.new_notebook(cells=cells)
        nb.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
        name = jupyterlab.add(nb, f"{tmp_path.name}.ipynb")
        seats.append(Seat(open_notebook(name, app)))
        seats[-1].notebook.run_all(60)
        assert seats[-1].notebook.errors() == []
        return seats[-1]

    yield take_seat
    for seat in seats:
        if not seat.page.is_closed():
            seat.page.evaluate(
                "() => window.jupyterapp?.shell?.currentWidget?.sessionContext?.shutdown()"
            )


def steady(actions: np.ndarray, least: int) -> np.ndarray:
    """The actions that were held for ``least`` steps or more, one of each run."""
    cuts = np.flatnonzero(np.any(np.diff(actions, axis=0), axis=1)) + 1
    return np.array([run[0] for run in np.split(actions, cuts) if len(run) >= least])


@pytest.mark.parametrize("app", APPS)
def test_the_recorded_actions_are_those_of_the_keys(take_seat, tmp_path: Path, app: str) -> None:
    seat = take_seat(
        "cockpit = Cockpit(folder=folder, env=make_env(130), laps=1)\ncockpit",
        "after = len(cockpit.session.saved)",
        app=app,
    )
    assert seat.ask("[after, running(), cockpit.ended]") == [0, 0, False]  # Run All went past it
    seat.sit()
    before = seat.page.evaluate(WHERE)
    time.sleep(0.5)
    assert seat.steps() == 0  # the car waits for the first key
    seat.hold(0.5, "Up", least=8)
    seat.hold(0.5, "Up", "Left", least=8)
    seat.hold(0.5, "Left", least=8)
    seat.hold(0.5, "Left", "Right", least=8)
    seat.hold(0.5, "Right", "Down", least=8)
    seat.hold(0.5, "Down", least=8)
    assert seat.page.evaluate(WHERE) == before  # neither scrolled nor another cell
    assert "1 of 1" in seat.page.locator(".cockpit-line").inner_text()

    # the focus goes while a key is held: the key is let go, and the car stops
    seat.look_away()
    seat.page.locator(".cockpit:not(.driving)").wait_for()
    seat.wait_for_hint("Click the picture")
    seat.until("running() == 0")
    steps = seat.steps()
    time.sleep(0.3)
    assert seat.steps() == steps
    assert 48 <= steps <= 100
    seat.page.keyboard.up("ArrowDown")
    seat.down = []
    seat.page.locator(STAGE).click()
    seat.hold(0.4, least=6)  # no key: were Down still held, there would be no such run
    seat.hold(0.4, "Up", least=6)
    seat.page.locator(STAGE).wait_for(state="detached", timeout=PATIENCE * 1000)  # the lap's end
    seat.page.keyboard.up("ArrowUp")

    demo = Demonstrations.load(tmp_path, "CarRacing-v3")
    assert demo.lengths.tolist() == [130]
    np.testing.assert_array_equal(steady(demo.actions, 4), seat.sent)

    # a picture and the table took its place, and that is what is saved
    output, nothing = seat.notebook.cells()[1]["outputs"]
    assert nothing["data"]["text/html"] == ""
    assert set(output["data"]) == {"text/html", "text/plain"}
    assert "1 of 1 laps driven here" in output["data"]["text/html"]
    assert "<table>" in output["data"]["text/html"]
    assert seat.notebook.images()[0]["alt"].startswith("The race car on track 1000")
    assert seat.ask("running()") == 0


def test_restart_buttons_escape_and_a_cell_run_again(take_seat, tmp_path: Path) -> None:
    seat = take_seat(
        "first = Cockpit(folder=folder, env=make_env(30), laps=3)\nfirst",
        "second = Cockpit(folder=folder, env=make_env(30), laps=3, seeds=[7, 8, 9])\nsecond",
    )
    # R forgets the lap; the on-screen buttons drive as the keys do
    seat.sit()
    seat.hold(0.3, "Left")
    seat.hold(0)
    seat.page.keyboard.press("r")
    seat.wait_for_hint("Press an arrow key")
    assert seat.ask("first.session.steps") == 0
    seat.page.locator(".cockpit-key", has_text="gas").first.hover()
    seat.page.mouse.down()
    seat.wait_for_hint("Lap 1 of 3")
    seat.page.mouse.up()
    gas = keyboard_action(False, False, True, False)
    np.testing.assert_array_equal(Demonstrations.load(tmp_path).actions, [gas] * 30)

    # two cockpits: the one without the focus stands still
    seat.hold(0.2)
    seat.hold(0.3, "Up")
    seat.page.locator(STAGE).nth(1).click()
    seat.hold(0.2)
    seat.until("running() == 1")
    steps = seat.ask("first.session.steps")
    seat.hold(0.4, "Right")
    assert 0 < steps == seat.ask("first.session.steps") < 30
    assert 0 < seat.ask("second.session.steps") < 30

    # a cell that is run again leaves nothing running, and no lap is lost
    seat.hold(0)
    seat.run_cell(2)
    seat.until("running() == 0")
    assert seat.ask("second.session.steps") == 0  # a new one
    assert [lap.seed for lap in list_laps(tmp_path)] == [1000]

    # the first one's lap goes on where it stood
    seat.page.locator(STAGE).nth(0).click()
    seat.hold(0.3, "Up")
    seat.wait_for_hint("Lap 2 of 3")
    seat.hold(0)
    assert [(lap.seed, lap.steps) for lap in list_laps(tmp_path)] == [(1000, 30), (1001, 30)]

    # Escape pauses, and an arrow key or a click goes on; Escape again ends
    seat.hold(0.2)
    seat.hold(0.3, "Up")
    for go_on in (lambda: seat.hold(0.3, "Right"), seat.page.locator(STAGE).nth(0).click):
        seat.page.keyboard.press("Escape")
        seat.wait_for_hint("Paused")
        seat.hold(0)
        seat.until("running() == 0")
        steps = seat.ask("first.session.steps")
        time.sleep(0.3)
        assert steps == seat.ask("first.session.steps") > 0
        go_on()
        seat.until(f"{steps} < first.session.steps < 30")
    seat.page.keyboard.press("Escape")
    seat.page.keyboard.press("Escape")
    seat.until("first.ended and running() == 0")
    seat.page.locator(STAGE).nth(1).wait_for(state="detached")
    html = seat.notebook.cells()[1]["outputs"][0]["data"]["text/html"]
    assert "2 of 3 laps driven here" in html and "run this one again" in html
    assert ">1001</td>" in html and [lap.steps for lap in list_laps(tmp_path)] == [30, 30]


def test_a_closed_tab_and_a_restarted_kernel(take_seat, jupyterlab, tmp_path: Path) -> None:
    seat = take_seat("cockpit = Cockpit(folder=folder, env=make_env(30), laps=9)\ncockpit")
    seat.sit()
    seat.hold(0.2, "Up")
    seat.wait_for_hint("Lap 1 of 9")  # 30 steps
    seat.hold(0.2)
    seat.hold(0.2, "Up")

    # the page is loaded anew, without a word: the car stops
    seat.page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
    address = seat.page.url
    seat.page.goto("about:blank")
    seat.down = []
    time.sleep(0.5)
    back = Seat(NotebookPage(seat.page, address))
    back.until("running() == 0", timeout=10)
    assert len(list_laps(tmp_path)) == 1
    back.page.locator(STAGE).click()  # the lap under way goes on
    back.hold(0.2, "Up")
    back.wait_for_hint("Lap 2 of 9")
    back.hold(0)

    # the kernel is restarted while the wheel is held: the picture says so, the laps stay
    back.run_cell(1)
    back.sit()
    back.hold(0.2, "Up")
    back.page.locator(".lm-MenuBar-item", has_text="Kernel").click()
    back.page.locator(".lm-Menu-item", has_text="Restart Kernel…").click()
    back.page.locator(".jp-Dialog-button", has_text="Restart").click()
    back.notebook._until(f"() => ({KERNEL_STATUS})() === 'idle'", "the kernel is back")
    back.page.locator(STAGE).click()
    back.wait_for_hint("After a restart, run the imports and constants")
    assert len(list_laps(tmp_path)) == 2
    back.hold(0)
    back.run_cell(0)  # as it says; then this cell
    back.run_cell(1)
    back.sit()
    # the notebook as it was saved with the car under way: a picture, no error message
    again = Seat(NotebookPage(seat.page, address))
    again.page.locator(".cockpit-still img").wait_for()
    area = again.page.locator(".jp-Cell-outputArea", has=again.page.locator(".cockpit-still"))
    assert area.inner_text().strip().startswith("Nobody drives here")
    again.run_cell(0)
    again.run_cell(1)
    again.sit()
    assert not again.page.locator(".cockpit-still img").is_visible()
    again.hold(0.2, "Up")
    again.wait_for_hint("Lap 1 of 9")
    assert [lap.seed for lap in list_laps(tmp_path)] == [1000, 1001, 1002]


def test_the_cockpits_of_the_series_need_the_imports_and_the_constants_alone() -> None:
    """Which is what the page says to a reader whose kernel was restarted."""
    found = 0
    for path in sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb")):
        cells = nbformat.read(path, 4).cells
        imports, constants, *others = (c.source for c in cells if c.cell_type == "code")
        for source in (source for source in others if "Cockpit(" in source):
            known = set(dir(builtins))
            for part in (imports, constants, source):
                nodes = list(ast.walk(ast.parse(part)))
                names = [node for node in nodes if isinstance(node, ast.Name)]
                known |= {n.asname or n.name for n in nodes if isinstance(n, ast.alias)}
                known |= {name.id for name in names if isinstance(name.ctx, ast.Store)}
            assert {name.id for name in names} <= known, path.stem
            found += 1
    assert found == 2


def test_hands_off_the_keys_the_car_waits(take_seat, tmp_path: Path) -> None:
    seat = take_seat(
        "from helpers.by_hand import laps\nlaps.HANDS_OFF = 20\n"
        "cockpit = Cockpit(folder=folder, env=make_env(60), laps=1)\ncockpit"
    )
    seat.sit()
    seat.hold(0.3, "Up", least=5)
    seat.hold(0)
    seat.wait_for_hint("Hands off the keys: the car waits.\nPress an arrow key")
    steps = seat.steps()
    time.sleep(0.3)
    assert 25 <= steps == seat.steps() < 60
    seat.hold(0.3, "Up")
    seat.page.locator(STAGE).wait_for(state="detached", timeout=PATIENCE * 1000)
    seat.hold(0)
    assert [lap.steps for lap in list_laps(tmp_path)] == [60]


def test_another_tab_stops_the_car_and_loses_nothing(take_seat, tmp_path: Path) -> None:
    seat = take_seat("cockpit = Cockpit(folder=folder, env=make_env(60), laps=1)\ncockpit")
    page = seat.page
    # Playwright's pages all think that they are the one in front
    no_emulation = {"enabled": False}
    page.context.new_cdp_session(page).send("Emulation.setFocusEmulationEnabled", no_emulation)
    page.bring_to_front()
    seat.sit()
    seat.hold(0.3, "Up", least=5)
    other = page.context.new_page()
    other.bring_to_front()
    seat.until("running() == 0")
    steps = seat.steps()
    time.sleep(0.3)
    assert 5 <= steps == seat.steps() < 60
    other.close()
    page.bring_to_front()
    page.keyboard.up("ArrowUp")
    seat.down = []
    page.locator(STAGE).click()
    seat.hold(0.3, "Up")
    page.locator(STAGE).wait_for(state="detached", timeout=PATIENCE * 1000)
    seat.hold(0)
    assert [lap.steps for lap in list_laps(tmp_path)] == [60]


LONG_LINE = """
class Slow(Cockpit):  # on a machine that can't keep up, late in a lap beside a policy
    def _pace(self):
        return "16 of 25 steps/s · the policy drives · 923 292 3"

Slow(folder=folder)
"""


@pytest.mark.parametrize("size", [(1366, 625), (900, 600)], ids=str)
def test_driving_brings_the_picture_and_its_buttons_into_view(
    take_seat, size: tuple[int, int]
) -> None:
    """On a screen of 1366 by 768 a browser leaves about 625 pixels for the page."""
    seat = take_seat(LONG_LINE)
    seat.page.set_viewport_size(dict(zip(("width", "height"), size, strict=True)))
    for edge in ("top", "bottom"):  # of the window, from beyond which a corner looks in
        seat.look_away()
        x, y = seat.page.evaluate(SCROLL_TO, edge)
        assert not seat.page.evaluate(IN_VIEW)
        seat.page.mouse.click(x, y)
        seat.page.locator(".cockpit.driving").wait_for()
        seat.page.wait_for_function(IN_VIEW)
    line = seat.page.locator(".cockpit-line")
    assert "steps/s" in line.inner_text() and line.bounding_box()["height"] < 30
    if size[0] > 1000:
        assert line.evaluate("line => line.scrollWidth <= line.clientWidth"), "it is cut"


COPILOT = """
from helpers.worlds.drivers import KeyboardDriver

class Copilot(Cockpit):  # says beneath the picture which keys it would hold
    def _pace(self):
        self.driver = getattr(self, "driver", None) or KeyboardDriver(self.session.env, pace=0.1)
        steer, gas, brake = self.driver()
        keys = {"Left": steer < 0, "Right": steer > 0, "Down": brake > 0}
        keys["Up"] = gas > 0 or self.session.waiting  # so slow, it coasts for four seconds
        return "keys: " + " ".join(key for key, held in keys.items() if held) + " ·"

cockpit = Copilot(folder=folder, env=make_env(300), laps=1, seeds=[1003])
cockpit
"""


def test_a_stretch_of_road_driven_with_keys_trains_a_clone(take_seat, tmp_path: Path) -> None:
    seat = take_seat(COPILOT)
    seat.sit()
    read = "() => document.querySelector('.cockpit-line')?.textContent"
    deadline = time.monotonic() + 3 * PATIENCE
    while (line := seat.page.evaluate(read)) is not None:  # until the picture took its place
        assert time.monotonic() < deadline
        words = line.partition("keys:")[2].partition("·")[0].split()
        for key in ("Left", "Right", "Up", "Down"):
            if (key in words) != (key in seat.down):
                (seat.page.keyboard.down if key in words else seat.page.keyboard.up)(f"Arrow{key}")
        seat.down = words
        time.sleep(0.02)
    (lap,) = list_laps(tmp_path)
    assert lap.steps == 300 and lap.total > 60, f"lost the road: {lap}"
    demo = Demonstrations.load(tmp_path, "CarRacing-v3")
    assert len(np.unique(demo.actions, axis=0)) >= 3  # not one key all the time

    torch.manual_seed(0)
    images = torch.from_numpy(demo.observations[:, ::2, ::2]).permute(0, 3, 1, 2).float() / 255
    actions = torch.from_numpy(demo.actions)
    clone = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 5, stride=3),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.LazyLinear(3),
    )
    losses = []
    clone(images[:1])
    optimizer = torch.optim.Adam(clone.parameters(), 1e-3)
    for _ in range(30):
        loss = ((clone(images) - actions) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_an_arrow_key_takes_over_from_the_policy(take_seat, tmp_path: Path) -> None:
    seat = take_seat(
        "import numpy as np\n"
        "def clone(observation):\n    return np.array([0.05, 0.125, 0.0], np.float32)\n"
        "cockpit = Cockpit(clone, folder=folder, env=make_env(150), laps=1)\ncockpit"
    )
    stage = seat.page.locator(STAGE)
    stage.click()
    seat.page.locator(".cockpit.driving.by-policy").wait_for()
    seat.until("cockpit.session.steps >= 15")  # it drives by itself
    seat.hold(0.5, "Left", least=8)
    assert "you drive" in seat.page.locator(".cockpit-line").inner_text()
    seat.hold(0)
    seat.page.locator(".cockpit.driving.by-policy").wait_for()  # it has the wheel again
    time.sleep(0.4)
    seat.hold(0.5, "Up", "Right", least=8)
    seat.hold(0)
    stage.wait_for(state="detached", timeout=PATIENCE * 1000)

    demo, log = Demonstrations.load(tmp_path, "CarRacing-v3"), step_log(list_laps(tmp_path)[0].path)
    assert log is not None and len(log) == 150
    assert demo.sources.tolist() == ["takeover"]
    np.testing.assert_array_equal(
        steady(demo.actions, 4),
        [keyboard_action(True, False, False, False), keyboard_action(False, True, True, False)],
    )
    assert len(demo.actions) == log["labelled"].sum() < log["human"].sum() < 120
    assert not log["human"][:10].any() and np.diff(log["human"].astype(int)).tolist().count(1) == 2


def test_ending_a_lap_beside_a_policy_keeps_the_labels(take_seat, tmp_path: Path) -> None:
    seat = take_seat(
        "def clone(observation):\n    return [0.05, 0.125, 0.0]\n"
        "cockpit = Cockpit(clone, folder=folder, env=make_env(900), laps=1)\ncockpit"
    )
    seat.page.locator(STAGE).click()
    seat.page.locator(".cockpit.driving.by-policy").wait_for()
    seat.hold(0.5, "Left", least=8)
    seat.hold(0)
    seat.page.keyboard.press("Escape")
    seat.wait_for_hint("Paused")
    seat.page.keyboard.press("Escape")
    seat.page.locator(STAGE).wait_for(state="detached")
    (lap,) = list_laps(tmp_path)
    assert 8 <= lap.labels < lap.steps < 900
    html = seat.notebook.cells()[1]["outputs"][0]["data"]["text/html"]
    assert f"{lap.labels} steps of yours are saved as labels" in html and "<td" in html


def test_errors_are_shown_and_leave_no_page_waiting(take_seat, tmp_path: Path) -> None:
    seat = take_seat(
        "cockpit = Cockpit(folder=folder, env=make_env(20), laps=1)\ncockpit",
        "clone = lambda observation: [float('nan'), 0, 0]\n"
        "second = Cockpit(clone, folder=folder + '/takeover', env=make_env(20))\nsecond",
    )
    seat.sit()
    (tmp_path / "lap-broken.npz").write_bytes(b"PK")  # which the table at the end can't list
    seat.hold(0.3, "Up")
    seat.page.locator(STAGE).nth(1).wait_for(state="detached", timeout=PATIENCE * 1000)
    seat.hold(0)
    html = seat.notebook.cells()[1]["outputs"][0]["data"]["text/html"]
    assert "1 of 1 laps driven here" in html and "DemonstrationsError" in html
    assert "lap-broken.npz" in html and len(list(tmp_path.glob("lap-2*.npz"))) == 1

    seat.page.locator(STAGE).click()
    seat.page.locator(STAGE).wait_for(state="detached", timeout=PATIENCE * 1000)
    html = seat.notebook.cells()[2]["outputs"][0]["data"]["text/html"]
    assert "Driving stopped: ValueError: the action [nan, 0, 0]" in html
    assert seat.ask("[running(), second.ended]") == [0, True]


def test_without_a_browser_the_next_cell_goes_on(tmp_path: Path) -> None:
    nb = nbformat.v4.new_notebook()
    nb.cells = [
        nbformat.v4.new_code_cell(
            "from helpers.by_hand.cockpit import Cockpit\n"
            f"cockpit = Cockpit(folder={str(tmp_path)!r})\ncockpit"
        ),
        nbformat.v4.new_code_cell("print(len(cockpit.session.saved), 'laps')"),
    ]
    NotebookClient(nb, timeout=60, kernel_name="python3").execute()
    (picture,), (printed,) = nb.cells[0].outputs, nb.cells[1].outputs
    assert printed.text == "0 laps\n"
    assert set(picture.data) == {"text/html", "text/plain"}  # no widget without its state
    assert 'alt="The race car' in picture.data["text/html"]
    assert "Nobody drives here" in picture.data["text/html"]


def test_a_browser_that_falls_silent_stops_the_car(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GONE", 0.3)
    cockpit = Cockpit(folder=tmp_path, env=make_env(30))

    def hear(**message: Any) -> None:
        cockpit._receive(cockpit, message, [])

    async def drive() -> list[int]:
        steps = []
        hear(keys=[], focus=True)
        await asyncio.sleep(0.1)
        hear(keys=["ArrowUp"], focus=True)
        for _ in range(2):
            await asyncio.sleep(0.8)
            steps.append(cockpit.session.steps)
        assert not cockpit.running
        hear(seen=module.IN_FLIGHT)  # it is back, the key still down
        deadline = time.monotonic() + PATIENCE
        while cockpit.session.steps <= module.IN_FLIGHT and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        return [*steps, cockpit.session.steps]

    with ThreadPoolExecutor(1) as thread:  # Playwright keeps a loop in this thread
        first, second, third = thread.submit(asyncio.run, drive()).result(2 * PATIENCE)
    assert 0 < first == second <= module.IN_FLIGHT < third


def drive(cockpit: Cockpit, *messages: dict[str, Any]) -> list[dict[str, Any]]:
    """What a page with the focus hears that sends these, and then the keys it holds: gas."""
    heard: list[dict[str, Any]] = []

    def hear(content: dict[str, Any], buffers: Any = None) -> None:
        heard.append(content["status"])
        cockpit._receive(cockpit, {"seen": content["frame"]}, [])

    async def send() -> None:
        for message in ({}, *messages, {"keys": ["ArrowUp"]}):
            cockpit._receive(cockpit, {"keys": [], "focus": True, **message}, [])
            await asyncio.sleep(0.2)
        deadline = time.monotonic() + 2
        while not cockpit.ended and time.monotonic() < deadline:
            await asyncio.sleep(0.02)

    cockpit.send = hear
    with ThreadPoolExecutor(1) as thread:  # Playwright keeps a loop in this thread
        thread.submit(asyncio.run, send()).result(60)
    return heard


def test_an_error_while_driving_is_shown(tmp_path: Path) -> None:
    def broken(observation: np.ndarray) -> np.ndarray:
        raise ValueError("no such layer")

    cockpit = Cockpit(broken, folder=tmp_path, env=make_env(30))
    (*_, last) = drive(cockpit)
    assert last["ended"] and "ValueError: no such layer" in last["message"]
    assert "ValueError: no such layer" in cockpit._still()


@pytest.mark.parametrize("broken", ["list_laps", "render", "restart"])
def test_an_error_while_ending_or_restarting_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError(f"no {broken}")

    cockpit = Cockpit(folder=tmp_path, env=make_env(10), laps=1)
    where = {"list_laps": module, "render": type(cockpit.session.env.unwrapped)}
    monkeypatch.setattr(where.get(broken, cockpit.session), broken, fail)
    (*_, last) = drive(cockpit, {"do": "restart"} if broken == "restart" else {})
    assert last["ended"] and f"RuntimeError: no {broken}" in last["message"]
    assert cockpit.ended and not cockpit.running


def test_a_full_disk_keeps_the_lap_and_the_cockpit_says_how_to_save_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    cockpit = Cockpit(folder=tmp_path, env=make_env(10), laps=1)
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        (*_, last) = drive(cockpit)
        assert "Not saved (No space left on device)" in last["message"] and not cockpit.ended
        cockpit.end()
    words = cockpit._words()
    assert "0 of 1 laps" in words and "can't write" in words and "save_again()" in words
    assert not list_laps(tmp_path)
    cockpit.session.save_again()
    assert [lap.steps for lap in list_laps(tmp_path)] == [10]


def test_a_slow_machine_is_told(tmp_path: Path) -> None:
    cockpit = Cockpit(folder=tmp_path)
    cockpit._times.extend(np.arange(50) / 25)
    assert cockpit._pace() == ""
    cockpit._times.extend(np.arange(50) / 12)
    assert cockpit._pace() == "12 of 25 steps/s · "
