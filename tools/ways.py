"""Many right answers, for 08-choose-among-many-ways: ``python tools/ways.py``; two hours.

Red blocks lie in the middle of the road, and the expert passes each on the left or on the right, as
a coin says. Each learner gets the same disturbed laps, sees the road and the speed, and drives near
the blocks of the test tracks; between blocks the expert drives. How each block was passed goes to
``notebooks/results/ways.csv`` as it comes: see `cells`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from cells import Workers, as_they_come, command, complete, digest_of, read, short_hash
from experiments import Masked
from ladder import Classes, Mixture, Regression, Usual, chunks
from torch import Tensor, nn
from tqdm.auto import tqdm

from helpers import ROOT, data_path, training
from helpers.networks import ROAD, mirror, view
from helpers.plumbing import written_whole
from helpers.results import interval
from helpers.rollouts import rollout
from helpers.training import Disturbed
from helpers.worlds import blocks, car_racing, drivers
from helpers.worlds.blocks import LEFT, RIGHT, AtBlocks, SwervingDriver, outcomes

FILE = ROOT / "notebooks" / "results" / "ways.csv"
TRACKS = range(20_000, 20_020)  # test
LAPS, SEEDS = 40, 5
CHUNK = 12  # actions that are planned at once; 50 are a second
ASKED = 10  # laps in each round of DAgger, which begins with as many


@dataclass(frozen=True)
class Cell:
    """One training, and one way of reading what it learned."""

    policy: str
    reading: str
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


class Flow(nn.Module):
    """Flow matching over chunks (Lipman et al. 2023): (B, 54, 48) → what the view says, (B, 128).

    ``draw`` walks from noise to a plan, with the velocity that the network has learned.
    """

    steps, scale, middle = 8, (0.08, 0.3, 0.1), (0.0, 0.3, 0.05)

    def __init__(self, gauges: str, hidden: int = 256) -> None:
        super().__init__()
        self.see = Usual(gauges, 128)
        size = 3 * CHUNK
        self.move = nn.Sequential(
            nn.Linear(size + 128 + 8, hidden), nn.SiLU(),
            nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, size),
        )  # fmt: skip

    def forward(self, views: Tensor) -> Tensor:
        return self.see(views)

    def velocity(self, at: Tensor, when: Tensor, seen: Tensor) -> Tensor:
        phase = when * torch.arange(1, 5) * math.pi
        return self.move(torch.cat([at, seen, phase.sin(), phase.cos()], 1))

    def loss(self, seen: Tensor, wanted: Tensor) -> Tensor:
        plan = ((wanted - torch.tensor(self.middle)) / torch.tensor(self.scale)).flatten(1)
        noise, when = torch.randn_like(plan), torch.rand(len(plan), 1)
        at = (1 - when) * noise + when * plan
        return (self.velocity(at, when, seen) - (plan - noise)).square().mean()

    def draw(self, seen: Tensor) -> Tensor:
        """(B, 128) → plans (B, CHUNK, 3)."""
        at = torch.randn(len(seen), 3 * CHUNK)
        for step in range(self.steps):
            when = torch.full((len(seen), 1), step / self.steps)
            at = at + self.velocity(at, when, seen) / self.steps
        plan = at.unflatten(1, (CHUNK, 3))
        return plan * torch.tensor(self.scale) + torch.tensor(self.middle)


def drawn(head: Classes, out: Tensor) -> Tensor:
    """A class of each output, as likely as the network says; the same draw, the same quantile."""
    found = []
    for levels, part in zip(head.levels, out.split(head.sizes, 1), strict=True):
        place = (part.softmax(1).cumsum(1) < torch.rand(1)).sum(1)
        found.append(levels[place.clamp(max=len(levels) - 1)])
    return torch.stack(found, 1)[:, None]


def drawn_part(head: Mixture, out: Tensor) -> Tensor:
    """The middle of one of the normal distributions, as likely as the network says."""
    weights, means, _ = head._read(out)
    place = (weights.exp().cumsum(1) < torch.rand(1)).sum(1).clamp(max=head.parts - 1)
    return means[torch.arange(len(out)), place][:, None]


@dataclass(frozen=True)
class Reading:
    """How a network drives: outputs → plans (B, count, 3), of which so many steps are executed.

    With ``keeps``, all draws near one block are the same.
    """

    plan: Callable[[Any, Tensor], Tensor]
    execute: int = 1
    keeps: bool = False


def mean(head: Any, out: Tensor) -> Tensor:
    return head.actions(out)


def sample(head: Flow, out: Tensor) -> Tensor:
    return head.draw(out)


ONE = {"": Reading(mean)}
DRAWS = {"drawn at each step": Reading(drawn), "one draw kept": Reading(drawn, keeps=True)}
PARTS = {
    "drawn at each step": Reading(drawn_part), "one draw kept": Reading(drawn_part, keeps=True)
}  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """What is learned from, with which head; how it is read; with what DAgger's expert answers."""

    data: str
    head: Callable[[], Any]
    readings: Mapping[str, Reading]
    steps: int = 1_000
    asks: str = ""


