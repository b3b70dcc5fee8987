"""The benchmark's table, by a small run, with a rival from a wheel and one that can't be had."""

import time
import zipfile

import bench
import numpy as np
import pytest

NEGATIVE = '''
from gymnasium.envs.box2d.car_racing import CarRacing

class CarRacingFS(CarRacing):
    """Gymnasium's, as a negative."""

    def __init__(self, frame_skip):
        super().__init__()

    def step(self, action):
        observation, *rest = super().step(action)
        return 255 - observation, *rest
'''


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """Where pip finds a package of npfl139's name, and nothing else."""
    name, version = bench.NPFL139[0].split("==")
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(tmp_path / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr("npfl139/__init__.py", "import torchaudio_of_npfl139")
        wheel.writestr("npfl139/envs/car_racing.py", NEGATIVE)
        wheel.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}"
        )
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any"
        )
        wheel.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))


def test_table(shelf, capsys):
    bench.main(racing_turns=1, mountain_turns=1, cars=20, training_turns=1, training_steps=3)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == bench.HEADER
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert {len(row) for row in rows} == {6}
    found = {row[0]: row[-1] for row in rows[2:]}
    assert found.pop("envpool's").startswith("not measured: RuntimeError: ERROR: No matching")
    assert found == {
        "FastCarRacing, a step": "the same bytes",
        "npfl139's CarRacingFS": "100% of the pixels differ",
        "MountainCarVector, a car's step": "the same numbers",
        "`train`, a step": "also draws them, averages weights, keeps losses",
    }
    times = {row[0]: float(row[4].split()[0]) for row in rows[2:] if "–" not in row}
    assert times["MountainCarVector, a car's step"] > 1 and times["`train`, a step"] < 2


def test_the_bare_training_gets_the_same_batches(monkeypatch):
    given = []

    class Watched(bench.DrivingCNN):
        def forward(self, views):
            given.append(views.clone())
            return super().forward(views)

    monkeypatch.setattr(bench, "DrivingCNN", Watched)
    bench.training(turns=1, steps=3)
    noted, ours, bare = given[:3], given[3:6], given[6:]
    for batches in zip(noted, ours, bare, strict=True):
        assert all((batch == batches[0]).all() for batch in batches)
    assert (noted[0] != noted[1]).any()


def test_turns_alternate_and_waiting_costs_nothing():
    order = []

    def work(turn):
        order.append(("work", turn))
        end = time.process_time() + 0.03
        while time.process_time() < end:
            pass

    def wait(turn):
        order.append(("wait", turn))
        time.sleep(0.03)

    spent = bench.paired({"work": work, "wait": wait}, 2)
    assert order == [("work", 0), ("wait", 0), ("work", 1), ("wait", 1)]
    assert (spent["work"] >= 0.03).all() and (spent["wait"] < 0.015).all()


def test_a_row_shows_medians_and_the_ratio_of_each_turn():
    ours, theirs = np.array([1.0, 1.0, 4.0]), np.array([3.0, 3.0, 12.0])
    line = bench.row("a", ours * 1e-6, "b", theirs * 1e-3, "c")
    assert line == "| a | 1.00 µs | b | 3.00 ms | 3000 (3000 to 3000) | c |"
    assert "| 1.02 (1.02 to 1.02) |" in bench.row("a", ours, "b", 1.02 * ours, "c")
