"""Why a choice must be kept, and what two experts answer; twenty minutes.

    python tools/choices.py

For 08-choose-among-many-ways, beside `ways`, whose laps and learners these are. Results go to
``notebooks/results/choices.csv`` as they come: see `cells`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import experiments
import gymnasium as gym
import ladder
import numpy as np
import torch
import ways
from cells import Workers, command, complete, digest_of, read, short_hash
from experiments import VIEWS
from ladder import Classes, First, Head, Policy, ReadByMean, Regression, Usual
from torch import Tensor
from waiting import Drawn
from ways import ASKED, LAPS, MIDDLE, POLICIES, SCALE, Coin, PlanClasses, Reading, Student

from helpers import ROOT, training
from helpers.by_hand.laps import TIME_LIMIT
from helpers.networks import mirror, view
from helpers.rollouts import rollout
from helpers.worlds.blocks import AtBlocks, SwervingDriver, outcomes
from helpers.worlds.drivers import KeyboardDriver

FILE = ROOT / "notebooks" / "results" / "choices.csv"
TRACKS = ways.TRACKS  # test
SEEDS, EXECUTE = 5, 6  # trainings; actions of a plan that are carried out
KEYS_LAPS, KEYS_TRACKS = 10, TRACKS[:6]  # laps to learn from; test
NEAREST, FARTHEST, ASIDE = 7, 18, 0.5  # units: where a car is asked; from where on it is at a side
KEPT = {  # column → what is kept of a draw from one plan to the next
    "nothing kept": (), "side kept": ("side",), "reach kept": ("reach",),
    "both kept": ("side", "reach"),
}  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """One training. ``question``: one of `ASKS`."""

    question: str
    seed: int = 0


class Tosser(Student):
    """Draws a kind of plan by 0.5 ± reach, of which side and reach are kept near a block, or not.

    Kinds stand from left to right, each with its share of the numbers from 0 to 1. So the side says
    from which half the kind is, and the reach how far from the middle.
    """

    def __init__(self, network: ways.Network, keeps: Sequence[str]) -> None:
        super().__init__(network, Reading(self.plan, EXECUTE), "both")
        self.keeps = keeps

    def begin(self, place: int) -> None:
        super().begin(place)
        self.coins = [np.random.default_rng([self.draws, which]) for which in (0, 1)]
        self.drawn: dict[str, float] = {}

    def plan(self, head: PlanClasses, out: Tensor) -> Tensor:
        side, reach = self.coins
        tossed = {"side": float(side.choice([-1, 1])), "reach": float(reach.uniform(0, 0.5))}
        self.drawn = tossed | {name: self.drawn[name] for name in self.keeps if self.drawn}
        number = 0.5 + self.drawn["side"] * self.drawn["reach"]
        shares = out[:, : head.kinds].softmax(1).cumsum(1)
        kind = (shares < number).sum(1).clamp(max=head.kinds - 1)
        return head._read(out, kind) * SCALE + MIDDLE


def draws(seed: int) -> dict[str, Any]:
    """How each block is passed, whatever is kept of a draw: a word for a lap."""
    network, labels = ways.teach(ways.Cell("plans, classes", seed))
    row: dict[str, Any] = {"labels": labels}
    env = gym.make("BlocksAlone-v3")
    for name, keeps in KEPT.items():
        student, passed = Tosser(network, keeps), []
        for student.lap in TRACKS:
            rollout(env, AtBlocks(env, student), student.lap)
            passed.append(outcomes(env))
        row[name] = " ".join(passed)
    return row


def answers(seed: int) -> dict[str, Any]:
    """DAgger's first round: the mean steering away from the block's middle, as each expert has it.

    Both are asked about the same states of the student: near a block, to one side of its middle.
    """
    recipe = POLICIES["DAgger, a new coin"]
    network = ways.fit(recipe, ways.laps(recipe.data)[:ASKED], seed)
    env = gym.make("BlocksAlone-v3")
    student = Student(network, recipe.readings[""], recipe.data)
    notes: list[np.ndarray] = []
    for track in range(LAPS, LAPS + ASKED):
        experts = SwervingDriver(env, Coin(track)), SwervingDriver(env)

        class Asked:
            begin = staticmethod(student.begin)

            def __call__(self, frame: np.ndarray, experts: tuple[Any, ...] = experts) -> np.ndarray:
                near = env.unwrapped.near()  # type: ignore[attr-defined]
                said = np.array([expert(frame)[0] for expert in experts])
                if NEAREST < near.to_go < FARTHEST and abs(near.right) > ASIDE:
                    notes.append(np.sign(near.right) * said)
                return student(frame)

        rollout(env, AtBlocks(env, Asked()), track)
    coin, taken = np.mean(notes, axis=0)
    return {"labels": len(notes), "coin": coin, "taken": taken}


def keys(seed: int) -> dict[str, Any]:
    """Learners of laps that were driven with keys: left and right of one right answer, in haste.

    They see what the cured clone sees. The return of the average, of the likeliest class, of a
    class that is drawn, of the classes' mean, and of their teacher, on a road without blocks.
    """
    env = gym.make("FastCarRacing-v3", max_episode_steps=TIME_LIMIT)
    physics = gym.make("PhysicsOnly-v3", max_episode_steps=TIME_LIMIT)
    laps = []
    for track in range(KEYS_LAPS):
        run = rollout(env, KeyboardDriver(env), track, keep_observations=True)
        laps.append((view(run.observations), run.actions))  # type: ignore[arg-type]
    views, wanted = (torch.from_numpy(np.concatenate(part)) for part in zip(*laps, strict=True))
    seen, policies = VIEWS["speed"], dict[str, Any](teacher=KeyboardDriver(physics))
    learned: list[dict[str, Head]] = [{"average": Regression()}, {"likeliest": Classes()}]
    learned[1] |= {"drawn": Drawn(), "mean": ReadByMean()}
    for heads in learned:
        head = next(iter(heads.values()))
        torch.manual_seed(seed)
        network = Usual("speed", head.size)
        training.train(
            network, views, wanted[:, None], head.loss, steps=1_000, batch_size=128,
            learning_rate=2e-3, generator=torch.default_generator, augment=mirror, progress=False,
        )  # fmt: skip
        for name, head in heads.items():
            policies[name] = ladder.Student(First(network, head), Policy(head), seen).act
    row: dict[str, Any] = {"labels": len(views)}
    for name, policy in policies.items():
        torch.manual_seed(seed)
        world = physics if name == "teacher" else env
        totals = [rollout(world, policy, track).total for track in KEYS_TRACKS]
        row[name] = " ".join(f"{total:.1f}" for total in totals)
    return row


ASKS: dict[str, tuple[Callable[[int], dict[str, Any]], tuple[Any, ...]]] = {  # and what it rests on
    "draws": (draws, (Tosser,)),
    "answers": (answers, ()),
    "keys": (keys, (Usual, First, ladder.Student, Regression, Classes, Drawn, ReadByMean)),
}


def measure(cell: Cell) -> dict[str, Any]:
    began = time.process_time()
    row = ASKS[cell.question][0](cell.seed)
    return row | {"all_s": round(time.process_time() - began)}


def cells(seeds: int = SEEDS) -> list[Cell]:
    """All trainings, one of each question before the second of any."""
    return [Cell(name, seed) for seed in range(seeds) for name in ASKS]


def digest(cell: Cell) -> str:
    """Of the code that a cell's result depends on."""
    what, rests_on = ASKS[cell.question]
    policy = "plans, classes" if what is draws else "DAgger, a new coin"
    begin = ways.digest(ways.Cell(policy))
    settings: tuple[Any, ...] = TRACKS, EXECUTE, NEAREST, FARTHEST, ASIDE, KEPT
    if what is keys:
        begin, settings = (
            experiments.digest("30 clean", "speed"),
            (KEYS_TRACKS, KEYS_LAPS, TIME_LIMIT),
        )
    return short_hash(begin + digest_of(*rests_on, what) + repr(settings))


