"""The ladder of 07-try-stronger-policies: ``python tools/ladder.py``; hours.

A rung is a way to learn from the same laps, of the same views: a larger network, other outputs,
several actions at once. Each is trained, driven, pushed and asked as in `experiments`, whose rows
are the references; results go to ``notebooks/results/ladder.csv`` as they come: see `cells`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import experiments
import numpy as np
import torch
from cells import Workers, command, complete, digest_of, read, short_hash
from experiments import VIEWS, Masked, on_paper, on_the_road, pushed
from torch import Tensor, nn
from torch.nn import functional

from helpers import ROOT, training
from helpers.networks import ROAD, mirror
from helpers.results import interval
from helpers.worlds.drivers import WHEEL_LOCK

FILE = ROOT / "notebooks" / "results" / "ladder.csv"
SEEDS, STEPS, FIRST_STEPS = 5, 1_000, 300
PUSHES = (10, 20)  # steps for which the wheel is held at its lock


@dataclass(frozen=True)
class Cell:
    """One training. ``data`` as in `experiments`, ``view`` one of its masked ones."""

    policy: str
    data: str
    view: str
    seed: int = 0


# -- networks: views (B, 54, 48) → (B, size) -----------------------------------------------------


class Usual(Masked):
    """04's network with any number of outputs, of any meaning."""

    def __init__(self, gauges: str, size: int) -> None:
        super().__init__(gauges, squash=False)
        self.head[-1] = nn.Linear(128, size)


class RoadFirst(Usual):
    """The same; for the first ``FIRST_STEPS`` of its training its gauges are black, but the speed.

    Whatever a network learns first, it keeps to: see Pezeshki et al. 2021, gradient starvation.
    """

    hidden = slice(ROAD, None), slice(4, None)  # of a view

    def __init__(self, gauges: str, size: int) -> None:
        super().__init__(gauges, size)
        self.batches = 0

    def forward(self, views: Tensor) -> Tensor:
        self.batches += self.training
        if self.training and self.batches <= FIRST_STEPS:
            views = views.clone()
            views[:, *self.hidden] = 0
        return super().forward(views)


class GaugesFirst(RoadFirst):
    """The same, but the road is black."""

    hidden = slice(ROAD), slice(None)


class Wide(Masked):
    """Four times the channels, four times the hidden units: sixteen times the weights."""

    def __init__(self, gauges: str, size: int) -> None:
        super().__init__(gauges, squash=False)
        self.road = nn.Sequential(
            nn.Conv2d(1, 64, 5, stride=2), nn.ReLU(),
            nn.Conv2d(64, 128, 5, stride=2), nn.ReLU(),
            nn.Conv2d(128, 128, 3, stride=2), nn.ReLU(), nn.Flatten(),
        )  # fmt: skip
        self.head = nn.Sequential(nn.Linear(4 * 384 + 32, 512), nn.ReLU(), nn.Linear(512, size))


class Residual(nn.Module):
    """Two convolutions whose result is added to what came in (He et al. 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(x + self.inner(x))


class Deep(Masked):
    """Fifteen convolutions in place of three."""

    def __init__(self, gauges: str, size: int) -> None:
        super().__init__(gauges, squash=False)
        stages: list[nn.Module] = []
        for before, after, kernel in ((1, 16, 5), (16, 32, 5), (32, 32, 3)):
            stages += [nn.Conv2d(before, after, kernel, stride=2), nn.ReLU()]
            stages += [Residual(after), Residual(after)]
        self.road = nn.Sequential(*stages, nn.Flatten())
        self.head[-1] = nn.Linear(128, size)


# -- heads: what the outputs mean ----------------------------------------------------------------


class Regression:
    """The next ``count`` actions, by the squared error (of several: Zhao et al. 2023, ACT)."""

    def __init__(self, count: int = 1) -> None:
        self.count, self.size = count, 3 * count

    def actions(self, out: Tensor) -> Tensor:
        """(B, size) → (B, count, 3)."""
        out = out.unflatten(1, (self.count, 3))
        return torch.cat([out[..., :1].tanh(), out[..., 1:].sigmoid()], -1)

    def loss(self, out: Tensor, wanted: Tensor) -> Tensor:
        return functional.mse_loss(self.actions(out), wanted)


class Weighted(Regression):
    """The squared error, of which the steering's counts thirty times."""

    def loss(self, out: Tensor, wanted: Tensor) -> Tensor:
        errors = (self.actions(out) - wanted).square()
        return (errors * torch.tensor([30.0, 1.0, 1.0])).mean()


