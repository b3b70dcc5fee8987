"""Many right answers, for 08-choose-among-many-ways: ``python tools/ways.py``; two hours.

Red blocks lie in the middle of the road, and the expert passes each on the left or on the right, as
a coin says. Each learner gets the same disturbed laps, sees the road and the speed, and drives near
the blocks of the test tracks; between blocks the expert drives. How each block was passed goes to
``notebooks/results/ways.csv`` as it comes: see `cells`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from cells import Workers, as_they_come, command, complete, digest_of, read, short_hash
from experiments import Masked
from ladder import Classes, Mixture, Usual, chunks
from torch import Tensor, nn
from torch.nn import functional
from tqdm.auto import tqdm

from helpers import ROOT, data_path, training
from helpers.networks import ROAD, DrivingCNN, mirror, view
from helpers.plumbing import written_whole
from helpers.results import interval
from helpers.rollouts import rollout
from helpers.training import Disturbed
from helpers.worlds import blocks, car_racing, drivers
from helpers.worlds.blocks import LEFT, RIGHT, AtBlocks, SwervingDriver, outcomes

FILE = ROOT / "notebooks" / "results" / "ways.csv"
TRACKS = range(20_000, 20_012)  # test
LAPS, SEEDS = 40, 5
CHUNK = 12  # actions that are planned at once; 50 are a second
ASKED, ROUNDS = 10, 2  # laps in each round of DAgger, which begins with as many


@dataclass(frozen=True)
class Cell:
    """One training."""

    policy: str
    seed: int = 0


# -- what is learned from: views (N, 54, 48), actions from each step on (N, CHUNK, 3) ------------

Pairs = tuple[np.ndarray, np.ndarray]


class Coin:
    """The expert's choices of one lap."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed + 77)

    def __call__(self) -> int:
        return int(self.rng.choice([LEFT, RIGHT]))


def to_the_right() -> int:
    return RIGHT


def told(views: np.ndarray, side: int) -> np.ndarray:
    """The same views, with the side to pass on where the gauge of steering was: half of it white.

    Mirrored, they tell the other side.
    """
    views = views.copy()
    views[..., ROAD:, 4:26] = 0
    views[..., ROAD:, slice(4, 15) if side == LEFT else slice(15, 26)] = 255
    return views


def lap(kind: str, seed: int) -> Pairs:
    """What was seen near blocks, and what the expert wanted there and then.

    kind  "both": on the side that the coin says; "right"; "told": as "both", and the view tells
    """
    env = gym.make("BlocksAlone-v3")
    driver = SwervingDriver(env, to_the_right if kind == "right" else Coin(seed))
    teacher = Disturbed(driver, np.random.default_rng(seed))
    near: list[int | None] = []

    def drive(observation: np.ndarray) -> np.ndarray:
        found = env.unwrapped.near()  # type: ignore[attr-defined]
        near.append(found and found.place)
        return teacher(observation)

    run = rollout(env, drive, seed, keep_observations=True)
    views = view(run.observations)  # type: ignore[arg-type]
    if kind == "told":
        sides = [driver.sides.get(-1 if place is None else place, LEFT) for place in near]
        views = np.stack([told(*pair) for pair in zip(views, sides, strict=True)])
    wanted = chunks(np.array(teacher.labels, np.float32), CHUNK)
    seen = [place is not None for place in near]
    return views[seen], wanted[seen]


def answers(env: gym.Env, learner: Any, expert: SwervingDriver, seed: int) -> Pairs:
    """A lap on which ``learner`` drives near blocks, with what the expert would have done there.

    (Chunks of it make no sense: the expert didn't drive. Only the first actions are to be used.)
    """
    views, labels = [], []

    class Noted:
        begin = staticmethod(learner.begin)

        def __call__(self, observation: np.ndarray) -> np.ndarray:
            views.append(view(observation[None])[0])
            labels.append(expert(observation))
            return learner(observation)

    rollout(env, AtBlocks(env, Noted()), seed)
    return np.array(views), np.repeat(np.array(labels, np.float32)[:, None], CHUNK, axis=1)


