"""The ladder: what each rung's outputs mean, how chunks are driven, and results that belong."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import experiments
import ladder
import numpy as np
import pytest
import torch
from cells import read
from experiments import VIEWS
from ladder import FADE, POLICIES, Cell, Classes, First, Mixture, Regression, Student, chunks

from helpers.networks import ROAD, mirror

FRAMES = np.random.default_rng(0).integers(0, 256, (20, 96, 96, 3), np.uint8)


class Counts(First):
    """Plans whose first number is the step at which they were made, then one more for each."""

    def __init__(self, head: Regression) -> None:
        super().__init__(torch.nn.Identity(), head)
        self.made = 0

    def plan(self, views: torch.Tensor) -> torch.Tensor:
        self.made += 1
        steps = torch.arange(self.head.count) / 10_000 + (self.made - 1) / 1_000
        return steps[None, :, None].expand(1, -1, 3)


def driven(name: str, steps: int) -> tuple[np.ndarray, int]:
    policy = POLICIES[name]
    model = Counts(policy.head)  # type: ignore[arg-type]
    student = Student(model, policy, VIEWS["speed"])
    return np.array([student.act(frame)[0] for frame in FRAMES[:steps]]), model.made


def test_a_chunk_is_carried_out_before_the_next_is_planned() -> None:
    actions, made = driven("chunks of 8", 17)
    ahead = np.tile(np.arange(8), 3)[:17] / 10_000
    assert made == 3 and np.allclose(actions, np.repeat([0, 1, 2], 8)[:17] / 1_000 + ahead)


def test_only_the_first_action_is_carried_out_where_that_is_said() -> None:
    actions, made = driven("chunks of 8, the first executed", 5)
    assert made == 5 and np.allclose(actions, np.arange(5) / 1_000)


def test_an_ensemble_averages_what_was_planned_for_now() -> None:
    actions, made = driven("chunks of 8, ensembled", 12)
    for now in (0, 3, 11):
        when = np.arange(max(0, now - 7), now + 1)  # the plans that reach as far as now
        planned = when / 1_000 + (now - when) / 10_000
        weights = np.exp(-FADE * np.arange(len(when)))
        assert actions[now] == pytest.approx((planned * weights).sum() / weights.sum(), abs=1e-6)
    assert made == 12


def test_a_lap_begins_with_no_plan_of_the_last_one() -> None:
    policy = POLICIES["chunks of 8"]
    model = Counts(policy.head)  # type: ignore[arg-type]
    student = Student(model, policy, VIEWS["speed"])
    student.act(FRAMES[0])
    student.reset()
    student.act(FRAMES[1])
    assert model.made == 2


def test_chunks_end_with_the_lap() -> None:
    actions = np.arange(12, dtype=np.float32).reshape(4, 3)
    ahead = chunks(actions, 3)
    assert ahead.shape == (4, 3, 3)
    assert (ahead[0] == actions[:3]).all() and (ahead[3] == actions[3]).all()
    assert (ahead[2] == actions[[2, 3, 3]]).all()


def test_classes_find_the_nearest_and_the_likeliest() -> None:
    head = Classes()
    wanted = torch.tensor([[[0.115, 0.52, 0.0]], [[-0.4, 1.0, 0.26]]])
    nearest = torch.tensor([[[0.12, 0.5, 0.0]], [[-0.4, 1.0, 0.25]]])
    out = torch.zeros(2, head.size, requires_grad=True)
    for _ in range(60):
        (slope,) = torch.autograd.grad(head.loss(out, wanted), out)
        out = (out - 10 * slope).detach().requires_grad_()
    assert head.loss(out, wanted) < 0.1
    assert torch.allclose(head.actions(out), nearest, atol=0.011)


def test_read_by_the_mean_left_or_right_is_straight_on() -> None:
    out = torch.full((1, Classes.size), -20.0)
    out[0, [10, 30]] = 5.0  # of the steering: −0.2 or 0.2
    assert ladder.ReadByMean().actions(out)[0, 0, 0] == pytest.approx(0, abs=1e-4)
    assert Classes().actions(out)[0, 0, 0].abs() == pytest.approx(0.2)


def test_a_near_miss_is_forgiven_where_labels_are_blurred() -> None:
    wanted = torch.tensor([[[0.1, 0.5, 0.0]]])

    def price(head: Classes, steering: int) -> float:
        """Of an answer that is sure of a class of the steering, beside that of the right one."""
        outs = torch.zeros(2, head.size)
        outs[0, 20 + 5], outs[1, steering] = 1, 1  # the right class is 0.1
        right, wrong = (head.loss(out[None], wanted).item() for out in outs)
        return wrong - right

    for strict in (Classes(), ladder.OneHot()):
        assert price(strict, 26) == pytest.approx(price(strict, 2)) and price(strict, 26) > 0.5
    assert price(ladder.Blurred(), 26) < 0.1 * price(ladder.Blurred(), 2)


def test_the_steering_counts_thirty_times() -> None:
    wanted = torch.tensor([[[0.0, 0.5, 0.5]]])
    off = torch.tensor([[0.1, 0.0, 0.0]])
    plain, heavy = (head.loss(off, wanted).item() for head in (Regression(), ladder.Weighted()))
    assert heavy == pytest.approx(30 * plain)


def test_a_mixture_keeps_two_answers_apart_and_takes_the_likelier() -> None:
    head = Mixture()
    out = torch.zeros(1, head.parts, 7)
    out[..., 1] = torch.linspace(-2, 2, head.parts)  # the parts begin apart
    out = out.flatten(1).requires_grad_()
    left, right = torch.tensor([[[-0.4, 0.3, 0.1]]]), torch.tensor([[[0.4, 0.3, 0.1]]])
    both = torch.cat([left, left, right])  # two thirds left
    optimizer = torch.optim.Adam([out], 0.05)
    for _ in range(600):
        loss = head.loss(out.expand(3, -1), both)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert torch.allclose(head.actions(out), left[:1], atol=0.03)
    squared = Regression().actions(torch.zeros(1, 3))  # the mean would be −0.13
    assert squared.shape == head.actions(out).shape == (1, 1, 3)


def test_a_shift_moves_the_road_and_nothing_else() -> None:
    views = torch.from_numpy(VIEWS["all gauges"].inputs(FRAMES))
    actions = torch.rand(20, 8, 3)
    torch.manual_seed(3)
    moved, wanted = ladder.shifted(views, actions)
    mirrored, same = mirror(views, actions)
    assert torch.equal(moved[:, ROAD:], mirrored[:, ROAD:]) and torch.equal(wanted, same)
    assert moved.dtype == torch.uint8 and not torch.equal(moved, mirrored)
    inner = [
        torch.equal(moved[:, 2:-14, 2:-2], mirrored[:, 2 + d : 40 + d, 2 + r : 46 + r])
        for d in range(-2, 3) for r in range(-2, 3)
    ]  # fmt: skip
    assert sum(inner) == 1


@pytest.mark.parametrize("name", POLICIES)
def test_each_network_fits_its_head(name: str) -> None:
    policy = POLICIES[name]
    network = policy.network("speed", policy.head.size)
    views = torch.from_numpy(VIEWS["speed"].inputs(FRAMES[:2]))
    assert policy.head.actions(network(views)).shape == (2, policy.head.count, 3)
    other = views.clone()
    other[:, ROAD:, 4:] //= 2  # gauges that it must not see
    assert torch.equal(network(views), network(other))


@pytest.mark.parametrize("name, seen", [("gauges hidden at first", {"road"}),
                                        ("road hidden at first", {"gauges"})])  # fmt: skip
def test_what_is_hidden_at_first_shows_later(name: str, seen: set[str]) -> None:
    policy = POLICIES[name]
    network = policy.network("speed steering rotation", policy.head.size)
    views = torch.from_numpy(VIEWS["all gauges"].inputs(FRAMES[:2]))
    others = {"road": views.clone(), "gauges": views.clone()}
    others["road"][:, :ROAD] //= 2
    others["gauges"][:, ROAD:, 4:] //= 2

    @torch.no_grad()
    def seen_at(step: int) -> set[str]:
        said = {}
        for part, inputs in ({"as it is": views} | others).items():
            network.batches = step - 1
            said[part] = network(inputs)
        return {part for part in others if not torch.equal(said[part], said["as it is"])}

    assert seen_at(1) == seen_at(ladder.FIRST_STEPS) == seen
    assert seen_at(ladder.FIRST_STEPS + 1) == set(others)
    network.eval()
    assert seen_at(1) == set(others)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("IL_DATA", str(tmp_path))
    monkeypatch.setattr(experiments, "TRACKS", range(10_000, 10_001))
    monkeypatch.setattr(ladder, "PUSHES", (5,))
    lap_set = experiments.lap_set
    monkeypatch.setattr(experiments, "lap_set", lambda name: lap_set(name)[:1])
    monkeypatch.setattr(ladder, "STEPS", 3)
    for kept in (experiments.laps, experiments.digest):
        kept.cache_clear()
    yield
    for kept in (experiments.laps, experiments.digest):
        kept.cache_clear()


def test_a_cell_gives_the_same_numbers_again(small: None, tmp_path: Path) -> None:
    wanted = [Cell("chunks of 8, ensembled", "30 clean", "speed")]
    ladder.run(wanted, 1, tmp_path / "a.csv")
    ladder.run(wanted, 1, tmp_path / "b.csv")
    first, again = (read(tmp_path / name, Cell) for name in ("a.csv", "b.csv"))
    times = {"training_s", "all_s"}
    (row,), (same,) = first.values(), again.values()
    assert {k: v for k, v in row.items() if k not in times} == {
        k: v for k, v in same.items() if k not in times
    }
    assert len(row["returns"].split()) == 1 and row["back_5"] in ("0", "1")


def test_what_does_not_drive_is_asked_on_paper(small: None, tmp_path: Path) -> None:
    asked, driven = (
        Cell("blurred classes", "30 clean", "speed"),
        Cell("classes", "30 clean", "speed"),
    )
    ladder.run([asked, driven], 1, tmp_path / "a.csv")
    rows = read(tmp_path / "a.csv", Cell)
    assert float(rows[asked]["road"]) and rows[asked]["returns"] == "" != rows[driven]["returns"]


def test_rows_are_told_apart_and_made_in_turns() -> None:
    rows, found = ladder.rows(), ladder.cells()
    assert len(set(found)) == len(found) == ladder.SEEDS * len(rows)
    assert found[: len(rows)] == rows
    digests = {ladder.digest(replace(rows[0], policy=name)) for name in POLICIES}
    assert len(digests) == len(POLICIES)


def test_the_committed_results_belong_to_the_committed_code() -> None:
    rows = read(ladder.FILE, Cell).items()
    stale = [cell for cell, row in rows if row["digest"] != ladder.digest(cell)]
    assert not stale, "the code has changed since: make experiments"
