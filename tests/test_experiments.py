"""The experiments: a cell is made once, whatever interrupts the rest, and belongs to its code."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import experiments
import gymnasium as gym
import numpy as np
import pytest
import torch
from cells import ResultsError, read
from experiments import VIEWS, Cell, digest_of_cell

from helpers import training
from helpers.networks import ROAD
from helpers.results import CAUSES, causes, interval
from helpers.worlds.drivers import RacingDriver

CELLS = [Cell("30 clean", "speed", seed=seed) for seed in range(3)]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Cell]:
    """The cells that were made, without the hours that it takes."""
    cells: list[Cell] = []

    def measure(cell: Cell) -> dict[str, Any]:
        if cell.seed == 7:
            raise KeyboardInterrupt
        cells.append(cell)
        return {"labels": 5, "held_out_loss": np.float32(1 / 3), "returns": f"{cell.seed}.0 2.0"}

    monkeypatch.setattr(experiments, "measure", measure)
    monkeypatch.setattr(experiments, "lap_set", lambda name: [])
    monkeypatch.setattr(experiments, "digest", lambda data, seen: f"code{len(data):3}{len(seen):5}")
    return cells


def test_it_goes_on_where_it_was(tmp_path: Path, made: list[Cell]) -> None:
    path = tmp_path / "results" / "causes.csv"
    with pytest.raises(KeyboardInterrupt):
        experiments.run([CELLS[0], replace(CELLS[0], seed=7), CELLS[1]], 1, path)
    assert made == CELLS[:1] and list(read(path, Cell)) == made
    experiments.run(CELLS, 1, path)
    assert made == CELLS
    before = path.read_bytes()
    experiments.run(CELLS, 1, path)
    assert made == CELLS and path.read_bytes() == before
    assert read(path, Cell)[CELLS[2]]["held_out_loss"] == "0.33333"


def test_bursts_are_stronger_in_the_harder_laps() -> None:
    made = []
    for kind in (training.Disturbed, experiments.Harder):
        driver = kind(lambda frame: np.zeros(3, np.float32), np.random.default_rng(0))
        made.append(np.array([driver(np.zeros(1))[0] for _ in range(5_000)]))
    soft, hard = np.abs(made)
    assert hard.max() > 0.95 > 0.6 >= soft.max() and (hard > 0).mean() > 1.2 * (soft > 0).mean()


def test_the_interval_counts_trainings_and_tracks() -> None:
    tracks = np.linspace(-50, 50, 20)
    alike = np.tile(tracks, (5, 1))
    spread = alike + np.linspace(-100, 100, 5)[:, None]
    (low, high), (lower, higher) = interval(alike), interval(spread)
    assert 20 < high - low < 35 and higher - lower > 3 * (high - low)
    assert interval(np.full((2, 3), 7.0)) == (7, 7)


@pytest.mark.parametrize("harm", ["cut", "header", "word", "twice", "conflict"])
def test_a_file_that_was_touched_is_named_and_left(
    tmp_path: Path, made: list[Cell], harm: str
) -> None:
    path = tmp_path / "causes.csv"
    experiments.run(CELLS, 1, path)
    lines = path.read_text().splitlines()
    lines = {
        "cut": [*lines[:-1], lines[-1][:30]],
        "header": lines[1:],
        "word": [line.replace("True", "yes") for line in lines],
        "twice": [*lines, lines[-1]],
        "conflict": [lines[0], "<<<<<<< HEAD", *lines[1:]],
    }[harm]
    path.write_text("\n".join(lines))
    with pytest.raises(ResultsError, match=r"causes.csv, line \d.* git checkout"):
        experiments.run([replace(CELLS[0], seed=4)], 1, path)
    assert path.read_text() == "\n".join(lines) and made == CELLS


def test_results_of_other_code_are_made_again(
    tmp_path: Path, made: list[Cell], monkeypatch
) -> None:
    path, digest = tmp_path / "causes.csv", experiments.digest("30 clean", "speed")
    experiments.run(CELLS, 1, path)
    monkeypatch.setattr(experiments, "digest", lambda data, seen: "othercode000")
    experiments.run(CELLS[:1], 1, path)
    assert made == [*CELLS, CELLS[0]]
    digests = [row["digest"] for row in read(path, Cell).values()]
    assert digests == ["othercode000", *[digest] * 2]  # what wasn't asked for stays


def test_every_kind_of_setting_comes_back_from_the_file(tmp_path: Path, made: list[Cell]) -> None:
    cells = [Cell("66 clean", "whole picture", "absolute", False, 40, 0.0, False, 2), CELLS[0]]
    experiments.run([replace(c, data="30 clean") for c in cells], 1, tmp_path / "a.csv")
    assert set(read(tmp_path / "a.csv", Cell)) == {replace(c, data="30 clean") for c in cells}


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_hides_what_it_says(name: str) -> None:
    """Other pixels in a hidden gauge change nothing; in one that is seen they do."""
    seen = VIEWS[name]
    torch.manual_seed(0)
    model = seen.network(True)
    frames = np.random.default_rng(0).integers(0, 256, (6, 96, 96, 3), np.uint8)
    before = model(torch.from_numpy(seen.inputs(frames)))
    for gauge, columns in (("speed", (12, 16)), ("steering", (37, 59)), ("rotation", (61, 83))):
        other = frames.copy()
        other[:, 84:, slice(*columns)] //= 2
        same = torch.equal(model(torch.from_numpy(seen.inputs(other))), before)
        shown = gauge in name or name == "whole picture" or name.startswith("all gauges")
        assert same != shown, gauge


@pytest.mark.parametrize("name", VIEWS)
def test_a_student_sees_at_the_wheel_what_it_was_taught_on(name: str) -> None:
    seen = VIEWS[name]
    student = experiments.Student(seen.network(True), seen)
    frames = np.random.default_rng(0).integers(0, 256, (6, 96, 96, 3), np.uint8)
    with torch.no_grad():
        taught = student.model(torch.from_numpy(seen.inputs(frames))).numpy()
    for _ in range(2):
        student.reset()
        driven = np.array([student.act(frame) for frame in frames])
        assert np.allclose(driven, taught.clip([-1, 0, 0], [1, 1, 1]), atol=1e-5)


@pytest.mark.parametrize("name", VIEWS)
def test_mirrored_twice_is_unchanged(name: str) -> None:
    seen = VIEWS[name]
    frames = np.random.default_rng(0).integers(0, 256, (4, 96, 96, 3), np.uint8)
    inputs, actions = torch.from_numpy(seen.inputs(frames)), torch.rand(4, 3)
    once = seen.mirror(inputs, actions)
    twice = seen.mirror(*once)
    assert torch.equal(twice[0], inputs) and torch.equal(twice[1], actions)
    assert not torch.equal(once[0], inputs) and torch.equal(once[1][:, 0], -actions[:, 0])
    if once[0].ndim == 3:  # a view: its road is the mirrored picture's
        assert torch.equal(
            once[0][:, :ROAD], torch.from_numpy(seen.see(frames[:, :, ::-1]))[:, :ROAD]
        )


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("IL_DATA", str(tmp_path))
    monkeypatch.setattr(experiments, "TRACKS", range(10_000, 10_001))
    monkeypatch.setattr(experiments, "PUSHES", (5,))
    fewer = {name: (1, 1, how) for name, (_, _, how) in experiments.ASKED.items()}
    monkeypatch.setattr(experiments, "ASKED", fewer)
    lap_set = experiments.lap_set
    monkeypatch.setattr(experiments, "lap_set", lambda name: lap_set(name)[:1])
    for kept in (experiments.laps, experiments.digest):
        kept.cache_clear()
    yield
    for kept in (experiments.laps, experiments.digest):
        kept.cache_clear()


def test_a_cell_gives_the_same_numbers_again(small: None, tmp_path: Path) -> None:
    cells = [
        Cell("30 disturbed", "all gauges", steps=3),
        Cell("DAgger", "no bar, 2 frames", steps=3),
    ]
    experiments.run(cells, 1, tmp_path / "a.csv")
    experiments.run(cells, 1, tmp_path / "b.csv")
    first, again = (read(tmp_path / name, Cell) for name in ("a.csv", "b.csv"))
    times = {"training_s", "all_s"}
    for cell in cells:
        row = {k: v for k, v in first[cell].items() if k not in times}
        assert row == {k: v for k, v in again[cell].items() if k not in times}
        assert len(row["returns"].split()) == 1 and row["back_5"] in ("0", "1")
    asked = int(first[cells[1]]["labels"])
    assert asked > len(experiments.laps("30 clean")[0][1])  # DAgger's laps come on top
    assert first[cells[1]]["road"] == "nan" != first[cells[0]]["road"]
    assert list(experiments.table(first)) == []  # these settings are no row of the tables


def test_a_digest_follows_what_the_cell_depends_on(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [
        ("30 clean", "speed"),
        ("30 disturbed", "speed"),
        ("DAgger", "no bar"),
        ("take-over", "speed"),
    ]
    before = [experiments.digest(*name) for name in names]
    assert len(set(before)) == 4 and all(len(one) == 12 for one in before)
    experiments.digest.cache_clear()

    class Disturbed(training.Disturbed):
        length = (1, 2)

    monkeypatch.setitem(experiments.KINDS, "disturbed", Disturbed)
    changed = [experiments.digest(*name) != old for name, old in zip(names, before, strict=True)]
    experiments.digest.cache_clear()
    assert changed == [False, True, False, False]


def test_the_driver_takes_over_at_the_edge_and_its_steps_alone_are_kept() -> None:
    env = gym.make("FastCarRacing-v3", max_episode_steps=150)
    lost = SimpleNamespace(
        reset=lambda: None, act=lambda frame: np.array([0.2, 0.3, 0], np.float32)
    )
    frames, labels = experiments.take_over(env, lost, RacingDriver(env), 0)
    assert 25 <= len(labels) == len(frames) < 150 and frames.shape[1:] == (96, 96, 3)
    assert np.abs(labels[:, 0] - 0.2).min() > 1e-3  # the driver's, never the student's
    driver = RacingDriver(env)
    good = SimpleNamespace(reset=lambda: None, act=lambda frame: driver(frame))
    frames, labels = experiments.take_over(env, good, driver, 0)
    assert frames.shape == (0, 96, 96, 3) and labels.shape == (0, 3)


def test_where_no_road_is_in_sight_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    road, grass = np.zeros((2, 96, 96, 3), np.uint8)
    road[..., 1], grass[..., 1] = 204, 204
    road[40:60, 30:50] = 105
    both = np.array([road, grass, road]), np.eye(3, dtype=np.float32)
    monkeypatch.setattr(experiments, "ask", lambda *about: both)
    frames, labels = experiments.ask_in_sight(None, None, None, 0)
    assert len(frames) == 2 and (labels == np.eye(3)[[0, 2]]).all()


def test_results_are_found_by_their_columns_or_what_there_is_is_named() -> None:
    row = causes("30 clean", "all gauges", loss="absolute", squash=False)
    assert len(row) == 5 and row["labels"].tolist() == [22_361] * 5
    assert len(causes("30 clean", "all gauges", average=0.0)) == 5
    assert row.returns.shape == (5, 20) and row.interval[0] < row.mean < row.interval[1]
    with pytest.raises(LookupError, match=r"'31 clean'.* there are\ndata='30 clean', view="):
        causes("31 clean", "all gauges")


def test_the_most_telling_rows_are_finished_first() -> None:
    rows, found = experiments.rows(), experiments.cells()
    assert len(set(found)) == len(found) == experiments.SEEDS * len(rows)
    first = {replace(cell, seed=0) for cell in found[: experiments.SEEDS * experiments.TELLING]}
    assert first == set(rows[: experiments.TELLING])
    seeds = [cell.seed for cell in found[experiments.SEEDS * experiments.TELLING :]]
    assert seeds == sorted(seeds)


def test_the_committed_results_belong_to_the_committed_code() -> None:
    results = read(CAUSES, Cell)
    stale = [cell for cell, row in results.items() if row["digest"] != digest_of_cell(cell)]
    assert not stale, "the code has changed since: make experiments"
    assert set(results) == set(experiments.cells()), "a row is missing, or is of no use any more"
