"""The committed notebooks, as a reader finds them; and the checks, tried on broken ones."""

import base64
import json
from collections.abc import Callable
from pathlib import Path

import notebook_checks
import pytest
from nbformat import NotebookNode, v4
from notebook_checks import anchors, broken_links, complaints
from outputs import in_words, read_costs, tidy

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md") if (ROOT / name).exists()]


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook(path: Path) -> None:
    found = complaints(path)
    assert not found, "\n" + "\n".join(found)


def test_numbers_are_given_once() -> None:
    numbers = [path.name[:2] for path in NOTEBOOKS]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_of_the_other_pages(path: Path) -> None:
    found = list(broken_links(path.read_text(encoding="utf-8"), path))
    assert not found, "\n" + "\n".join(found)


def test_readme_lists_every_notebook() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = [line for line in readme.splitlines() if line.startswith("|")]
    missing = [p.name for p in NOTEBOOKS if not any(f"(notebooks/{p.name})" in row for row in rows)]
    assert not missing, f"README.md's table has no row that links to {', '.join(missing)}"


def test_the_readme_says_what_the_last_full_runs_have_cost() -> None:
    readme, costs = (ROOT / "README.md").read_text(encoding="utf-8"), read_costs()
    for path in NOTEBOOKS:
        (row,) = [line for line in readme.splitlines() if line.startswith(f"| [{path.stem}](")]
        assert row.endswith(f"| {in_words(costs[path.stem])} |"), "see notebooks/results/costs.csv"
        assert int(costs[path.stem]["peak_mb"]) < 1_550, "too much for Binder and a hub"


# --- the checks themselves: a good notebook passes, and each defect is found

ALT = "A car rolls down, up the other side, and reaches the flag."
IMG = f'<img src="data:image/gif;base64,{base64.b64encode(b"GIF89a").decode()}" alt="{ALT}">'


def picture(**data: str) -> NotebookNode:
    return v4.new_output("display_data", data={k.replace("_", "/"): v for k, v in data.items()})


def exercise(number: int) -> list[NotebookNode]:
    solution = f"```python\na = {number}\n```"
    return [
        v4.new_markdown_cell(f"**Exercise {number}**"),
        v4.new_code_cell("a = 0", metadata={"tags": ["exercise"]}),
        v4.new_code_cell("print('solved' if a else 'not yet')", metadata={"tags": ["check"]}),
        v4.new_markdown_cell(f"<details><summary>Solution</summary>\n\n{solution}\n\n</details>"),
    ]


def good() -> NotebookNode:
    names = ["Set-up", *(f"Step {i}" for i in range(1, 6))]
    text = "See [above](#Step-1).\n\n> **Predict.** What comes?"
    sections = [v4.new_markdown_cell(f"## {name}\n\n{text}") for name in names]
    codes = [v4.new_code_cell(f"env.step({i})") for i in range(6)]
    cells = [v4.new_markdown_cell(f"# 01 · Look\n\n![{ALT}](images/look.gif) `a!=b` just_as")]
    for section, code in zip(sections, codes, strict=True):
        cells += [section, code]
    cells += [v4.new_markdown_cell("## Try it yourself"), *exercise(1), *exercise(2)]
    cells[0].source = cells[0].source.replace(" just_as", "\n\n```python\nprint('just!')\n```\n")
    codes[0].outputs = [picture(text_html=IMG, image_png="aGk=")]
    codes[1].outputs = [v4.new_output("stream", text="100% of 3 runs, -1,234.5\n")]
    codes[1].metadata.tags = ["nbval-check-output"]
    sections[2].source += "\n\nAll 3, that is 100%, had −1,234.5 ([Ng 2000](https://a.b/7))."
    sections[2].metadata.tags = ["quotes-results"]
    notebook = v4.new_notebook(cells=cells)
    for number, code in enumerate(notebook_checks.code_cells(notebook), 1):
        code.execution_count = number
    tidy(notebook)
    return notebook


def code(notebook: NotebookNode, number: int = 0) -> NotebookNode:
    return notebook_checks.code_cells(notebook)[number]


def add_output(output: NotebookNode) -> Callable[[NotebookNode], None]:
    return lambda notebook: code(notebook).outputs.append(output)


def add_prose(text: str) -> Callable[[NotebookNode], None]:
    def change(notebook: NotebookNode) -> None:
        notebook.cells[1].source += f"\n\n{text}"

    return change


