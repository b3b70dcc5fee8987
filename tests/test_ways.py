"""Many right answers: what is learned from, what the heads mean, and results that belong."""

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
import ways
from cells import read
from torch import nn
from ways import (
    CHUNK,
    FILE,
    MIDDLE,
    POLICIES,
    SCALE,
    SEEDS,
    TRACKS,
    Cell,
    Coin,
    Flow,
    Network,
    PlanClasses,
    Plans,
    Reading,
    Student,
    answers,
    cells,
    digest,
    lap,
    plans,
    table,
    told,
)  # fmt: skip

from helpers.networks import mirror
from helpers.worlds.blocks import LEFT, RIGHT, SwervingDriver

COMMITTED = read(FILE, Cell)
BEST = "plans, classes", "6 of 12, one draw kept"  # a policy, and how it is read
FRAME = np.zeros((96, 96, 3), np.uint8)


def swerves(count: int) -> torch.Tensor:
    """Plans: to the left, and as many to the right."""
    steering = torch.linspace(0.1, 0.4, CHUNK).repeat(count, 1)
    rest = torch.tensor([0.3, 0.05]).expand(count, CHUNK, 2)
    one = torch.cat([steering[..., None], rest], 2)
    return torch.cat([one, one * torch.tensor([-1.0, 1, 1])])


def test_the_file_is_whole_and_belongs_to_the_code() -> None:
    assert set(COMMITTED) == set(cells()), "make experiments"
    for cell, row in COMMITTED.items():
        assert row["digest"] == digest(cell), f"{cell}: the code has changed: make experiments"
        for name in POLICIES[cell.policy].readings:
            words = row[name or "at each step"].split()
            assert len(words) == len(TRACKS) and set("".join(words)) <= {*"LRH-"}, cell


def test_a_cell_is_made_again_when_a_setting_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    before = digest(Cell("plans, flow"))
    monkeypatch.setattr(ways, "SCALE", 2 * SCALE)
    assert digest(Cell("plans, flow")) != before != digest(Cell("plans, classes"))


def test_the_best_policy_passes_both_sides_and_the_average_of_plans_hits() -> None:
    """What 08 says, of the committed rows."""

    def passed(policy: str, reading: str) -> np.ndarray:
        rows = [row[reading].replace(" ", "") for c, row in COMMITTED.items() if c.policy == policy]
        assert len(rows) == SEEDS
        return np.array([list(row) for row in rows])

    average, chosen = passed("plans, squared error", "6 of 12"), passed(*BEST)
    assert np.isin(average, ["H", "-"]).mean() > 0.5
    assert np.isin(chosen, ["H", "-"]).mean() <= 0.05
    assert (chosen == "L").mean() >= 0.25 and (chosen == "R").mean() >= 0.25


def test_what_is_told_is_mirrored_with_the_rest() -> None:
    views = np.random.default_rng(0).integers(0, 256, (2, 54, 48), np.uint8)
    left, right = (torch.from_numpy(told(views, side)) for side in (LEFT, RIGHT))
    assert not torch.equal(left, right) and (told(views, LEFT)[:, :42] == views[:, :42]).all()
    mirrored, _ = mirror(left, torch.zeros(2, 3))
    assert torch.equal(mirrored[:, 42:, 4:26], right[:, 42:, 4:26])


@pytest.fixture(scope="module")
def short() -> None:
    gym.registry["BlocksAlone-v3"].max_episode_steps = 700
    yield
    gym.registry["BlocksAlone-v3"].max_episode_steps = 2_000


def test_laps_show_what_is_near_blocks_and_what_the_expert_does_next(short: None) -> None:
    views, wanted = lap("both", 0)
    assert views.shape[1:] == (54, 48) and wanted.shape == (len(views), CHUNK, 3)
    assert 50 < len(views) < 500 and all(v[:42].any() for v in views)
    assert (wanted[:-20, 1] == wanted[1:-19, 0]).mean() > 0.9  # but where a stretch begins
    again, same = lap("told", 0)
    assert (same == wanted).all() and (again[:, :42] == views[:, :42]).all()
    assert set(again[:, 42:, 4:26].ravel()) == {0, 255}


def test_an_expert_that_always_passes_right_swerves_right(short: None) -> None:
    _, wanted = lap("right", 0)
    hard = wanted[np.abs(wanted[:, 0, 0]) > 0.35]
    assert hard[0, 0, 0] > 0  # the first hard steer of a pass


def test_coins_are_fair_and_repeat_themselves() -> None:
    tossed = [Coin(seed)() for seed in range(400)]
    assert 160 < tossed.count(LEFT) < 240 and set(tossed) == {LEFT, RIGHT}
    coin, same = Coin(3), Coin(3)
    assert [coin() for _ in range(9)] == [same() for _ in range(9)]