def executed(plan: Callable[[Any, Tensor], Tensor]) -> dict[str, Reading]:
    return {f"{n} of {CHUNK} executed": Reading(plan, n) for n in (1, 6, 12)}


POLICIES = {
    "always right, squared error": Recipe("right", Regression, ONE),
    "told the side, squared error": Recipe("told", Regression, ONE),
    "squared error": Recipe("both", Regression, ONE),
    "chunks, squared error": Recipe("both", partial(Regression, CHUNK), executed(mean)),
    "classes": Recipe("both", Classes, {"likeliest": Reading(mean), **DRAWS}),
    "mixture": Recipe("both", Mixture, {"likeliest": Reading(mean), **PARTS}),
    "chunks, flow": Recipe(
        "both",
        partial(Flow, "speed"),
        executed(sample) | {"1 executed, one draw kept": Reading(sample, keeps=True)},
        steps=4_000,
    ),
    "DAgger, a new coin": Recipe("both", Regression, ONE, asks="coin"),
    "DAgger, the side taken": Recipe("both", Regression, ONE, asks="taken"),
}


class Student:
    """A network at the wheel, near blocks."""

    def __init__(self, network: nn.Module, head: Any, reading: Reading, tells: bool) -> None:
        self.network, self.head, self.reading, self.tells = network, head, reading, tells
        self.seed = 0
        self.seconds: list[float] = []  # for each decision

    def begin(self, place: int) -> None:
        """A block begins; where the side is told, a coin says it."""
        self.plan: list[np.ndarray] = []
        self.draws = hash((self.seed, place)) % 2**31
        self.side = LEFT if np.random.default_rng(self.draws).random() < 0.5 else RIGHT
        torch.manual_seed(self.draws)

    @torch.no_grad()
    def __call__(self, frame: np.ndarray) -> np.ndarray:
        if not self.plan:
            began = time.perf_counter()
            if self.reading.keeps:
                torch.manual_seed(self.draws)
            seen = view(frame[None])
            views = torch.from_numpy(told(seen, self.side) if self.tells else seen)
            plan = self.reading.plan(self.head, self.network(views))[0, : self.reading.execute]
            self.plan = list(plan.numpy().clip([-1, 0, 0], 1).astype(np.float32))
            self.seconds.append(time.perf_counter() - began)
        return self.plan.pop(0)


def fit(recipe: Recipe, data: Sequence[Pairs], seed: int) -> tuple[nn.Module, Any]:
    """The network, and what reads its outputs."""
    torch.manual_seed(seed)
    head = recipe.head()
    gauges = "speed steering" if recipe.data == "told" else "speed"
    network = head if isinstance(head, Flow) else Usual(gauges, head.size)
    views, wanted = (torch.from_numpy(np.concatenate(part)) for part in zip(*data, strict=True))
    training.train(
        network, views, wanted[:, : getattr(head, "count", CHUNK)], head.loss,
        steps=recipe.steps, batch_size=128, learning_rate=2e-3, generator=torch.default_generator,
        augment=mirror, progress=False,
    )  # fmt: skip
    return network, head


@cache
def teach(policy: str, seed: int) -> tuple[nn.Module, Any, int]:
    """The network, what reads it, and how many labels it learned from."""
    recipe = POLICIES[policy]
    if not recipe.asks:
        data = laps(recipe.data)
        return *fit(recipe, data, seed), sum(len(views) for views, _ in data)
    data = laps(recipe.data)[:ASKED]
    found = fit(recipe, data, seed)
    rounds = LAPS // ASKED - 1
    env = gym.make("BlocksAlone-v3")
    for first in range(LAPS, LAPS + rounds * ASKED, ASKED):
        for track in range(first, first + ASKED):
            expert = SwervingDriver(env, Coin(track) if recipe.asks == "coin" else None)
            student = Student(*found, recipe.readings[""], tells=False)
            data = [*data, answers(env, student, expert, track)]
        found = fit(recipe, data, seed)
    return *found, sum(len(views) for views, _ in data)


