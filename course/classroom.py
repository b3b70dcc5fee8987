"""Builds the assignments for students, and checks what grades them (``make course``).

    python course/classroom.py                 into course/classroom, an nbgrader course
    python course/classroom.py --seed 2027     with other data: for another year
    python course/classroom.py --folder mine   into another folder

What students get lies in ``release/`` there; what they hand in, and gradebook.db, stay as they are.
Before it is built, the checks are checked: the solutions get full marks, what is released gets
none, each solution in ``course/wrong/`` fails the tests that it names, and no other, and those in
``course/right/``, which solve a task in another way, fail none. Then nbgrader itself grades and
writes feedback for two students, one who hands in the solutions and one who hands in what was
released, in a folder that is thrown away.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from materials import write
from nbformat import NotebookNode

from helpers.plumbing import in_workers

HERE = Path(__file__).resolve().parent
SOURCE, WRONG, RIGHT = HERE / "source", HERE / "wrong", HERE / "right"
ASSIGNMENTS = sorted(path.name for path in SOURCE.iterdir() if path.is_dir())
SEED = 1  # of the data that the students get

# As nbgrader does it, with its own words
SOLUTION = re.compile(r"^( *)### BEGIN SOLUTION\n.*?^ *### END SOLUTION$", re.M | re.S)
STUB = r"\1# YOUR CODE HERE\n\1raise NotImplementedError()"
SECRET = "### BEGIN", "**Rubric.**", "KEY ="  # nothing of it is released
HEADER = re.compile(r'"""(.*?)\n\nCell: (\S+)\n(?:Fails: ([^\n]+)\n)?"""\n\n+(.*)', re.S)

Code = dict[str, str]  # by grade_id: what stands in each cell that students fill in


@dataclass(frozen=True)
class Other:
    """Another solution: what it does, the one cell that it changes, and the tests it must fail."""

    why: str
    code: Code
    fails: set[str]


def prepare(folder: Path, seed: int = SEED) -> None:
    """An nbgrader course in ``folder``: its configuration, and ``source/`` with the data."""
    shutil.copytree(SOURCE, folder / "source", dirs_exist_ok=True)
    shutil.copy(HERE / "nbgrader_config.py", folder)
    write(folder / "source", seed)


def read(folder: Path, name: str) -> NotebookNode:
    """The source notebook of an assignment of a course."""
    return nbformat.read(folder / "source" / name / f"{name}.ipynb", as_version=4)


def about(cell: NotebookNode, what: str) -> Any:
    """What nbgrader knows of a cell: grade_id, grade, solution, points; None for a free cell."""
    return cell.metadata.get("nbgrader", {}).get(what)


def solved(notebook: NotebookNode) -> Code:
    """The code that fills the cells, as the source has it."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return {about(cell, "grade_id"): cell.source for cell in cells if about(cell, "solution")}


def released(notebook: NotebookNode) -> Code:
    """The same cells as students get them."""
    return {name: SOLUTION.sub(STUB, code) for name, code in solved(notebook).items()}


def points(notebook: NotebookNode) -> dict[str, int]:
    """The points of each test, by grade_id; answers in words are graded by hand, and left out."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return {about(c, "grade_id"): about(c, "points") for c in cells if about(c, "grade")}


def wrong_solutions(name: str) -> dict[str, Other]:
    """The wrong solutions of an assignment, by their files' names."""
    return _solutions(WRONG / name, "a line Cell: and one Fails:")


def right_solutions(name: str) -> dict[str, Other]:
    """Those that are right, too, and go another way than the notebook's."""
    return _solutions(RIGHT / name, "a line Cell: and none Fails:")


def _solutions(folder: Path, lines: str) -> dict[str, Other]:
    found = {}
    for path in sorted(folder.glob("*.py")):
        match = HEADER.fullmatch(path.read_text(encoding="utf-8"))
        if match is None or (match[3] is None) != ("none" in lines):
            raise ValueError(f"{path} should begin with what it does, {lines}")
        why, cell, fails, code = match.groups()
        found[path.stem] = Other(why, {cell: code}, set(fails.split(", ")) if fails else set())
    return found


def failed(folder: Path, name: str, code: Code) -> dict[str, str]:
    """The tests that fail with this code in the cells, by grade_id, and what each says.

    The notebook's cells run one after the other in this process, as nbgrader runs them in a kernel:
    a cell that fails is left, and the next one runs.
    """
    space: dict[str, Any] = {"__name__": "__main__"}
    wrong = {}
    with contextlib.chdir(folder / "source" / name), contextlib.redirect_stdout(io.StringIO()):
        for cell in read(folder, name).cells:
            if cell.cell_type != "code":
                continue
            grade_id = about(cell, "grade_id")
            try:
                exec(compile(code.get(grade_id, cell.source), f"<{grade_id}>", "exec"), space)
            except Exception as error:
                if about(cell, "grade"):
                    wrong[grade_id] = f"{type(error).__name__}: {error}"
    return wrong


