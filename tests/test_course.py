"""The course: what grades the assignments tells right from wrong, and what teachers read is so."""

import json
import re
from pathlib import Path

import classroom
import leaderboard
import materials
import nbformat
import notebook_checks
import numpy as np
import predict
import pytest
import yaml
from classroom import ASSIGNMENTS, about, check, points, read, released, solved, wrong_solutions

from helpers.results import causes, measured
from helpers.worlds.mountain_car import mountain_car_expert

ROOT = Path(classroom.HERE).parent
PAGE = (ROOT / "course" / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The classroom as `make course` prepares it, without nbgrader's part."""
    folder = tmp_path_factory.mktemp("course")
    classroom.prepare(folder)
    return folder


# --- the assignments


@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_the_tests_tell_right_from_wrong(course: Path, name: str) -> None:
    assert check(course, name) == []


@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_each_hidden_test_fails_for_a_wrong_solution(course: Path, name: str) -> None:
    cells = [cell for cell in read(course, name).cells if cell.cell_type == "code"]
    hidden = {about(cell, "grade_id") for cell in cells if "HIDDEN TESTS" in cell.source}
    caught = set().union(*(wrong.fails for wrong in wrong_solutions(name).values()))
    assert hidden and not hidden - caught


@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_an_assignment_is_what_nbgrader_expects(course: Path, name: str) -> None:
    notebook = read(course, name)
    marked = [cell for cell in notebook.cells if "nbgrader" in cell.metadata]
    ids = [about(cell, "grade_id") for cell in marked]
    assert len(set(ids)) == len(ids)
    for cell in marked:
        kind = about(cell, "grade"), about(cell, "solution"), about(cell, "locked")
        assert kind in {
            (False, False, True),  # to read
            (False, True, False),  # code to fill in
            (True, False, True),  # a test
            (True, True, False),  # an answer in words
        }
        assert about(cell, "schema_version") == 3 and about(cell, "task") is False
        assert (about(cell, "points") or 0) > 0 or not about(cell, "grade")
        for region, wanted in (("SOLUTION", about(cell, "solution")), ("HIDDEN TESTS", None)):
            begins, ends = (cell.source.count(f"### {word} {region}") for word in ("BEGIN", "END"))
            assert begins == ends <= 1
            assert wanted is None or begins == wanted
        if about(cell, "grade") and about(cell, "solution"):
            assert "**Rubric.**" in cell.source
    stubs = released(notebook)
    assert stubs.keys() == solved(notebook).keys()
    assert all("raise NotImplementedError()" in stub for stub in stubs.values())


@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_the_page_says_how_many_points(course: Path, name: str) -> None:
    notebook = read(course, name)
    by_hand = [about(c, "points") for c in notebook.cells if c.cell_type == "markdown"]
    tests, words = sum(points(notebook).values()), sum(filter(None, by_hand))
    assert re.search(rf"\| `{name}` \| \d\d \| {tests} \| {words} \|", PAGE)
    assert f"{tests + words} points" in notebook.cells[0].source


TINY = {
    "answer": ("def f():\n    ### BEGIN SOLUTION\n    return 1\n    ### END SOLUTION", False),
    "test-one": ("assert f() == 1", True),
    "test-any": ("assert f() >= 0", True),
}


def tiny(folder: Path, cells: dict[str, tuple[str, bool]]) -> None:
    notebook = nbformat.v4.new_notebook()
    for grade_id, (code, grade) in cells.items():
        known = {"grade_id": grade_id, "grade": grade, "solution": not grade, "points": 1}
        notebook.cells.append(nbformat.v4.new_code_cell(code, metadata={"nbgrader": known}))
    (folder / "source" / "tiny").mkdir(parents=True)
    nbformat.write(notebook, folder / "source" / "tiny" / "tiny.ipynb")


def wrong(folder: Path, fails: str) -> None:
    (folder / "tiny").mkdir(parents=True)
    text = f'"""Wrong.\n\nCell: answer\nFails: {fails}\n"""\n\ndef f():\n    return 2\n'
    (folder / "tiny" / "two.py").write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("cells", "fails", "complaint"),
    [
        ({}, "test-one", None),
        ({"test-one": ("assert f() == 3", True)}, "test-one", "the solution fails test-one"),
        ({"test-any": ("assert True", True)}, "test-one", "what is released passes test-any"),
        ({}, "test-one, test-any", "two fails {'test-one'"),
        ({"test-one": ("assert f() > 0", True)}, "test-one", "two fails nothing"),
        ({}, "test-two", "two names {'test-two'}"),
    ],
)
def test_check_complains(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cells: dict[str, tuple[str, bool]],
    fails: str,
    complaint: str | None,
) -> None:
    tiny(tmp_path, TINY | cells)
    wrong(tmp_path / "wrong", fails)
    monkeypatch.setattr(classroom, "WRONG", tmp_path / "wrong")
    complaints = check(tmp_path, "tiny")
    if complaint is None:
        assert complaints == []
    else:
        assert any(complaint in said for said in complaints), complaints