def lap_path(kind: str, seed: int) -> Path:
    """A recorded lap, in a folder of the code that records it."""
    return data_path("experiments", digest_of(*RECORDS), f"blocks-{kind}-{seed}.npz")


RECORDS: list[Any] = [
    drivers, car_racing, blocks, rollout, Disturbed, view, chunks, Coin, to_the_right, told, lap
]  # fmt: skip


def record(kind: str, seed: int) -> None:
    views, wanted = lap(kind, seed)
    with written_whole(lap_path(kind, seed)) as file:
        np.savez(file, views=views, wanted=wanted)


@cache
def laps(kind: str) -> list[Pairs]:
    found = []
    for seed in range(LAPS):
        with np.load(lap_path(kind, seed)) as recorded:
            found.append((recorded["views"], recorded["wanted"]))
    return found


# -- what is learned -----------------------------------------------------------------------------

SCALE, MIDDLE = torch.tensor([0.1, 0.3, 0.1]), torch.tensor([0.0, 0.3, 0.05])  # of actions
Plan = Callable[[Any, Tensor], Tensor]  # head, outputs → (B, count, 3)


class Plans:
    """The next ``count`` actions, by the squared error, in units of ``SCALE``."""

    def __init__(self, wanted: Tensor, count: int = CHUNK) -> None:
        self.count, self.size = count, 3 * count

    def plans(self, out: Tensor) -> Tensor:
        return out.unflatten(1, (self.count, 3)) * SCALE + MIDDLE

    def loss(self, out: Tensor, wanted: Tensor) -> Tensor:
        return ((self.plans(out) - wanted) / SCALE).square().mean()


class PlanClasses:
    """A class for each kind of plan, and what to add to it (Shafiullah et al. 2022).

    Kinds are the middles of groups of plans, by their steering (k-means), from left to right.
    """

    count, kinds, rounds = CHUNK, 24, 30
    size = kinds * (1 + 3 * CHUNK)

    def __init__(self, wanted: Tensor) -> None:
        steering = torch.cat([wanted[..., 0], -wanted[..., 0]]) / SCALE[0]
        first = torch.randperm(len(steering), generator=torch.Generator().manual_seed(0))
        middles = steering[first[: self.kinds]]
        for _ in range(self.rounds):
            nearest = torch.cdist(steering, middles).argmin(1)
            found = [steering[nearest == kind] for kind in range(self.kinds)]
            pairs = zip(found, middles, strict=True)
            middles = torch.stack([g.mean(0) if len(g) else old for g, old in pairs])
        # towards larger numbers, to the right
        self.middles = middles[middles.sum(1).argsort()]

    def _read(self, out: Tensor, kind: Tensor) -> Tensor:
        """The plans of these kinds, in units of ``SCALE``."""
        added = out[:, self.kinds :].unflatten(1, (self.kinds, self.count, 3))
        middles = functional.pad(self.middles[kind][..., None], (0, 2))
        return middles + added[torch.arange(len(out)), kind]

    def loss(self, out: Tensor, wanted: Tensor) -> Tensor:
        wanted = (wanted - MIDDLE) / SCALE
        kind = torch.cdist(wanted[..., 0], self.middles).argmin(1)
        error = (self._read(out, kind) - wanted).square().mean()
        return functional.cross_entropy(out[:, : self.kinds], kind) + error

    def likeliest(self, out: Tensor) -> Tensor:
        return self._read(out, out[:, : self.kinds].argmax(1)) * SCALE + MIDDLE

    def plans(self, out: Tensor) -> Tensor:
        """Drawn; the same number drawn, a plan as far to the right among the likely ones."""
        kind = _drawn(out[:, : self.kinds].softmax(1))
        return self._read(out, kind) * SCALE + MIDDLE


