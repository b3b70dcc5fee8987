"""Notebooks in a real JupyterLab, in a real browser, as a reader opens and runs them.

By default one of the series is opened, with its committed outputs, and a small notebook of this
test's own is run. IL_BROWSER=all opens every one of the series, and runs it.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import lab
import matplotlib.pyplot as plt
import pytest
from lab import SERVER_TIMEOUT, TOKEN, JupyterLab, NotebookPage
from nbformat import NotebookNode, v4

from helpers import show

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
ALL = os.environ.get("IL_BROWSER") == "all"
OPENED = [path for path in NOTEBOOKS if ALL or path.name.startswith("01")]
KERNEL_FOLDER = """async () => {
    const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
    const code = "__import__('os').getcwd()";
    const reply = await kernel.requestExecute({code: "", user_expressions: {code}}).done;
    return reply.content.user_expressions.code.data["text/plain"];
}"""
# Of an element: its width (pixels), and whether what holds it scrolls and ends within the page
HELD = """(node) => {
    const holder = node.parentElement;
    const scrolls = getComputedStyle(holder).overflowX === 'auto'
        && holder.scrollWidth > holder.clientWidth;
    return [node.offsetWidth, scrolls, holder.getBoundingClientRect().right <= innerWidth];
}"""
NEWS = "lab/api/settings/@jupyterlab/apputils-extension:notification"
RUN_TIMEOUT = 1200  # s, for all cells of a notebook of the series, at small size

# What a reader meets in the series, and what the page then shows
SIGHTS = {
    "a GIF": (
        "show.gif(frames, 'A picture that turns from black to white, and begins again.')",
        "img[src^='data:image/gif'][alt^='A picture that turns']",
    ),
    "a figure": (
        "fig, ax = plt.subplots()\nax.plot([1, 2])\n"
        "show.figure(fig, 'A line that rises from 1 to 2.')",
        "img[src^='data:image/png'][alt^='A line that rises']",
    ),
    "a table": ("show.table([('expert', 926)], ['driver', 'return'])", "td:text-is('926')"),
    "a bar": (
        "for _ in tqdm(range(3)):\n    pass",
        ".widget-hbox:has-text('3/3') .widget-hprogress",
    ),
}


def made(*sources: str) -> NotebookNode:
    kernelspec = {"name": "python3", "display_name": "Python 3"}
    cells = [v4.new_code_cell(source) for source in sources]
    return v4.new_notebook(cells=cells, metadata={"kernelspec": kernelspec})


def check(notebook: NotebookPage) -> None:
    """Every code cell has run, none has failed, and every picture is there to be seen."""
    assert not notebook.errors()
    counts = [cell["count"] for cell in notebook.cells() if cell["type"] == "code"]
    assert counts == list(range(1, len(counts) + 1)), "not all cells ran, once each"
    check_images(notebook)


def check_images(notebook: NotebookPage) -> None:
    images = notebook.images()
    assert images, "there are no pictures"
    for image in images:
        assert image["width"] > 1 and image["shown"] > 1, image
        assert image["alt"], image


@pytest.mark.parametrize("path", OPENED, ids=lambda path: path.stem)
def test_a_notebook_of_the_series(
    path: Path, jupyterlab: JupyterLab, open_notebook: Callable[..., NotebookPage], tmp_path: Path
) -> None:
    notebook = open_notebook(jupyterlab.add(path))
    try:
        check_images(notebook)  # the committed outputs, before anybody ran or trusted them
        if ALL:
            notebook.run_all(RUN_TIMEOUT)
            check(notebook)
    finally:
        notebook.screenshot(tmp_path / "notebook.png")


def test_what_a_reader_meets(
    jupyterlab: JupyterLab, open_notebook: Callable[..., NotebookPage]
) -> None:
    set_up = (
        "import matplotlib.pyplot as plt\nimport numpy as np\nfrom tqdm.auto import tqdm\n\n"
        "from helpers import show\n\n"
        "frames = [np.full((40, 60, 3), grey, np.uint8) for grey in (0, 128, 255)]"
    )
    cells = made(set_up, *(source for source, _ in SIGHTS.values()))
    notebook = open_notebook(jupyterlab.add(cells, "sights.ipynb"))
    notebook.run_all(120)
    check(notebook)
    for name, (_, selector) in SIGHTS.items():
        found = notebook.page.locator(selector)
        found.first.wait_for(state="visible")
        assert found.count() == 1, name


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("print(1); 1 / 0", "ZeroDivisionError"),
        ("import os; os._exit(1)", "not all cells ran"),
        ('HTML(\'<img src="data:image/gif;base64,R0lGODlhbroken" alt="a car">\')', "'width': 0"),
        ("print('no picture')", "no pictures"),
    ],
)
def test_what_goes_wrong_is_seen(
    source: str, complaint: str, jupyterlab: JupyterLab, open_notebook: Callable[..., NotebookPage]
) -> None:
    broken = made("from IPython.display import HTML", source)
    notebook = open_notebook(jupyterlab.add(broken, "broken.ipynb"))
    with pytest.raises((AssertionError, TimeoutError), match=complaint):
        notebook.run_all(20)
        check(notebook)


@pytest.fixture
def opened_by_make_lab(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A copy of the project, and the address that its ``make lab`` gives to the reader's browser.

    The home is empty, as a new reader's is, but for what lets this test ask the page.
    """
    if shutil.which("make") is None or os.name == "nt":
        pytest.skip("needs make and a POSIX shell")
    project, home, address = tmp_path / "project", tmp_path / "home", tmp_path / "address"
    for folder in (project / ".venv" / "bin", project / "notebooks", project / "data", home):
        folder.mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "lock.txt", "README.md", "jupyter_lab_config.json"):
        shutil.copy(ROOT / name, project)
    shutil.copytree(ROOT / ".jupyter", project / ".jupyter")
    shutil.copy(NOTEBOOKS[0], project / "notebooks")
    (project / ".venv" / "installed").write_text(str(project))
    browser = tmp_path / "browser"
    for path, line in {
        project / ".venv" / "bin" / "python": f'exec "{sys.executable}" "$@"',
        browser: f'cp "${{1#file://}}" "{address}.part" && mv "{address}.part" "{address}"',
    }.items():
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)
    (home / ".jupyter").mkdir()
    (home / ".jupyter" / "jupyter_config.json").write_text(
        json.dumps({"LabApp": {"expose_app_in_browser": True}})
    )
    env = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "JPY_", "MAKE"))}
    env |= {"HOME": str(home), "BROWSER": f"{browser} %s"}
    log = tmp_path / "log"
    with log.open("wb") as out:
        make = subprocess.Popen(
            ["make", "lab"], cwd=project, env=env, stdout=out, stderr=out, start_new_session=True
        )
    try:
        deadline = time.monotonic() + SERVER_TIMEOUT
        while not address.exists():
            assert make.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        (url,) = re.findall(r'href="(http[^"]+)"', address.read_text())  # a page that leads there
        yield project, url
    finally:
        os.killpg(make.pid, signal.SIGTERM)  # JupyterLab shuts its kernels down first
        make.wait(30)