class Classes:
    """A class for each range of steering, gas and brake; at the wheel, the likeliest of each."""

    count = 1
    levels = (
        torch.linspace(-WHEEL_LOCK, WHEEL_LOCK, 41), torch.linspace(0, 1, 21),
        torch.linspace(0, 0.5, 21),
    )  # fmt: skip
    sizes: ClassVar = [41, 21, 21]
    size = sum(sizes)

    def actions(self, out: Tensor) -> Tensor:
        parts = zip(self.levels, out.split(self.sizes, 1), strict=True)
        return torch.stack([levels[part.argmax(1)] for levels, part in parts], 1)[:, None]

    def loss(self, out: Tensor, wanted: Tensor) -> Tensor:
        parts = zip(self.levels, out.split(self.sizes, 1), wanted[:, 0].unbind(1), strict=True)
        nearest = [((w[:, None] - levels).abs().argmin(1), part) for levels, part, w in parts]
        return torch.stack([functional.cross_entropy(part, label) for label, part in nearest]).sum()


class ReadByMean(Classes):
    """The same training; at the wheel the mean of the levels, weighted by their probabilities."""

    def actions(self, out: Tensor) -> Tensor:
        parts = zip(self.levels, out.split(self.sizes, 1), strict=True)
        return torch.stack([part.softmax(1) @ levels for levels, part in parts], 1)[:, None]


class OneHot(Classes):
    """The same, by the squared error: the label's class is 1, the others 0."""

    def loss(self, out: Tensor, wanted: Tensor) -> Tensor:
        parts = zip(self.levels, out.split(self.sizes, 1), wanted[:, 0].unbind(1), strict=True)
        wrong = [
            part - functional.one_hot((w[:, None] - levels).abs().argmin(1), len(levels))
            for levels, part, w in parts
        ]
        return torch.cat(wrong, 1).square().sum(1).mean()


class Blurred(Classes):
    """The same, but a near miss is forgiven: labels are spread over the classes around them.

    As a normal distribution eight classes wide (HL-Gauss: Imani and White 2018).
    """

    width = 8

    def loss(self, out: Tensor, wanted: Tensor) -> Tensor:
        parts = zip(self.levels, out.split(self.sizes, 1), wanted[:, 0].unbind(1), strict=True)
        losses = []
        for levels, part, w in parts:
            away = (w[:, None] - levels) / (self.width * (levels[1] - levels[0]))
            losses.append(functional.cross_entropy(part, (-away.square() / 2).softmax(1)))
        return torch.stack(losses).sum()