class Flow(nn.Module):
    """Flow matching over plans (Lipman et al. 2023): a walk from noise to a plan, in 8 steps.

    The network foretells where the walk ends, rather than its velocity (Li and He 2025), and
    learns from 8 walks for each picture.
    """

    count, size, steps, walks = CHUNK, 128, 8, 8

    def __init__(self, wanted: Tensor) -> None:
        super().__init__()
        self.ends = nn.Sequential(
            nn.Linear(3 * CHUNK + self.size + 8, 256), nn.SiLU(),
            nn.Linear(256, 256), nn.SiLU(), nn.Linear(256, 3 * CHUNK),
        )  # fmt: skip

    def end(self, at: Tensor, when: Tensor, seen: Tensor) -> Tensor:
        """From here, at this time from 0 to 1, with this in view."""
        phase = when * torch.arange(1, 5) * math.pi
        return self.ends(torch.cat([at, seen, phase.sin(), phase.cos()], 1))

    def loss(self, seen: Tensor, wanted: Tensor) -> Tensor:
        plan = ((wanted - MIDDLE) / SCALE).flatten(1).repeat(self.walks, 1)
        noise, when = torch.randn_like(plan), torch.rand(len(plan), 1)
        at = (1 - when) * noise + when * plan
        return (self.end(at, when, seen.repeat(self.walks, 1)) - plan).square().mean()

    def plans(self, seen: Tensor) -> Tensor:
        """Drawn; the same noise, nearly the same plan."""
        at = torch.randn(len(seen), 3 * CHUNK)
        for step in range(self.steps):
            when = torch.full((len(seen), 1), step / self.steps)
            at = at + (self.end(at, when, seen) - at) / (self.steps - step)
        return at.unflatten(1, (CHUNK, 3)) * SCALE + MIDDLE


class Network(nn.Module):
    """Views (B, 54, 48) → what a head reads, (B, size); a head with weights is a part of it."""

    def __init__(self, gauges: str, head: Any) -> None:
        super().__init__()
        self.sees = Usual(gauges, head.size)
        self.head = head

    def forward(self, views: Tensor) -> Tensor:
        return self.sees(views)


def _drawn(shares: Tensor) -> Tensor:
    """(B, k) → which of the k, (B,)."""
    return (shares.cumsum(1) < torch.rand(1)).sum(1).clamp(max=shares.shape[1] - 1)


def plans(head: Any, out: Tensor) -> Tensor:
    return head.plans(out)


def likeliest(head: Any, out: Tensor) -> Tensor:
    return head.likeliest(out)


def action(head: Any, out: Tensor) -> Tensor:
    return head.actions(out)


def drawn_class(head: Classes, out: Tensor) -> Tensor:
    """A class of each output, as likely as the network says."""
    parts = zip(head.levels, out.split(head.sizes, 1), strict=True)
    return torch.stack([levels[_drawn(part.softmax(1))] for levels, part in parts], 1)[:, None]


def drawn_part(head: Mixture, out: Tensor) -> Tensor:
    """The middle of one of the normal distributions, as likely as the network says."""
    weights, means, _ = head._read(out)
    return means[torch.arange(len(out)), _drawn(weights.exp())][:, None]


@dataclass(frozen=True)
class Reading:
    """How a network drives: by which plans, of which so many actions are carried out.

    With ``keeps``, what is drawn near one block is drawn once: a coin tossed, and held to.
    """

    plan: Plan
    execute: int = 1
    keeps: bool = False


def _of(plan: Plan, *counts: int, **how: Any) -> dict[str, Reading]:
    kept = ", one draw kept" if how else ""
    return {f"{n} of {CHUNK}{kept}": Reading(plan, n, **how) for n in counts}


def _one(drawn: Plan) -> dict[str, Reading]:
    kept = {"one draw kept": Reading(drawn, keeps=True)}
    return {"likeliest": Reading(action), "drawn anew": Reading(drawn)} | kept


@dataclass(frozen=True)
class Recipe:
    """What is learned from, with which head; how it is read; with what DAgger's expert answers."""

    data: str
    head: Callable[[Tensor], Any]
    readings: Mapping[str, Reading]
    steps: int = 1_000
    asks: str = ""