def test_make_lab_opens_the_first_notebook(
    opened_by_make_lab: tuple[Path, str], browser_page: Any
) -> None:
    """Without a pop-up, its kernel beside it, data/ and README.md to be reached."""
    project, address = opened_by_make_lab
    notebook = NotebookPage(browser_page, address)
    assert browser_page.url.endswith("/lab/tree/notebooks/00-start-here.ipynb")
    assert notebook.cells()[0]["source"].startswith("# 00")
    assert browser_page.evaluate(KERNEL_FOLDER) == repr(str(project / "notebooks"))
    browser_page.locator(".jp-BreadCrumbs-home").click()
    for name in ("README.md", "data"):
        browser_page.locator(f".jp-DirListing-itemText:has-text('{name}')").wait_for()
    browser_page.evaluate("() => window.jupyterapp.restored")
    browser_page.wait_for_timeout(3000)  # news come after that
    assert browser_page.locator(".Toastify__toast, .jp-Dialog").all_inner_texts() == []


def test_saving_keeps_what_was_seen_and_nothing_else(
    jupyterlab: JupyterLab, open_notebook: Callable[..., NotebookPage]
) -> None:
    save = "() => window.jupyterapp.commands.execute('docmanager:save')"
    name = jupyterlab.add(OPENED[0])
    open_notebook(name).page.evaluate(save)
    assert (jupyterlab.root / name).read_bytes() == OPENED[0].read_bytes()  # git sees no change

    # bars and sliders have no kernel when a notebook is opened again, and would say so in red
    widgets = made(
        "from ipywidgets import FloatSlider\nfrom tqdm.auto import tqdm\nFloatSlider()",
        "for _ in tqdm(range(3), leave=False):\n    print('seen')",
        "for _ in tqdm(range(3)):\n    1 / 0",
    )
    notebook = open_notebook(jupyterlab.add(widgets, "widgets.ipynb"))
    notebook.run_all(60)
    notebook.page.evaluate(save)
    jupyterlab.shut_down_kernels()
    page = open_notebook("widgets.ipynb").page
    page.locator(".jp-OutputArea", has_text="ZeroDivisionError").wait_for()
    page.wait_for_timeout(1000)
    assert page.locator(".jp-OutputArea-output", has_text="seen").count() == 1
    assert page.locator(".jp-OutputArea-output", has_text="widget").count() == 0