def run(wanted: Sequence[Cell], workers: Workers, path: Path = FILE) -> None:
    """Make what is missing in ``path`` or belongs to other code."""

    def prepare(missing: Sequence[Cell]) -> None:
        ways.record_missing(["both"] if missing else [], workers)

    order = [Cell(name, seed) for name in ASKS for seed in range(SEEDS)]
    complete(wanted, measure, digest, path, workers, order, prepare)


def table(results: Mapping[Cell, Mapping[str, str]]) -> Iterator[str]:
    """A line for each way to draw, with the blocks that each training hit; and for each expert."""
    shown = {
        "draws": list(KEPT),
        "answers": ["coin", "taken"],
        "keys": ["teacher", "average", "likeliest", "drawn", "mean"],
    }
    for question, columns in shown.items():
        mine = [row for cell, row in results.items() if cell.question == question]
        for name in columns if mine else ():
            said = [row[name] for row in mine]
            if question == "draws":
                said = [str(sum(text.count(letter) for letter in "H-")) for text in said]
            if question == "keys":
                said = [f"{np.mean([float(v) for v in text.split()]):.0f}" for text in said]
            yield f"{question:8} {name:13} {' '.join(said)}"


def main(arguments: list[str] | None = None) -> None:
    def make(seeds: int, workers: Workers) -> None:
        run(cells(seeds), workers)

    command(__doc__, SEEDS, make, lambda: table(read(FILE, Cell)), arguments)


if __name__ == "__main__":
    import choices  # so that workers find all of this under the module's name

    choices.main()
