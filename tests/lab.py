"""A real JupyterLab and a real headless Chromium for tests, as pytest fixtures.

``jupyterlab``    a :class:`JupyterLab` server on 127.0.0.1 (one for the session)
``browser``       Playwright's Chromium (one for each test module)
``browser_page``  a fresh page in it (one for each test), with the time-outs set
``open_notebook`` a function: path below the server's root -> :class:`NotebookPage`, ready to run

The server serves a temporary folder, never the repository: JupyterLab saves what it opens. Put
notebooks there with ``jupyterlab.add(path_or_notebook)``.

Playwright's synchronous interface keeps an event loop in the main thread while it is open, so a
module that uses these fixtures must not call ``asyncio.run`` in its tests.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import nbformat
import pytest

CONFIG = Path(__file__).resolve().parent.parent / "jupyter_lab_config.json"
SERVER_TIMEOUT = 90  # s, until the server answers; a busy 2-core machine needs 20
PAGE_TIMEOUT = 60  # s, for a single step in the browser
TOKEN = "only-for-tests"
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM_FLAGS = [
    "--no-sandbox",  # a container's root has no sandbox; the pages are our own
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",  # containers give /dev/shm 64 MB
]
SETTINGS = {  # no pop-ups over the page, nothing asked of the network
    "@jupyterlab/apputils-extension/notification.jupyterlab-settings": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
    "@jupyterlab/docmanager-extension/plugin.jupyterlab-settings": {"autosave": False},
}


def skip_or_fail(reason: str) -> None:
    """Skip a test that can't run here; in CI (``CI=true``) fail: there everything is installed."""
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(f"{reason} (skipped elsewhere, not in CI)", pytrace=False)
    pytest.skip(reason)


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class JupyterLab:
    """A JupyterLab server (and Notebook 7, where installed) with folders of its own.

    ``root`` is the folder that it serves, ``data`` the IL_DATA of its kernels, ``url`` where it
    answers. ``start`` raises RuntimeError, with the server's own words, where it does not answer.
    """

    def __init__(self, folder: Path, env: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.root = folder / "root"
        self.data = folder / "data"
        self.log = folder / "server.log"
        self.url = ""
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "JPY_"))}
        for name in ("config", "data", "runtime"):
            self.env[f"JUPYTER_{name.upper()}_DIR"] = str(folder / "jupyter" / name)
        self.env |= {
            "JUPYTERLAB_SETTINGS_DIR": str(folder / "jupyter" / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(folder / "jupyter" / "workspaces"),
            "IPYTHONDIR": str(folder / "ipython"),
            "JUPYTER_TOKEN": TOKEN,
            "JUPYTER_PREFER_ENV_PATH": "1",
            "IL_SIZE": "small",
            "IL_DATA": str(self.data),
        }
        self.env |= env or {}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.root.mkdir(parents=True)
        for name, value in SETTINGS.items():
            path = Path(self.env["JUPYTERLAB_SETTINGS_DIR"], name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(value))
        config = json.loads(CONFIG.read_text()) | {  # the project's own, but where it opens
            "ServerApp": {
                "ip": "127.0.0.1",
                "port": free_port(),
                "port_retries": 50,
                "open_browser": False,
                "allow_root": True,
                "root_dir": str(self.root),
                "shutdown_no_activity_timeout": 3600,  # should the tests be killed
            },
            "LabApp": {"expose_app_in_browser": True, "news_url": None},
            "JupyterNotebookApp": {"expose_app_in_browser": True},
        }
        path = Path(self.env["JUPYTER_CONFIG_DIR"], "jupyter_server_config.json")
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(config))
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "jupyterlab"],
                env=self.env,
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + SERVER_TIMEOUT
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"JupyterLab did not start:\n{self.server_log()}")
            time.sleep(0.2)

    def _answers(self) -> bool:
        assert self.process is not None
        runtime = Path(self.env["JUPYTER_RUNTIME_DIR"], f"jpserver-{self.process.pid}.json")
        try:
            self.url = json.loads(runtime.read_text())["url"].rstrip("/")
            return bool(self._api("status"))
        except (OSError, URLError, ValueError):
            return False

    def stop(self) -> None:
        """End the server and its kernels: kindly, then by force."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.terminate()  # it shuts its kernels down first
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(15)
        if hasattr(os, "killpg"):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
        else:
            self.process.kill()
        self.process.wait(10)

    def _api(self, path: str, method: str = "GET") -> Any:
        headers = {"Authorization": f"token {TOKEN}"}
        request = Request(f"{self.url}/api/{path}", headers=headers, method=method)
        with urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or "null")

    def shut_down_kernels(self) -> None:
        """End all kernels: the next page on the same notebook starts afresh."""
        deadline = time.monotonic() + 30
        while sessions := self._api("sessions"):
            assert time.monotonic() < deadline, f"kernels that don't end: {sessions}"
            for session in sessions:
                with suppress(HTTPError):  # one that has died is just being started again
                    self._api(f"sessions/{session['id']}", "DELETE")
            time.sleep(0.1)

    def server_log(self, lines: int = 40) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def add(self, notebook: Path | nbformat.NotebookNode, name: str = "") -> str:
        """Copy a notebook (a file, or one made in the test) to the root; returns its name there.

        The images/ beside a file, which its text may show, go with it.
        """
        if isinstance(notebook, Path):
            name = name or notebook.name
            shutil.copy(notebook, self.root / name)
            if (images := notebook.parent / "images").is_dir():
                shutil.copytree(images, self.root / "images", dirs_exist_ok=True)
        else:
            nbformat.write(notebook, self.root / name)
        return name

    def address(self, name: str, app: str = "lab") -> str:
        """The address of a notebook in JupyterLab ("lab") or in Notebook 7 ("notebook")."""
        # /doc/ opens this notebook alone: no launcher, no file browser, no restored tabs
        place = {"lab": "doc/tree", "notebook": "notebooks"}[app]
        return f"{self.url}/{place}/{name}?token={TOKEN}"


# Both JupyterLab and Notebook 7 put their application at window.jupyterapp
# (expose_app_in_browser).
READY = """async () => {
    const panel = window.jupyterapp?.shell?.currentWidget;
    if (!panel?.sessionContext || !panel.content?.model) return false;
    await panel.context.ready;
    await panel.sessionContext.ready;
    const kernel = panel.sessionContext.session?.kernel;
    if (!kernel) return false;
    await kernel.info;
    return panel.content.widgets.length > 0;
}"""
RUN_ALL = "() => window.jupyterapp.commands.execute('notebook:run-all-cells')"
CELLS = """() => window.jupyterapp.shell.currentWidget.content.widgets.map(cell => ({
    type: cell.model.type,
    source: cell.model.sharedModel.getSource(),
    count: cell.model.type === 'code' ? cell.model.executionCount : null,
    outputs: cell.model.type === 'code' ? cell.model.outputs.toJSON() : [],
}))"""
KERNEL_STATUS = (
    "() => window.jupyterapp.shell.currentWidget.sessionContext.session?.kernel?.status ?? 'none'"
)
# A cockpit's still picture is hidden for as long as the cockpit itself is shown.
IMAGES = """async () => {
    const images = [...document.querySelectorAll('.jp-Notebook img')]
        .filter(i => i.offsetParent !== null || !i.closest('.cockpit-still'));
    await Promise.all(images.map(i => i.decode().catch(() => null)));
    return images.map(i => ({
        alt: i.alt, src: i.src.slice(0, 60), width: i.naturalWidth, height: i.naturalHeight,
        shown: i.getBoundingClientRect().width,
    }));
}"""


class NotebookPage:
    """A notebook opened in the browser; ``page`` is Playwright's page."""

    def __init__(self, page: Any, address: str) -> None:
        self.page = page
        page.goto(address)
        # the token is in a cookie now; wait for the kernel before the first cell may be run
        self._until(READY, "the notebook and its kernel are ready")

    def _until(self, expression: str, what: str, timeout: float = PAGE_TIMEOUT) -> None:
        deadline = time.monotonic() + timeout
        while not self.page.evaluate(expression):
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {timeout:.0f} s: {what}")
            self.page.wait_for_timeout(100)

    def run_all(self, timeout: float) -> None:
        """Run All Cells, and wait until the kernel is idle; TimeoutError after ``timeout`` s."""
        # not awaited in the page: the time-out is ours
        self.page.evaluate(
            f"() => {{ window.runDone = false; ({RUN_ALL})().finally("
            "() => { window.runDone = true; }); }"
        )
        done = f"() => window.runDone && ({KERNEL_STATUS})() !== 'busy'"
        self._until(done, "all cells have run", timeout)

    def cells(self) -> list[dict[str, Any]]:
        """Every cell: type, source, count (executions) and outputs, as nbformat has them."""
        return list(self.page.evaluate(CELLS))

    def errors(self) -> list[str]:
        """The error outputs, as text."""
        return [
            f"{output['ename']}: {output['evalue']}\n\nin the cell\n{cell['source']}"
            for cell in self.cells()
            for output in cell["outputs"]
            if output["output_type"] == "error"
        ]

    def images(self) -> list[dict[str, Any]]:
        """Every image in the notebook: alt, src (its beginning), width, height, shown (pixels)."""
        return list(self.page.evaluate(IMAGES))

    def screenshot(self, path: Path, selector: str = "") -> None:
        """A PNG of the window, or of the first element that ``selector`` finds."""
        (self.page.locator(selector).first if selector else self.page).screenshot(path=path)


def find_chromium(playwright: Any) -> str | None:
    """Debian's Chromium, a Chrome, or the browser that ``playwright install`` has fetched."""
    for name in CHROMIUM_NAMES:
        if path := shutil.which(name):
            return path
    own = playwright.chromium.executable_path
    return own if own and Path(own).exists() else None


@pytest.fixture(scope="session")
def jupyterlab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterLab]:
    server = JupyterLab(tmp_path_factory.mktemp("jupyterlab"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    with sync_api.sync_playwright() as playwright:
        path = find_chromium(playwright)
        if path is None:
            skip_or_fail("needs Chromium: apt-get install chromium, or playwright install chromium")
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def browser_page(browser: Any) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    page = context.new_page()
    page.set_default_timeout(PAGE_TIMEOUT * 1000)
    yield page
    context.close()


@pytest.fixture
def open_notebook(
    jupyterlab: JupyterLab, browser_page: Any
) -> Iterator[Callable[..., NotebookPage]]:
    def open_notebook(name: str, app: str = "lab") -> NotebookPage:
        return NotebookPage(browser_page, jupyterlab.address(name, app))

    yield open_notebook
    jupyterlab.shut_down_kernels()