def set_code(source: str, keep_digest: bool = True) -> Callable[[NotebookNode], None]:
    def change(notebook: NotebookNode) -> None:
        code(notebook).source = source
        if keep_digest:
            tidy(notebook)

    return change


def no_steps(notebook: NotebookNode) -> None:
    for cell in notebook_checks.code_cells(notebook):
        cell.source = "a = 1"
    tidy(notebook)


def untag(*tags: str) -> Callable[[NotebookNode], None]:
    """Take these tags from the first exercise's cells."""

    def change(notebook: NotebookNode) -> None:
        for tag in tags:
            next(cell for cell in notebook.cells if tag in notebook_checks.tags(cell)).metadata = {}

    return change


def in_prose(old: str, new: str) -> Callable[[NotebookNode], None]:
    def change(notebook: NotebookNode) -> None:
        for cell in notebook.cells:
            cell.source = cell.source.replace(old, new)

    return change


def code_together(notebook: NotebookNode) -> None:
    notebook.cells.sort(key=lambda cell: cell.cell_type == "code")


def base64_of(size: int) -> str:
    return base64.b64encode(bytes(size)).decode()


DEFECTS: dict[str, tuple[Callable[[NotebookNode], object], str]] = {
    "counts": (lambda n: code(n, 2).update(execution_count=7), "run once from top to bottom"),
    "not run": (lambda n: code(n, 4).update(execution_count=None), "run once from top to bottom"),
    "error": (
        add_output(v4.new_output("error", ename="KeyError", evalue="a", traceback=[])),
        "is an error: KeyError",
    ),
    "stderr": (add_output(v4.new_output("stream", name="stderr", text="w")), "on stderr"),
    "lost": (add_output(v4.new_output("stream", text="Not as in our run: lost.")), "prose claims"),
    "mute": (set_code("assert env.step(0)"), "an assert without a message"),
    "carriage return": (add_output(v4.new_output("stream", text="1\r2")), "progress bar"),
    "tqdm": (add_output(v4.new_output("stream", text=" 50%|##  | 1/2")), "progress bar"),
    "widget": (
        add_output(picture(**{notebook_checks.WIDGET: {"model_id": "a"}})),  # type: ignore[arg-type]
        "is a widget",
    ),
    "widget state": (lambda n: n.metadata.update(widgets={}), "state of widgets"),
    "bare png": (add_output(picture(image_png="aGk=")), "bare image/png; show.figure"),
    "bare gif": (add_output(picture(image_gif="aGk=")), "bare image/gif"),
    "large png": (
        add_output(picture(text_html=IMG, image_png=base64_of(110_000))),
        "png of 110 kB",
    ),
    "large gif": (
        add_output(picture(text_html=IMG.replace("R0lGODlh", base64_of(310_000)))),
        "gif of 310 kB",
    ),
    "large": (add_output(v4.new_output("stream", text="a" * 2_100_000)), "at most 2000"),
    "no alt": (add_output(picture(text_html='<img src="data:image/gif;base64,aGk=">')), "alt text"),
    "empty alt": (add_output(picture(text_html=IMG.replace(ALT, ""))), "alt text ''"),
    "poor alt": (add_prose("![plot](images/look.gif)"), "alt text 'plot'"),
    "poor html alt": (add_prose('<img src="images/look.gif" alt="plot">'), "alt text 'plot'"),
    "kernel": (lambda n: n.metadata.kernelspec.update(name="conda-env"), "kernelspec 'conda-env'"),
    "invalid": (lambda n: code(n).update(surprise=1), "no valid notebook"),
    "wordy": (add_prose("word " * 2_400), "words outside of folds; at most 2400"),
    "many cells": (lambda n: n.cells.extend([v4.new_code_cell("a = 1")] * 16), "26 code cells"),
    "misquoted": (in_prose("All 3", "All 4"), "quotes 4 from results ("),
    "misquoted digits": (in_prose("−1,234.5", "−1,234"), "quotes -1234 from results"),
    "unquoted": (untag("nbval-check-output"), "quotes 100 from results"),
    "two titles": (add_prose("# Again"), "has 2 titles"),
    "few sections": (lambda n: n.cells.__delitem__(slice(3, None)), "0 steps"),
    "many sections": (add_prose("## And another\n\n" * 6), "11 steps"),
    "long cell": (set_code("a = 1\n" * 26), "has 26 lines"),
    "empty cell": (set_code("\n"), "is empty"),
    "sys.path": (set_code("import sys\nsys.path.append('..')"), "edits sys.path"),
    "import *": (set_code("from numpy import *"), "import *"),
    "!pip": (set_code("!pip install gymnasium"), "installs a package"),
    "%pip": (set_code("%pip install gymnasium"), "installs a package"),
    "pickle": (set_code("np.load('a', allow_pickle=True)"), "loads pickles"),
    "no step": (no_steps, "no step in an environment"),
    "code after code": (code_together, "prose before 12%"),
    "no predictions": (in_prose("Predict", "Guess"), "asks for 0 predictions"),
    "timed": (set_code("assert env.step(0) / fast_rate > 2"), "asserts fast_rate"),
    "floor": (set_code("assert env.step(0) > SPEEDUP_FLOOR"), "asserts SPEEDUP_FLOOR"),
    "moved module": (set_code("from helpers.demos import Demonstrations"), "helpers.demos"),
    "moved name": (set_code("from helpers import policies"), "import name 'policies'"),
    "moved module, whole": (set_code("import helpers.demos as demos"), "helpers.demos"),
    "few exercises": (untag("exercise", "check"), "has 1 exercises"),
    "no check": (untag("check"), "without a check"),
    "no exercise": (untag("exercise"), "without an exercise"),
    "no solution": (in_prose("Solution", "Answer"), "no solution of exercise 1"),
    "empty solution": (in_prose("```python", "```"), "no solution of exercise 1"),
    "just": (add_prose("We just train."), "says 'just'"),
    "exclamation": (add_prose("It works!"), "exclamation mark"),
    "missing file": (add_prose("[next](02-nothing.ipynb)"), "where there is no file"),
    "missing image": (add_prose(f"![{ALT}](images/no.gif)"), "where there is no file"),
    "missing anchor": (add_prose("[next](#step-9)"), "no such heading"),
    "anchor elsewhere": (add_prose("[next](01-look-around.ipynb#step-9)"), "no such heading"),
    "http": (add_prose("[paper](http://example.org/a)"), "no https address"),
    "no host": (add_prose("[paper](https://paper)"), "no https address"),
    "stale": (set_code("env.step(9)", keep_digest=False), "make outputs NOTEBOOK=01-look-around"),
    "no digest": (lambda n: n.metadata.pop(notebook_checks.DIGEST), "make outputs"),
}