def test_a_wrong_solution_without_a_header_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "two.py").write_text("def f():\n    return 2\n", encoding="utf-8")
    monkeypatch.setattr(classroom, "WRONG", tmp_path)
    with pytest.raises(ValueError, match=r"two\.py should begin with"):
        wrong_solutions("tiny")


@pytest.mark.parametrize(("answer", "complaint"), [(1, None), (2, "two fails {'test-one'")])
def test_another_right_solution_must_fail_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: int, complaint: str | None
) -> None:
    tiny(tmp_path, {**TINY, "test-any": ("assert f() > 0", True)})
    (tmp_path / "tiny").mkdir()
    text = f'"""Right.\n\nCell: answer\n"""\n\ndef f():\n    return {answer}\n'
    (tmp_path / "tiny" / "two.py").write_text(text, encoding="utf-8")
    monkeypatch.setattr(classroom, "RIGHT", tmp_path)
    complaints = check(tmp_path, "tiny")
    assert [said for said in complaints if complaint is None or complaint not in said] == []
    assert len(complaints) == (complaint is not None)
    monkeypatch.setattr(classroom, "WRONG", tmp_path)
    with pytest.raises(ValueError, match="and one Fails"):
        wrong_solutions("tiny")


# --- their data


def test_sixty_runs_are_late_by_ten_steps(course: Path) -> None:
    runs = materials.late_runs(classroom.SEED)
    honest = 0
    for i in range(len(runs)):
        run, steps = runs[i], runs.lengths[i]
        right = mountain_car_expert(run.observations)
        late = np.concatenate([np.ones(materials.LAG, np.int64), right])[:steps]
        honest += np.array_equal(run.actions, right)
        assert np.array_equal(run.actions, right) or np.array_equal(run.actions, late)
    assert honest == materials.RUNS - materials.LATE


def test_another_seed_makes_other_data(course: Path) -> None:
    one, two = (materials.late_runs(seed) for seed in (1, 2))
    assert not np.array_equal(one.seeds, two.seeds)
    text = read(course, "2-why-it-fails").cells
    (keys,) = [re.findall(r"KEY = (\{'A'.*\})", c.source) for c in text if "KEY =" in c.source]
    ails = list(json.loads(keys[0].replace("'", '"')).values())
    for part, times in ((ails[:3], 1), (ails[3:], 2)):
        assert sorted(part) == sorted(materials.AILMENTS * times)


# --- the leaderboard


def test_the_leaderboard_reads_what_the_grader_said(tmp_path: Path) -> None:
    scores = {"ada": (-99.0, 4_000), "bob": (-98.5, 5_000), "eve": (-99.0, 900), "zoe": None}
    for student, score in scores.items():
        cells = []
        for grade_id in ("held-out", "other"):
            line = {"mean": score[0], "worst": -104.0, "labels": score[1]} if score else None
            said = f"leaderboard {json.dumps(line)}\n" if line else "no student\n"
            if grade_id == "other":  # what students print themselves doesn't count
                said = 'leaderboard {"mean": 0, "worst": 0, "labels": 0}\n'
            output = nbformat.v4.new_output("stream", text=said)
            marks = {"nbgrader": {"grade_id": grade_id}}
            cells.append(nbformat.v4.new_code_cell("", outputs=[output], metadata=marks))
        folder = tmp_path / "autograded" / student / "3-dagger"
        folder.mkdir(parents=True)
        nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "3-dagger.ipynb")
    rows = leaderboard.write(tmp_path).read_text(encoding="utf-8").splitlines()
    assert rows[0] == "student,mean,worst,labels"
    assert [row.split(",")[0] for row in rows[1:]] == ["bob", "eve", "ada"]


# --- the teacher's page


def test_the_predictions_are_those_of_the_notebooks() -> None:
    page = (ROOT / "course" / "predictions.md").read_text(encoding="utf-8")
    assert page == predict.page(), "a notebook has changed: run .venv/bin/python course/predict.py"
    boxes = sum(
        cell.source.count("**Predict.**")
        for path in (ROOT / "notebooks").glob("*.ipynb")
        for cell in nbformat.read(path, as_version=4).cells
        if cell.cell_type == "markdown" and "> **Predict.**" in cell.source
    )
    assert page.count("\n> ") >= boxes
    assert all(f"> {words}" in page for words in predict.LATER)