def fitted(head: nn.Module | PlanClasses | Plans, steps: int) -> tuple[torch.Tensor, nn.Module]:
    """What a network says that has seen nothing but one picture and both swerves."""
    torch.manual_seed(0)
    said = nn.Parameter(0.1 * torch.randn(1, head.size))
    parts = [said, *(head.parameters() if isinstance(head, nn.Module) else ())]
    optimizer, wanted = torch.optim.Adam(parts, 0.003 if len(parts) > 1 else 0.03), swerves(16)
    for _ in range(steps):
        optimizer.zero_grad()
        head.loss(said.expand(32, -1), wanted).backward()
        optimizer.step()
    return said.detach().expand(200, -1), head


def test_the_squared_error_averages_plans() -> None:
    said, head = fitted(Plans(swerves(1)), 300)
    assert (head.plans(said) - swerves(1).mean(0)).abs().max() < 0.01


def test_classes_of_plans_choose_one() -> None:
    said, head = fitted(PlanClasses(swerves(16)), 300)
    one = said[:1]
    drawn = torch.cat([head.plans(one) for _ in range(200)])
    away = (drawn[:, None] - swerves(1)).abs().amax((2, 3))
    assert (away.amin(1) < 0.03).float().mean() > 0.95
    assert 60 < (away.argmin(1) == 0).sum() < 140
    assert ((head.likeliest(one) - swerves(1)).abs().amax((1, 2)) < 0.03).any()
    torch.manual_seed(5)
    first = head.plans(one)
    torch.manual_seed(5)
    assert torch.equal(first, head.plans(one))


def test_kinds_lie_from_left_to_right() -> None:
    turns = swerves(1)[:1] * torch.linspace(-1, 1, 50)[:, None, None]
    middles = PlanClasses(turns).middles.sum(1)
    assert (middles.diff() >= 0).all() and middles[0] < -5 < 5 < middles[-1]


def test_flow_matching_draws_both_and_nothing_between() -> None:
    said, head = fitted(Flow(swerves(1)), 400)
    with torch.no_grad():
        away = (head.plans(said)[:, None] - swerves(1)).abs().mean((2, 3))
    assert (away.amin(1) < 0.02).float().mean() > 0.9
    assert 60 < (away.argmin(1) == 0).sum() < 140


def test_a_head_with_weights_is_taught_with_the_network() -> None:
    network = Network("speed", Flow(swerves(1)))
    assert sum(name.startswith("head.ends") for name, _ in network.named_parameters()) == 6


class Made:
    """A head whose plans are the numbers that were drawn, and how often it was asked."""

    size, asked = 3, 0

    def plans(self, out: torch.Tensor) -> torch.Tensor:
        self.asked += 1
        return torch.rand(1, 1, 3).expand(1, CHUNK, 3)


@pytest.mark.parametrize("keeps", [False, True])
def test_a_plan_is_carried_out_and_a_coin_held_to(keeps: bool) -> None:
    student = Student(Network("speed", Made()), Reading(plans, 4, keeps), "both")
    taken = []
    for place in (0, 1, 0):
        student.begin(place)
        taken.append([student(FRAME)[0] for _ in range(8)])
    assert student.network.head.asked == 6 and taken[0] == taken[2] != taken[1]
    assert len({*taken[0][:4]}) == 1 and (taken[0][0] == taken[0][4]) == keeps


def test_daggers_expert_answers_and_the_student_drives(short: None) -> None:
    env = gym.make("BlocksAlone-v3")
    driven = np.array([0.0, 0.05, 0.0], np.float32)

    class Straight:
        def begin(self, place: int) -> None:
            pass

        def __call__(self, frame: np.ndarray) -> np.ndarray:
            return driven

    views, wanted = answers(env, Straight(), SwervingDriver(env), 10_000)
    assert len(views) == len(wanted) > 30 and wanted.shape[1:] == (CHUNK, 3)
    assert np.abs(wanted[:, 0, 0]).max() > 0.2
    assert not (wanted[:, 0] == driven).all(1).any()


def test_units() -> None:
    assert SCALE.shape == MIDDLE.shape == (3,)
    assert torch.allclose(Plans(swerves(1)).plans(torch.zeros(1, 3 * CHUNK)), MIDDLE)


def test_a_row_is_what_was_driven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short) -> None:
    monkeypatch.setattr(ways, "TRACKS", range(10_000, 10_001))
    monkeypatch.setattr(ways, "LAPS", 1)
    monkeypatch.setattr(ways, "ASKED", 1)
    monkeypatch.setattr(ways, "lap_path", lambda kind, seed: tmp_path / f"{kind}-{seed}.npz")
    monkeypatch.setattr(ways.training, "train", lambda *_, **__: [])
    ways.laps.cache_clear()
    wanted = [Cell("plans, squared error"), Cell("DAgger, the side taken")]
    ways.run(wanted, 1, tmp_path / "ways.csv")
    ways.laps.cache_clear()
    rows = read(tmp_path / "ways.csv", Cell)
    assert list(rows) == wanted and rows[wanted[0]]["1 of 12"] and rows[wanted[1]]["at each step"]
    assert int(rows[wanted[1]]["labels"]) > 2 * int(rows[wanted[0]]["labels"]) > 100
    assert len(list(table(rows))) == 4
