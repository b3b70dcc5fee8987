"""A notebook in a real JupyterLab, in a real browser, as a reader opens and runs it.

One notebook by default, to keep `make test` short; IL_BROWSER=all opens every one.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from lab import JupyterLab, NotebookPage
from nbformat import v4

NOTEBOOKS = sorted((Path(__file__).resolve().parent.parent / "notebooks").glob("*.ipynb"))
ALL = os.environ.get("IL_BROWSER") == "all"
OPENED = [path for path in NOTEBOOKS if ALL or path.name.startswith("01")]
RUN_TIMEOUT = 1200 if ALL else 300  # s, for all cells of a notebook at small size


def check(notebook: NotebookPage) -> None:
    """Every code cell has run, none has failed, and every picture is there to be seen."""
    assert not notebook.errors()
    counts = [cell["count"] for cell in notebook.cells() if cell["type"] == "code"]
    assert counts == list(range(1, len(counts) + 1)), "not all cells ran, once each"
    images = notebook.images()
    assert images, "there are no pictures"
    for image in images:
        assert image["width"] > 1 and image["shown"] > 1, image
        assert image["alt"], image


@pytest.mark.parametrize("path", OPENED, ids=lambda path: path.stem)
def test_a_notebook_runs_in_the_browser(
    path: Path, jupyterlab: JupyterLab, open_notebook: Callable[..., NotebookPage], tmp_path: Path
) -> None:
    notebook = open_notebook(jupyterlab.add(path))
    before = notebook.images()  # the committed outputs, before anybody ran or trusted them
    assert before and all(image["width"] > 1 for image in before)
    try:
        notebook.run_all(RUN_TIMEOUT)
        check(notebook)
    finally:
        notebook.screenshot(tmp_path / "notebook.png")


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
    cells = [v4.new_code_cell("from IPython.display import HTML"), v4.new_code_cell(source)]
    kernelspec = {"name": "python3", "display_name": "Python 3"}
    broken = v4.new_notebook(cells=cells, metadata={"kernelspec": kernelspec})
    notebook = open_notebook(jupyterlab.add(broken, "broken.ipynb"))
    with pytest.raises((AssertionError, TimeoutError), match=complaint):
        notebook.run_all(20)
        check(notebook)
