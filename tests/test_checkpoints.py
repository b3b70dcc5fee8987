"""Looks within a training: what is looked at, and results that belong."""

from functools import partial
from pathlib import Path

import checkpoints
import experiments
import numpy as np
import pytest
import torch
from cells import read
from checkpoints import DECAY, Cell, looks

from helpers.rollouts import rollout


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight steps, two looks, one lap of noise, a hundred steps of driving."""
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (40, 96, 96, 3), np.uint8)
    lap = frames, rng.uniform(0, 0.4, (40, 3)).astype(np.float32)
    monkeypatch.setattr(experiments, "laps", lambda name: [lap])
    monkeypatch.setattr(experiments, "record_missing", lambda names, workers: None)
    monkeypatch.setattr(checkpoints, "rollout", partial(rollout, max_steps=100))
    monkeypatch.setattr(checkpoints, "STEPS", 8)
    monkeypatch.setattr(checkpoints, "LOOKS", range(7, 9))
    monkeypatch.setattr(checkpoints, "TRACKS", range(10_000, 10_001))


def numbers(network: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def test_the_average_forgets_slowly(small: None) -> None:
    before, after = (
        {kind: numbers(n) for kind, n in found.items()} for found in looks(Cell("all gauges"))
    )
    expected = DECAY * before["averaged"] + (1 - DECAY) * after["last"]
    assert torch.allclose(after["averaged"], expected, atol=1e-6)
    assert not torch.allclose(before["last"], after["last"])


def test_a_row_has_a_number_for_each_look(small: None, tmp_path: Path) -> None:
    wanted = [Cell("all gauges")]
    checkpoints.run(wanted, 1, tmp_path / "a.csv")
    (row,) = read(tmp_path / "a.csv", Cell).values()
    kinds = [f"{what}_{kind}" for what in ("loss", "return") for kind in checkpoints.WEIGHTS]
    assert all(len(row[kind].split()) == 2 for kind in kinds)
    assert len(list(checkpoints.table({wanted[0]: row}))) == 2


def test_the_committed_results_are_the_grid_and_belong_to_the_committed_code() -> None:
    rows = read(checkpoints.FILE, Cell)
    assert set(rows) == set(checkpoints.cells())
    stale = [cell for cell, row in rows.items() if row["digest"] != checkpoints.digest(cell)]
    assert not stale, "the code has changed since: make experiments"
