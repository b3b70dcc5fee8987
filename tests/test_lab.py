"""Notebooks in a real JupyterLab, in a real browser, as a reader opens and runs them.

By default one of the series is opened, with its committed outputs, and a small notebook of this
test's own is run. IL_BROWSER=all opens every one of the series, and runs it.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from lab import JupyterLab, NotebookPage
from nbformat import NotebookNode, v4

NOTEBOOKS = sorted((Path(__file__).resolve().parent.parent / "notebooks").glob("*.ipynb"))
ALL = os.environ.get("IL_BROWSER") == "all"
OPENED = [path for path in NOTEBOOKS if ALL or path.name.startswith("01")]
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