class Mixture:
    """A density of ``parts`` normal distributions (Bishop 1994); the middle of the likeliest one.

    Their spread is ``narrowest`` at the least: without a floor the density of an action that is
    always the same, like no brake, grows without end.
    """

    count, parts, narrowest = 1, 5, 0.02
    size = parts * 7  # a weight, three means, three spreads

    def _read(self, out: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        out = out.unflatten(1, (self.parts, 7))
        means = torch.cat([out[..., 1:2].tanh(), out[..., 2:4].sigmoid()], -1)
        return out[..., 0].log_softmax(1), means, functional.softplus(out[..., 4:]) + self.narrowest

    def actions(self, out: Tensor) -> Tensor:
        weights, means, _ = self._read(out)
        return means[torch.arange(len(out)), weights.argmax(1)][:, None]

    def loss(self, out: Tensor, wanted: Tensor) -> Tensor:
        weights, means, spreads = self._read(out)
        density = torch.distributions.Normal(means, spreads).log_prob(wanted).sum(-1)
        return -(weights + density).logsumexp(1).mean()


Head = Regression | Classes | Mixture


def shifted(views: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
    """`mirror`, and the road moved by up to two pixels, its edge repeated (Yarats et al. 2021)."""
    views, actions = mirror(views, actions)
    down, right = torch.randint(0, 5, (2,)).tolist()
    padded = functional.pad(views[:, None, :ROAD].float(), (2, 2, 2, 2), mode="replicate")[:, 0]
    road = padded[:, down : down + ROAD, right : right + 48].to(views.dtype)
    return torch.cat([road, views[:, ROAD:]], 1), actions


@dataclass(frozen=True)
class Policy:
    """How a rung learns, and how it drives: ``execute`` actions of a chunk before the next one.

    With ``ensemble``, a chunk at each step, and the mean of all that was planned for now (ACT).
    """

    head: Head
    network: type[nn.Module] = Usual  # (gauges, size) → network
    augment: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] = mirror
    execute: int = 1
    ensemble: bool = False
    drives: bool = True  # or is it only asked, on paper?


POLICIES = {
    "4 times as wide": Policy(Regression(), Wide),
    "15 convolutions": Policy(Regression(), Deep),
    "shifted pictures": Policy(Regression(), augment=shifted),
    "classes": Policy(Classes()),
    "classes, read by their mean": Policy(ReadByMean()),
    "mixture": Policy(Mixture()),
    "gauges hidden at first": Policy(Regression(), RoadFirst),
    "road hidden at first": Policy(Regression(), GaugesFirst, drives=False),
    "classes, gauges hidden at first": Policy(Classes(), RoadFirst, drives=False),
    "classes, road hidden at first": Policy(Classes(), GaugesFirst, drives=False),
    "steering counts 30 times": Policy(Weighted(), drives=False),
    "one-hot, squared error": Policy(OneHot(), drives=False),
    "blurred classes": Policy(Blurred(), drives=False),
    "chunks of 4": Policy(Regression(4), execute=4),
    "chunks of 8": Policy(Regression(8), execute=8),
    "chunks of 16": Policy(Regression(16), execute=16),
    "chunks of 8, ensembled": Policy(Regression(8), ensemble=True),
    "chunks of 8, the first executed": Policy(Regression(8)),
}
FADE = 0.01  # in a mean, a plan counts e^−0.01 times as much as one that is a step older (ACT)


class First(nn.Module):
    """Views → the first action of each plan, (B, 3)."""

    def __init__(self, network: nn.Module, head: Head) -> None:
        super().__init__()
        self.network, self.head = network, head

    def plan(self, views: Tensor) -> Tensor:
        return self.head.actions(self.network(views))

    def forward(self, views: Tensor) -> Tensor:
        return self.plan(views)[:, 0]


class Student(experiments.Student):
    """A policy at the wheel."""

    model: First

    def __init__(self, model: First, policy: Policy, seen: experiments.View) -> None:
        self.policy = policy
        super().__init__(model, seen)

    def reset(self) -> None:
        super().reset()
        self.plans: list[np.ndarray] = []  # what is left of each, (≤ count, 3)

    def look(self, frame: np.ndarray) -> Tensor:
        """What the network gets, one of a batch; a lap begins with its first picture."""
        now = self.seen.see(frame[None])[0]
        if self.seen.history == 1:
            return torch.from_numpy(now[None])
        self.past = [*(self.past or [now] * (self.seen.history - 1)), now][-self.seen.history :]
        return torch.from_numpy(np.stack(self.past)[None])

    @torch.no_grad()
    def act(self, frame: np.ndarray) -> np.ndarray:
        seen = self.look(frame)
        if self.policy.ensemble or not self.plans:
            plan = self.model.plan(seen)[0].numpy()
            self.plans.append(plan if self.policy.ensemble else plan[: self.policy.execute])
        weights = np.exp(-FADE * np.arange(len(self.plans)))  # the oldest first
        action = np.average([plan[0] for plan in self.plans], axis=0, weights=weights)
        self.plans = [plan[1:] for plan in self.plans if len(plan) > 1]
        return action.clip([-1, 0, 0], [1, 1, 1]).astype(np.float32)


def chunks(actions: np.ndarray, count: int) -> np.ndarray:
    """(T, 3) → (T, count, 3): the actions from each step on; the lap's last one is repeated."""
    ahead = np.arange(len(actions))[:, None] + np.arange(count)
    return actions[np.minimum(ahead, len(actions) - 1)]


def teach(cell: Cell) -> tuple[Student, int]:
    """The cell's student, and how many labels it learned from."""
    policy, seen, data = POLICIES[cell.policy], VIEWS[cell.view], experiments.laps(cell.data)
    torch.manual_seed(cell.seed)
    network = policy.network(*seen.about, policy.head.size)
    views = torch.from_numpy(np.concatenate([seen.inputs(frames) for frames, _ in data]))
    wanted = [chunks(labels, policy.head.count) for _, labels in data]
    training.train(
        network, views, torch.from_numpy(np.concatenate(wanted)), policy.head.loss,
        steps=STEPS, batch_size=128, learning_rate=2e-3, generator=torch.default_generator,
        augment=policy.augment, progress=False,
    )  # fmt: skip
    return Student(First(network, policy.head), policy, seen), len(views)


def measure(cell: Cell) -> dict[str, Any]:
    """Train the cell's student, and all that is known of it."""
    began = time.process_time()
    student, labels = teach(cell)
    taught = time.process_time() - began
    row: dict[str, Any] = {"labels": labels, **on_paper(student)}
    if POLICIES[cell.policy].drives:
        row |= on_the_road(student) | pushed(student, PUSHES)
    return row | {"training_s": round(taught), "all_s": round(time.process_time() - began)}


def rows() -> list[Cell]:
    """One cell for each row: which cause does which rung mend?"""
    confused, calm = ("30 clean", "all gauges"), ("30 clean", "speed")
    covered = ("30 disturbed", "all gauges")
    found = [Cell(name, *confused) for name in POLICIES if not {"chunks", "read"} & {*name.split()}]
    found += [Cell("classes", *calm)]
    found += [Cell(name, *calm) for name in POLICIES if "chunks" in name]
    return found + [Cell(name, *covered) for name in ("classes", "classes, read by their mean")]


def cells(seeds: int = SEEDS) -> list[Cell]:
    """All trainings, one of each row before the second of any."""
    return [replace(base, seed=seed) for seed in range(seeds) for base in rows()]


def digest(cell: Cell) -> str:
    """Of the code that a cell's result depends on."""
    policy = POLICIES[cell.policy]
    parts: list[Any] = [kind for kind in policy.network.__mro__ if kind.__module__ == __name__]
    parts += [Residual, *type(policy.head).__mro__[:-1], First, Student, chunks, teach]
    parts += [policy.augment]
    how = policy.execute, policy.ensemble, policy.head.count, FADE, STEPS, FIRST_STEPS, PUSHES
    return short_hash(experiments.digest(cell.data, cell.view) + digest_of(*parts) + repr(how))


def run(wanted: Sequence[Cell], workers: Workers, path: Path = FILE) -> None:
    """Make what is missing in ``path`` or belongs to other code."""

    def prepare(missing: Sequence[Cell]) -> None:
        experiments.record_missing(["held out", *(cell.data for cell in missing)], workers)

    order = [replace(base, seed=seed) for base in rows() for seed in range(SEEDS)]
    complete(wanted, measure, digest, path, workers, order, prepare)


def table(results: Mapping[Cell, Mapping[str, str]]) -> Iterator[str]:
    """A line for each row: the mean return, its interval, each training's, and the rest."""
    for base in rows():
        mine = [results[c] for c in (replace(base, seed=s) for s in range(SEEDS)) if c in results]
        if not mine:
            continue
        line = f"{f'{base.policy}, {base.data}, {base.view}':55}"
        if POLICIES[base.policy].drives:
            returns = np.array([[float(v) for v in row["returns"].split()] for row in mine])
            low, high = interval(returns)
            means = " ".join(f"{value:4.0f}" for value in returns.mean(axis=1))
            backs = " / ".join(" ".join(row[f"back_{push}"] for row in mine) for push in PUSHES)
            line += f" {returns.mean():4.0f} [{low:4.0f}, {high:4.0f}] ({means}) back {backs} |"
        for name in ("road", "gauges"):
            line += f" {name} {' '.join(f'{float(row[name]):.2f}' for row in mine)}"
        yield f"{line}, {mine[0]['training_s']} s"


def main(arguments: list[str] | None = None) -> None:
    def make(seeds: int, workers: Workers) -> None:
        run(cells(seeds), workers)

    command(__doc__, SEEDS, make, lambda: table(read(FILE, Cell)), arguments)


if __name__ == "__main__":
    import ladder  # so that workers find all of this under the module's name

    ladder.main()
