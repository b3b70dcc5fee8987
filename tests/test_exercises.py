"""Each exercise's check says "not yet" until it is solved, and its solution solves it.

An exercise is a code cell with the tag "exercise", followed by one with the tag "check" that prints
"solved" or "not yet", followed by markdown with the solution as a Python block in <details>.
"""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
SOLUTION = re.compile(r"<summary>Solution</summary>.*?```python\n(.*?)```", re.DOTALL)


def tags(cell):
    return cell.metadata.get("tags", [])


def exercises(notebook):
    """(index of the exercise's cell, of its check, solution) for each exercise."""
    found = []
    for i, cell in enumerate(notebook.cells):
        if "exercise" in tags(cell):
            check = next(
                j for j in range(i, len(notebook.cells)) if "check" in tags(notebook.cells[j])
            )
            found.append((i, check, SOLUTION.search(notebook.cells[check + 1].source)[1]))
    return found


WITH_EXERCISES = [p for p in NOTEBOOKS if exercises(nbformat.read(p, as_version=4))]


def test_notebooks_have_two_to_four_exercises():
    counts = {p.stem: len(exercises(nbformat.read(p, as_version=4))) for p in WITH_EXERCISES}
    assert {"01-collect-mountain-car", "02-clone-mountain-car"} <= set(counts)
    assert all(2 <= count <= 4 for count in counts.values()), counts


@pytest.mark.parametrize("path", WITH_EXERCISES, ids=lambda p: p.stem)
def test_solutions_solve_and_stubs_do_not(path):
    notebook = nbformat.read(path, as_version=4)
    found = exercises(notebook)
    # behind each check, the solution and the check once more
    for exercise, check, solution in reversed(found):
        for source in (notebook.cells[check].source, solution):
            notebook.cells.insert(check + 1, nbformat.v4.new_code_cell(source))
        assert notebook.cells[exercise].cell_type == "code"
    NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=600,
        resources={"metadata": {"path": str(path.parent)}},
        extra_arguments=["--IPKernelApp.log_level=40"],
    ).execute()
    for number, (_, check, _) in enumerate(found):
        before, after = (notebook.cells[check + 2 * number + k] for k in (0, 2))
        said = ["".join(o.get("text", "") for o in cell.outputs) for cell in (before, after)]
        assert "not yet" in said[0], f"exercise {number + 1} is solved before it is begun"
        assert "solved" in said[1] and "not yet" not in said[1], (
            f"the solution of exercise {number + 1} does not solve it: {said[1]}"
        )