def ask(server: JupyterLab, path: str, body: Any = None) -> Any:
    """What the server answers; with a body it is told to keep that."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"token {TOKEN}"}
    request = Request(f"{server.url}/{path}", data, headers, method="PUT" if data else "GET")
    with urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


def test_a_server_that_a_hub_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --config, and elsewhere: it saves as ours does, and asks nothing about news."""
    empty = tmp_path / "empty.json"
    empty.write_text("{}")
    monkeypatch.setattr(lab, "CONFIG", empty)
    server = JupyterLab(tmp_path / "hub", {"JUPYTER_CONFIG_PATH": str(ROOT / ".jupyter")})
    try:
        server.start()
        name = server.add(OPENED[0])
        content = json.loads(OPENED[0].read_bytes())
        content["metadata"]["language_info"]["version"] = "3.11.0"
        ask(server, f"api/contents/{name}", {"type": "notebook", "content": content})
        assert (server.root / name).read_bytes() == OPENED[0].read_bytes()  # git sees no change
        assert ask(server, NEWS)["schema"]["properties"]["fetchNews"]["default"] == "false"
    finally:
        server.stop()


def test_an_export_is_whole_and_legible_on_a_phone(
    jupyterlab: JupyterLab, browser_page: Any
) -> None:
    """HTML as JupyterLab's menu saves it: pictures inside; what is wide scrolls by itself."""
    jupyterlab.add(OPENED[0])  # and the images of the first lines
    notebook = made("", "", "")
    opening = f"![The picture that opens a notebook.](images/{OPENED[0].stem}.gif)"
    notebook.cells.insert(0, v4.new_markdown_cell(opening))
    for code, size in zip(notebook.cells[1:3], [(9, 3), (6, 3)], strict=True):
        figure = show.figure(plt.figure(figsize=size), "A figure in which nothing is drawn.")
        data = figure._repr_mimebundle_()
        code.outputs = [v4.new_output("display_data", data)]
    table = show.table([["seven hundred"] * 7], ["a column"] * 7)
    notebook.cells[3].outputs = [v4.new_output("display_data", {"text/html": table.data})]
    name = jupyterlab.add(notebook, "wide.ipynb")

    page = browser_page
    page.set_viewport_size({"width": 390, "height": 844})
    page.route(lambda url: not url.startswith(jupyterlab.url), lambda route: route.abort())
    page.goto(f"{jupyterlab.url}/nbconvert/html/{name}?token={TOKEN}")
    opening, wide, narrow = page.locator("img").all()
    assert opening.get_attribute("src").startswith("data:image/gif")
    width, *rest = wide.evaluate(HELD)
    assert width >= 600 and rest == [True, True]
    assert narrow.evaluate(HELD)[0] <= 390
    width, *rest = page.locator("table").evaluate(HELD)
    assert width > 390 and rest == [True, True]
    assert page.evaluate("() => document.documentElement.scrollWidth") == 390
