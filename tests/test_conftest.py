"""What conftest.py adds to nbval, tried on notebooks that are good and that go wrong."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode, v4

ROOT = Path(__file__).resolve().parent.parent
CELL_TIMEOUT = 120  # s; a dead kernel must fail long before


Cell = str | NotebookNode


def write(folder: Path, name: str, *cells: Cell) -> None:
    """A notebook with these cells; text makes a code cell."""
    notebook = v4.new_notebook(
        cells=[v4.new_code_cell(cell) if isinstance(cell, str) else cell for cell in cells],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    )
    nbformat.write(notebook, folder / f"{name}.ipynb")


def run_all(folder: Path, timeout: int = CELL_TIMEOUT) -> str:
    """What pytest says of the folder's notebooks; the exit status is its last line."""
    written = {path: path.read_bytes() for path in folder.glob("*.ipynb")}
    (folder / "conftest.py").write_text((ROOT / "conftest.py").read_text())
    (folder / "pytest.ini").write_text(f"[pytest]\npythonpath = {ROOT}/tests {ROOT}/tools\n")
    command = "-m pytest -rA --nbval-lax --nbval-current-env -p no:cacheprovider --color=no"
    command += " -p no:hypothesispytest"  # takes a second to load, and does nothing here
    result = subprocess.run(
        [sys.executable, *command.split(), f"--nbval-cell-timeout={timeout}"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert written == {path: path.read_bytes() for path in folder.glob("*.ipynb")}
    return f"{result.stdout}{result.stderr}\nexit {result.returncode}"


def run(folder: Path, *cells: Cell, timeout: int = CELL_TIMEOUT) -> str:
    """What pytest says of one notebook, with these cells."""
    write(folder, "notebook", *cells)
    return run_all(folder, timeout)


def closing(output: str) -> dict[str, int]:
    """The numbers of pytest's closing line, without the time."""
    line = [line for line in output.splitlines() if line.startswith("===")][-1]
    return {word: int(n) for n, word in re.findall(r"(\d+) (passed|failed|skipped|error)", line)}


def test_a_good_notebook_passes(tmp_path: Path) -> None:
    output = run(
        tmp_path,
        "import os; print('not compared')",
        "assert os.environ['IL_SIZE'] == 'small'\n"
        "assert 'il-tests-' in os.environ['IL_DATA']\n"
        "assert os.environ['OMP_NUM_THREADS'] == '1'",
        f"assert os.path.realpath(os.getcwd()) == {os.path.realpath(tmp_path)!r}",
    )
    assert closing(output) == {"passed": 3}, output
    assert output.endswith("exit 0")


def test_after_a_cell_that_raises_the_rest_is_skipped(tmp_path: Path) -> None:
    output = run(tmp_path, "a = 1", "b = a / 0", "c = b", "d = c")
    assert closing(output) == {"passed": 1, "failed": 1, "skipped": 2}, output
    assert "ZeroDivisionError" in output
    assert "NameError" not in output
    assert "Cell 1 of this notebook failed" in output


@pytest.mark.parametrize(
    ("death", "status"),
    [
        ("os._exit(3)", "3"),
        pytest.param(
            "import signal; os.kill(os.getpid(), signal.SIGKILL)",
            "-9; -9 is often the system, out of memory",
            marks=pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL"),
        ),
    ],
)
def test_a_dead_kernel_fails_at_once(tmp_path: Path, death: str, status: str) -> None:
    start = time.monotonic()
    output = run(tmp_path, "import os", death, "c = 1")
    assert closing(output) == {"passed": 1, "failed": 1, "skipped": 1}, output
    assert f"The kernel died in this cell (exit status {status})" in output
    assert time.monotonic() - start < CELL_TIMEOUT / 2


def test_a_cell_that_hangs_is_interrupted_and_the_rest_is_skipped(tmp_path: Path) -> None:
    output = run(tmp_path, "import time", "time.sleep(1000)", "c = 1", timeout=4)
    assert closing(output) == {"passed": 1, "failed": 1, "skipped": 1}, output
    assert "Timeout of 4 seconds exceeded executing cell" in output
    assert "KeyboardInterrupt" in output


def test_a_slow_cell_within_the_time_out_passes(tmp_path: Path) -> None:
    output = run(tmp_path, "import time; time.sleep(3)", timeout=60)
    assert closing(output) == {"passed": 1}, output


@pytest.mark.parametrize(("saved", "verdict"), [("2\n", "passed"), ("3\n", "failed")])
def test_outputs_are_compared_where_a_cell_asks_for_it(
    tmp_path: Path, saved: str, verdict: str
) -> None:
    cell = v4.new_code_cell(
        "print(1 + 1)",
        execution_count=1,
        metadata={"tags": ["nbval-check-output"]},
        outputs=[v4.new_output("stream", name="stdout", text=saved)],
    )
    assert closing(run(tmp_path, cell)) == {verdict: 1}


# --- exercises


CHECK = "print('solved' if double(2) == 4 else 'not yet')"
AFTER = "assert double(3) == 6"  # a cell behind the exercise sees it solved


def exercise(
    stub: str = "return 0",
    check: str = CHECK,
    solution: str = "return 2 * x",
    title: str = "Solution",
) -> list[NotebookNode]:
    """The cells of an exercise: to write `double`."""
    code = f"```python\ndef double(x):\n    {solution}\n```"
    return [
        v4.new_code_cell(f"def double(x):\n    {stub}", metadata={"tags": ["exercise"]}),
        v4.new_code_cell(check, metadata={"tags": ["check"]}),
        v4.new_markdown_cell(
            "<details><summary>Hint</summary>\n\n```python\nx + x\n```\n\n</details>\n"
            f"<details><summary>{title}</summary>\n\n{code}\n\nTwice.\n\n</details>"
        ),
    ]


# what is changed in an exercise, the cell that fails then, and what is said
FAULTS: dict[str, tuple[dict[str, str], str, str]] = {
    "solved_before": (
        {"stub": "return x + x"},
        "Cell 3",
        "exercise 2, not begun: its check must print 'not yet', and printed 'solved\\n'",
    ),
    "unsolved": (
        {"solution": "return x"},
        "Cell 3, exercise 2: check",
        "exercise 2, with its solution: its check must print 'solved', and printed 'not yet\\n'",
    ),
    "both": (
        {"check": "print('solved or not yet')"},
        "Cell 3",
        "must print 'not yet', and printed 'solved or not yet\\n'",
    ),
    "neither": ({"check": "'not yet'"}, "Cell 3", "must print 'not yet', and printed ''"),
    "no_solution": (
        {"title": "Hint 2"},
        "Cell 3, exercise 2: solution",
        "LookupError('exercise 2 has no solution')",
    ),
    "broken_solution": (
        {"solution": "return 2 * y"},
        "Cell 3, exercise 2: check",
        "name 'y' is not defined",
    ),
}


def test_exercises_are_judged(tmp_path: Path) -> None:
    write(tmp_path, "good", *exercise(), AFTER, *exercise(stub="return x"), AFTER)
    for fault, (changes, _, _) in FAULTS.items():
        write(tmp_path, fault, *exercise(), *exercise(**changes), AFTER)
    output = run_all(tmp_path)
    failed = re.findall(r"^FAILED (\w+)\.ipynb::(.+?)(?: - .*)?$", output, re.MULTILINE)
    assert sorted(failed) == sorted((fault, cell) for fault, (_, cell, _) in FAULTS.items()), output
    assert len(re.findall(r"^PASSED good", output, re.MULTILINE)) == 10  # 6 cells, 2 × 2 added
    for fault, (_, _, complaint) in FAULTS.items():
        assert complaint in output, fault