ONE, AVERAGES = partial(Plans, count=1), _of(plans, 1, 6, 12)
POLICIES = {
    "plans, squared error": Recipe("both", Plans, AVERAGES),
    "plans, classes": Recipe(
        "both",
        PlanClasses,
        _of(plans, 1, 6, 12)
        | _of(plans, 1, 6, 12, keeps=True)
        | {"likeliest, 6 of 12": Reading(likeliest, 6)},
    ),
    "plans, flow": Recipe(
        "both", Flow, _of(plans, 1, 6, 12) | _of(plans, 1, 6, 12, keeps=True), steps=2_000
    ),
    "plans, told the side": Recipe("told", Plans, AVERAGES),
    "plans, always right": Recipe("right", Plans, AVERAGES),
    "one action, squared error": Recipe("both", ONE, {"": Reading(plans)}),
    "one action, classes": Recipe("both", lambda wanted: Classes(), _one(drawn_class)),
    "one action, mixture": Recipe("both", lambda wanted: Mixture(), _one(drawn_part)),
    "DAgger, a new coin": Recipe("both", ONE, {"": Reading(plans)}, asks="coin"),
    "DAgger, the side taken": Recipe("both", ONE, {"": Reading(plans)}, asks="taken"),
}


class Student:
    """A network at the wheel, near blocks."""

    def __init__(self, network: Network, reading: Reading, data: str) -> None:
        self.network, self.reading, self.tells = network, reading, data == "told"
        self.lap = 0
        self.seconds: list[float] = []  # for each decision

    def begin(self, place: int) -> None:
        """A block begins; where the side is told, a coin says it."""
        self.left: list[np.ndarray] = []  # of the plan
        self.draws = 1_000 * self.lap + place
        self.side = LEFT if np.random.default_rng(self.draws).random() < 0.5 else RIGHT
        torch.manual_seed(self.draws)

    @torch.no_grad()
    def __call__(self, frame: np.ndarray) -> np.ndarray:
        if not self.left:
            began = time.perf_counter()
            if self.reading.keeps:
                torch.manual_seed(self.draws)
            seen = view(frame[None])
            views = torch.from_numpy(told(seen, self.side) if self.tells else seen)
            plan = self.reading.plan(self.network.head, self.network(views))[0]
            taken = plan[: self.reading.execute].numpy().clip([-1, 0, 0], 1)
            self.left = list(taken.astype(np.float32))
            self.seconds.append(time.perf_counter() - began)
        return self.left.pop(0)


def fit(recipe: Recipe, data: Sequence[Pairs], seed: int) -> Network:
    torch.manual_seed(seed)
    views, wanted = (torch.from_numpy(np.concatenate(part)) for part in zip(*data, strict=True))
    head = recipe.head(wanted)
    network = Network("speed steering" if recipe.data == "told" else "speed", head)
    training.train(
        network, views, wanted[:, : head.count], head.loss,
        steps=recipe.steps, batch_size=128, learning_rate=2e-3, generator=torch.default_generator,
        augment=None if recipe.data == "right" else mirror, progress=False,  # or it is left, too
    )  # fmt: skip
    return network


def teach(cell: Cell) -> tuple[Network, int]:
    """The cell's network, and how many labels it learned from."""
    recipe = POLICIES[cell.policy]
    data = laps(recipe.data)[: ASKED if recipe.asks else None]
    network = fit(recipe, data, cell.seed)
    env = gym.make("BlocksAlone-v3")
    for first in range(LAPS, LAPS + ROUNDS * ASKED if recipe.asks else LAPS, ASKED):
        for track in range(first, first + ASKED):
            expert = SwervingDriver(env, Coin(track) if recipe.asks == "coin" else None)
            student = Student(network, recipe.readings[""], recipe.data)
            data = [*data, answers(env, student, expert, track)]
        network = fit(recipe, data, cell.seed)
    return network, sum(len(views) for views, _ in data)