def measure(cell: Cell) -> dict[str, Any]:
    """Train the cell's student and drive: how does it pass each block?"""
    began = time.process_time()
    recipe = POLICIES[cell.policy]
    network, head, labels = teach(cell.policy, cell.seed)
    taught = time.process_time() - began
    student = Student(network, head, recipe.readings[cell.reading], recipe.data == "told")
    env = gym.make("BlocksAlone-v3")
    passed, returns = [], []
    for student.seed in TRACKS:
        returns.append(rollout(env, AtBlocks(env, student), student.seed).total)
        passed.append(outcomes(env))
    return {
        "labels": labels,
        "passed": " ".join(passed),  # a letter for each block, a word for each track
        "returns": " ".join(f"{value:.1f}" for value in returns),
        "decision_ms": f"{1_000 * np.median(student.seconds):.1f}",
        "training_s": round(taught),
        "all_s": round(time.process_time() - began),
    }


def digest(cell: Cell) -> str:
    """Of the code that a cell's result depends on."""
    recipe = POLICIES[cell.policy]
    reading = recipe.readings[cell.reading]
    kind = getattr(recipe.head, "func", recipe.head)
    code: list[Any] = [*RECORDS, training.train, mirror, Masked, Usual, Regression, kind]
    code += [AtBlocks, outcomes, answers, Student, reading.plan, fit, teach, measure]
    about = recipe.data, recipe.steps, recipe.asks, reading.execute, reading.keeps
    settings = getattr(recipe.head, "args", ()), TRACKS, LAPS, CHUNK, ASKED
    return short_hash(digest_of(*code) + repr((about, settings)))


def cells(seeds: int = SEEDS) -> list[Cell]:
    """All, the readings of one training after each other, the first training of each policy first.

    A worker keeps what it has trained, and may be lucky.
    """
    named = [(name, reading) for name, recipe in POLICIES.items() for reading in recipe.readings]
    return [Cell(*one, seed) for seed in range(seeds) for one in named]


def run(wanted: Sequence[Cell], workers: Workers, path: Path = FILE) -> None:
    """Make what is missing in ``path`` or belongs to other code."""

    def prepare(missing: Sequence[Cell]) -> None:
        kinds = sorted({POLICIES[cell.policy].data for cell in missing})
        tasks = [(kind, seed) for kind in kinds for seed in range(LAPS)]
        tasks = [task for task in tasks if not lap_path(*task).exists()]
        for _ in tqdm(as_they_come(record, tasks, workers), "laps", len(tasks), leave=False):
            pass

    order = sorted(cells(), key=lambda cell: list(POLICIES).index(cell.policy))
    complete(wanted, measure, digest, path, workers, order, prepare)


def table(results: Mapping[Cell, Mapping[str, str]]) -> Iterator[str]:
    """A line for each reading: blocks hit, with the interval, each training's; sides; returns."""
    for first in cells(1):
        about = first.policy, first.reading
        mine = [row for cell, row in results.items() if (cell.policy, cell.reading) == about]
        if not mine:
            continue
        passed = np.array([list(row["passed"].replace(" ", "")) for row in mine])
        hit = np.isin(passed, ["H", "-"])
        low, high = interval(hit)
        each = " ".join(map(str, hit.sum(axis=1)))
        left = (passed == "L").sum() / max(1, (~hit).sum())
        returns = np.mean([[float(v) for v in row["returns"].split()] for row in mine])
        yield (
            f"{', '.join(filter(None, about)):50} hit {hit.mean():4.0%} [{low:.0%}, {high:.0%}] "
            f"({each} of {passed.shape[1]}) left {left:.0%} | {returns:.0f} | "
            f"{mine[0]['decision_ms']} ms, {mine[0]['training_s']} s, {mine[0]['all_s']} s"
        )


def main(arguments: list[str] | None = None) -> None:
    def make(seeds: int, workers: Workers) -> None:
        run(cells(seeds), workers)

    command(__doc__, SEEDS, make, lambda: table(read(FILE, Cell)), arguments)


if __name__ == "__main__":
    import ways  # so that workers find all of this under the module's name

    ways.main()