def write(notebook: NotebookNode, folder: Path, name: str = "01-look-around.ipynb") -> Path:
    (folder / "images").mkdir()
    (folder / "images" / "look.gif").touch()
    path = folder / name
    path.write_text(json.dumps(notebook), encoding="utf-8")  # defects and all
    return path


def test_a_good_notebook_has_no_complaint(tmp_path: Path) -> None:
    assert complaints(write(good(), tmp_path)) == []


@pytest.mark.parametrize("defect", DEFECTS)
@pytest.mark.filterwarnings("ignore:Notebook JSON is invalid")
def test_a_defect_is_found(tmp_path: Path, defect: str) -> None:
    change, complaint = DEFECTS[defect]
    notebook = good()
    change(notebook)
    found = complaints(write(notebook, tmp_path))
    assert any(complaint in text for text in found), found


def test_a_name_without_number_is_found(tmp_path: Path) -> None:
    assert any("is called" in text for text in complaints(write(good(), tmp_path, "look.ipynb")))


def test_every_check_finds_one_of_these_defects(tmp_path: Path) -> None:
    silent = {check.__name__ for check in notebook_checks.CHECKS} - {"check_name"}
    path = write(good(), tmp_path)
    for change, _ in DEFECTS.values():
        notebook = good()
        change(notebook)
        path.write_text(json.dumps(notebook), encoding="utf-8")
        silent -= {c.__name__ for c in notebook_checks.CHECKS if list(c(notebook, path))}
    assert not silent


def test_anchors_of_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One\n\n## `make lab`, and how\n\n```sh\n# no heading\n```\n")
    assert {"one", "make-lab-and-how"} <= anchors(page)
    assert list(broken_links("[a](page.md#make-lab-and-how)", tmp_path / "other.md")) == []
    assert len(list(broken_links("[a](page.md#nothing)", tmp_path / "other.md"))) == 1