def measure(cell: Cell) -> dict[str, Any]:
    """Train the cell's network and drive: how does it pass each block, however it is read?"""
    began = time.process_time()
    recipe = POLICIES[cell.policy]
    network, labels = teach(cell)
    row: dict[str, Any] = {"labels": labels, "training_s": round(time.process_time() - began)}
    env, returns = gym.make("BlocksAlone-v3"), []
    for name, reading in recipe.readings.items():
        student, passed = Student(network, reading, recipe.data), []
        for student.lap in TRACKS:
            returns.append(rollout(env, AtBlocks(env, student), student.lap).total)
            passed.append(outcomes(env))
        row[name or "at each step"] = " ".join(passed)  # a letter for each block, a word for a lap
        row["decision_ms"] = f"{1_000 * np.median(student.seconds):.1f}"
    row["mean_return"] = f"{np.mean(returns):.1f}"
    return row | {"all_s": round(time.process_time() - began)}


def digest(cell: Cell) -> str:
    """Of the code that a cell's result depends on."""
    recipe = POLICIES[cell.policy]
    parts: list[Any] = [*RECORDS, training.train, mirror, DrivingCNN, Masked, Usual, AtBlocks]
    parts += [outcomes, answers, Plans, PlanClasses, Flow, Classes, Mixture, Network, Student]
    parts += [fit, teach, measure, plans, likeliest, action, drawn_class, drawn_part, _drawn]
    readings = [(name, r.execute, r.keeps) for name, r in recipe.readings.items()]
    about = cell.policy, recipe.data, recipe.steps, recipe.asks, readings
    settings = TRACKS, LAPS, CHUNK, ASKED, ROUNDS, SCALE.tolist(), MIDDLE.tolist()
    return short_hash(digest_of(*parts) + repr((about, settings)))


def cells(seeds: int = SEEDS) -> list[Cell]:
    """All trainings, one of each policy before the second of any."""
    return [Cell(name, seed) for seed in range(seeds) for name in POLICIES]


def record_missing(kinds: Iterable[str], workers: Workers) -> None:
    """Record what is missing of some kinds of laps."""
    tasks = [(kind, seed) for kind in kinds for seed in range(LAPS)]
    tasks = [task for task in tasks if not lap_path(*task).exists()]
    for _ in tqdm(as_they_come(record, tasks, workers), "laps", len(tasks), leave=False):
        pass


def run(wanted: Sequence[Cell], workers: Workers, path: Path = FILE) -> None:
    """Make what is missing in ``path`` or belongs to other code."""

    def prepare(missing: Sequence[Cell]) -> None:
        record_missing(sorted({POLICIES[cell.policy].data for cell in missing}), workers)

    order = [Cell(name, seed) for name in POLICIES for seed in range(SEEDS)]
    complete(wanted, measure, digest, path, workers, order, prepare)


def table(results: Mapping[Cell, Mapping[str, str]]) -> Iterator[str]:
    """A line for each reading: blocks hit, with the interval, each training's; sides taken."""
    for policy, recipe in POLICIES.items():
        mine = [row for cell, row in results.items() if cell.policy == policy]
        for name in recipe.readings if mine else ():
            passed = np.array([list(row[name or "at each step"].replace(" ", "")) for row in mine])
            hit = np.isin(passed, ["H", "-"])
            low, high = interval(hit)
            left = (passed == "L").sum() / max(1, (~hit).sum())
            yield (
                f"{policy + ', ' * bool(name) + name:45} hit {hit.mean():4.0%} [{low:.0%}, "
                f"{high:.0%}] ({' '.join(map(str, hit.sum(axis=1)))} of {passed.shape[1]}) "
                f"left {left:.0%} | {mine[0]['training_s']} s, {mine[0]['all_s']} s"
            )


def main(arguments: list[str] | None = None) -> None:
    def make(seeds: int, workers: Workers) -> None:
        run(cells(seeds), workers)

    command(__doc__, SEEDS, make, lambda: table(read(FILE, Cell)), arguments)


if __name__ == "__main__":
    import ways  # so that workers find all of this under the module's name

    ways.main()