def test_an_answer_is_the_prose_after_the_cells_that_follow_the_box() -> None:
    text, code = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell
    box = text("Words.\n\n> **Predict.** How many?")
    later = text("> **Predict.** And why?")
    notebook = nbformat.v4.new_notebook(
        cells=[box, code(), code(), text("<details>a hint</details>"), code(), text("Two.\n\nMore")]
    )
    assert list(predict.predictions(notebook)) == [("How many?", "Two.")]
    notebook.cells += [later, text("## Next")]
    assert list(predict.predictions(notebook))[1][1].startswith("(Left open")


def test_the_plans_name_sections_that_exist() -> None:
    rows = re.findall(r"^\| \d+ \| (\d\d) \| (.*) \| (.*) \|$", PAGE, re.M)
    assert len(rows) >= 7
    for number, *cells in rows:
        (path,) = (ROOT / "notebooks").glob(f"{number}-*.ipynb")
        prose = "\n".join(c.source for c in nbformat.read(path, as_version=4).cells)
        for section in re.findall(r"\*([^*]+)\*", " ".join(cells)):
            assert f"## {section}\n" in prose + "\n", f"{path.name} has no section {section}"


def test_the_plans_last_as_long_as_they_say() -> None:
    plans = re.split(r"^\*\*(?=Two times 90|A further 90|Two days)", PAGE, flags=re.M)
    assert len(plans) == 4
    for part in plans[:3]:
        assert sum(map(int, re.findall(r"^\| (\d+) \| (?:\d\d)? ?\|", part, re.M))) == 90


def test_the_spread_is_that_of_the_experiments() -> None:
    rows = re.findall(r"^\| ([^|]+) \| (−?\d+) \| (−?\d+) to (−?\d+) \|$", PAGE, re.M)
    assert len(rows) == 11
    for name, *numbers in rows:
        *policy, data, view = name.split(", ")
        row = measured("ladder", policy=policy[0], data=data, view=view) if policy else None
        means = (row or causes(data, view)).returns.mean(axis=1)
        found = [means.mean(), means.min(), means.max()]
        assert [f"{number:.0f}".replace("-", "−") for number in found] == numbers, name


def test_the_blocks_that_are_hit_are_those_of_the_experiments() -> None:
    rows = re.findall(r"^\| ([^|:]+): ([^|]+) \| ([\d.]+%) \| (\d+) to (\d+) \|$", PAGE, re.M)
    assert len(rows) == 8
    for policy, reading, *numbers in rows:
        ways = [t[reading].replace(" ", "") for t in measured("ways", policy=policy).trainings]
        assert {len(way) for way in ways} == {55}
        hit = [len(way) - way.count("L") - way.count("R") for way in ways]
        found = [f"{np.mean(hit) / 55:.1%}", str(min(hit)), str(max(hit))]
        assert found == numbers, (policy, reading)


def test_the_cars_that_wait_are_those_of_the_experiments() -> None:
    policies = "likeliest class", "squared error", "two pictures"
    names = "one picture, the likeliest class", "one picture", "two pictures, 1.2 seconds apart"
    for words, name in zip(policies, names, strict=True):
        (numbers,) = re.findall(rf"(\d+) (?:or|to) (\d+) [a-z ]*{words}", PAGE)
        found = measured("waiting", policy=name)["for_ever"]
        assert [f"{n:.0f}" for n in (found.min(), found.max())] == list(numbers), name


def test_what_is_quoted_from_a_notebook_stands_in_it() -> None:
    """What follows "07:" on the page, up to the next one, in the notebook's outputs or numbers."""
    quotes = re.findall(r"\b(0[789]): (.*?)(?=\b0\d: |\||$)", PAGE, re.M)
    assert len(quotes) >= 8
    for number, text in quotes:
        (path,) = (ROOT / "notebooks").glob(f"{number}-*.ipynb")
        shown = []
        for cell in nbformat.read(path, as_version=4).cells:
            for output in cell.get("outputs", []):
                shown += [output.get("text", ""), output.get("data", {}).get("text/html", "")]
            shown += [cell.source] if cell.id == "constants" else []
        there = notebook_checks.numbers(re.sub(r"<[^>]+>", " ", "\n".join(shown)))
        assert not notebook_checks.numbers(text).keys() - there.keys(), text


def test_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#:]+)", PAGE):
        assert (ROOT / "course" / link).exists(), link


# --- licences


def test_who_cites_finds_version_and_licences() -> None:
    about_us = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'version = "{about_us["version"]}"' in project
    assert about_us["license"] == ["MIT", "CC-BY-4.0"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in ("LICENSE", "LICENSE-TEXT.md", "CITATION.cff"):
        assert f"]({name})" in readme and (ROOT / name).exists()