def check(folder: Path, name: str) -> list[str]:
    """What is wrong with an assignment's tests; nothing, if all is well."""
    notebook = read(folder, name)
    solution, stubs, tests = solved(notebook), released(notebook), points(notebook)
    others = wrong_solutions(name) | right_solutions(name)
    codes = [solution, stubs, *(solution | other.code for other in others.values())]
    tasks = [(folder, name, code) for code in codes]
    ours, theirs, *found = in_workers(failed, tasks, os.cpu_count() or 1)
    complaints = [f"{name}: the solution fails {test}: {says}" for test, says in ours.items()]
    passed = set(tests) - set(theirs)
    complaints += [f"{name}: what is released passes {test}" for test in sorted(passed)]
    for (stem, other), fails in zip(others.items(), found, strict=True):
        if unknown := (set(other.code) - set(solution)) | (other.fails - set(tests)):
            complaints.append(f"{name}: {stem} names {unknown}, which the notebook doesn't have")
        if set(fails) != other.fails:
            wanted = other.fails or "nothing"
            complaints.append(f"{name}: {stem} fails {fails or 'nothing'}, not {wanted}")
    return complaints


def nbgrader(folder: Path, *command: str) -> None:
    """One of nbgrader's commands, in the course's folder; raises RuntimeError with what it said."""
    run = [sys.executable, "-m", "nbgrader", *command]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # it calls alembic
    env = {**os.environ, "PATH": path}
    done = subprocess.run(run, cwd=folder, env=env, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"nbgrader {' '.join(command)}:\n{done.stderr[-3000:]}")


def release(folder: Path) -> None:
    """Let nbgrader write ``release/``; raises RuntimeError where it holds what it shouldn't."""
    for name in ASSIGNMENTS:
        nbgrader(folder, "generate_assignment", name, "--force")
        text = (folder / "release" / name / f"{name}.ipynb").read_text(encoding="utf-8")
        if left := [words for words in SECRET if words in text]:
            raise RuntimeError(f"{name} as released still has {left}")


def try_nbgrader(folder: Path) -> list[str]:
    """Grade two students with nbgrader, in a course with a release: complaints, if any."""
    for name in ASSIGNMENTS:
        for student in ("solved", "untouched"):
            shutil.copytree(folder / "release" / name, folder / "submitted" / student / name)
        path = folder / "submitted" / "solved" / name / f"{name}.ipynb"
        notebook, code = nbformat.read(path, as_version=4), solved(read(folder, name))
        for cell in notebook.cells:
            cell.source = code.get(about(cell, "grade_id"), cell.source)
        nbformat.write(notebook, path)
        nbgrader(folder, "autograde", name)
        nbgrader(folder, "generate_feedback", name)
    nbgrader(folder, "export")
    with (folder / "grades.csv").open(encoding="utf-8") as file:
        scores = {(r["assignment"], r["student_id"]): r["score"] for r in csv.DictReader(file)}
    complaints = []
    for name in ASSIGNMENTS:
        full = sum(points(read(folder, name)).values())
        for student, wanted in (("solved", full), ("untouched", 0)):
            got = float(scores[name, student])
            if got != wanted:
                complaints.append(f"{name}: nbgrader gives {student} {got}, not {wanted}")
            if not (folder / "feedback" / student / name / f"{name}.html").exists():
                complaints.append(f"{name}: no feedback for {student}")
    return complaints


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the assignments, and check their tests.")
    parser.add_argument("--seed", type=int, default=SEED, help="of the data (default: %(default)s)")
    parser.add_argument("--folder", type=Path, default=HERE / "classroom")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="course-") as temporary:
        trial = Path(temporary)
        prepare(trial, chosen.seed)
        complaints = []
        for name in ASSIGNMENTS:
            notebook = read(trial, name)
            total, wrong = sum(points(notebook).values()), len(wrong_solutions(name))
            right = 1 + len(right_solutions(name))
            print(f"{name}: {total} points by tests; solutions: {right} right, {wrong} wrong")
            sys.stdout.flush()
            complaints += check(trial, name)
        release(trial)
        print("nbgrader grades two students …", flush=True)
        complaints += try_nbgrader(trial)
    if complaints:
        sys.exit("\n".join(complaints))
    prepare(chosen.folder, chosen.seed)
    release(chosen.folder)
    print(f"all as it should be; give your students what is in {chosen.folder / 'release'}")


if __name__ == "__main__":
    main()
