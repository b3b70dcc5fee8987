"""What is kept of a draw, whom the two experts send where, and results that belong."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import choices
import numpy as np
import pytest
import torch
from cells import read
from choices import KEPT, Cell, Tosser
from torch import nn
from ways import CHUNK, MIDDLE, SCALE, Network, PlanClasses

from helpers.worlds.blocks import BlocksAlone

FRAME = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)


class Even(Network):
    """All kinds of plans are as likely."""

    def forward(self, views: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(views), PlanClasses.size)


@pytest.fixture
def network() -> nn.Module:
    turns = torch.linspace(-1, 1, 400)[:, None, None] * torch.ones(1, CHUNK, 3)
    return Even("speed", PlanClasses(MIDDLE + turns * SCALE))


@pytest.mark.parametrize("keeps", KEPT.values())
def test_side_and_reach_are_kept_or_drawn_anew(network: Any, keeps: tuple[str, ...]) -> None:
    student = Tosser(network, keeps)
    sides, reaches = set(), set()
    for place in range(3):
        student.begin(place)
        steering = [student(FRAME)[0] for _ in range(8 * choices.EXECUTE)][:: choices.EXECUTE]
        sides.add(len({*np.sign(steering)}))
        reaches.add(len({*steering}) > 2)  # or one kind on either side
        if {*keeps} == {"side", "reach"}:
            assert len({*steering}) == 1
    assert (max(sides) == 1) == ("side" in keeps)
    assert (reaches == {False}) == ("reach" in keeps)


def test_both_sides_are_tossed(network: Any) -> None:
    student, sides = Tosser(network, KEPT["both kept"]), []
    for place in range(40):
        student.begin(place)
        sides.append(np.sign(student(FRAME)[0]))
    assert 10 < sides.count(1.0) < 30


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """One block each, no training, one lap."""
    track = BlocksAlone._create_track

    def first_block(world: BlocksAlone) -> bool:
        made = track(world)
        world.blocks, world._bodies = world.blocks[:1], world._bodies[:1]
        return made

    monkeypatch.setattr(BlocksAlone, "_create_track", first_block)
    for name in ("TRACKS", "KEYS_TRACKS"):
        monkeypatch.setattr(choices, name, range(10_000, 10_001))
    monkeypatch.setattr(choices, "TIME_LIMIT", 200)
    for name in ("ASKED", "KEYS_LAPS"):
        monkeypatch.setattr(choices, name, 1)
    monkeypatch.setattr(choices.ways, "LAPS", 1)
    monkeypatch.setattr(choices.ways, "lap_path", lambda kind, seed: tmp_path / f"{kind}.npz")
    monkeypatch.setattr(choices.training, "train", lambda *_, **__: [])
    yield
    choices.experiments.digest.cache_clear()  # of another `train`


def test_a_row_for_each_question(short: None, tmp_path: Path) -> None:
    choices.ways.laps.cache_clear()
    wanted = [Cell(name) for name in choices.ASKS]
    choices.run(wanted, 1, tmp_path / "a.csv")
    choices.ways.laps.cache_clear()
    rows = read(tmp_path / "a.csv", Cell)
    draws, answers, keys = (rows[cell] for cell in wanted)
    assert all(draws[name] in ("L", "R", "H", "-") for name in KEPT)
    assert all(abs(float(answers[name])) < 0.5 for name in ("coin", "taken"))
    assert int(answers["labels"]) > 0
    assert all(float(keys[name]) for name in ("teacher", "average", "likeliest", "drawn", "mean"))
    assert len(list(choices.table(rows))) == len(KEPT) + 7


def test_the_committed_results_are_the_grid_and_belong_to_the_committed_code() -> None:
    rows = read(choices.FILE, Cell)
    assert set(rows) == set(choices.cells())
    stale = [cell for cell, row in rows.items() if row["digest"] != choices.digest(cell)]
    assert not stale, "the code has changed since: make experiments"
