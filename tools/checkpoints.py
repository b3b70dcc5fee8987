"""How returns swing within a training, for 07-try-stronger-policies: twenty minutes.

    python tools/checkpoints.py

At every hundredth of its last steps a training is left for a look: its network drives with the
weights that it has, and with their mean over the steps before, in which a step counts less the
older it is (Block et al. 2024). The learning rate stays what it is: one that falls to nothing, as
in the notebooks, is a remedy of its own. Results go to ``notebooks/results/checkpoints.csv`` as
they come: see `cells`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import experiments
import gymnasium as gym
import numpy as np
import torch
from cells import Workers, command, complete, digest_of, read, short_hash
from experiments import VIEWS, Student
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from helpers import ROOT
from helpers.rollouts import rollout

FILE = ROOT / "notebooks" / "results" / "checkpoints.csv"
TRACKS = range(10_000, 10_004)  # validation
DATA = "30 clean"
SEEDS, STEPS, LOOKS = 5, 1_000, range(600, 1_001, 100)  # steps that have been made
DECAY = 0.99  # a step counts so much less than the next one
RATE = 1e-3  # Adam's default
WEIGHTS = "last", "averaged"


@dataclass(frozen=True)
class Cell:
    """One training. ``view``: one of `experiments`."""

    view: str
    seed: int = 0


def looks(cell: Cell) -> Iterator[dict[str, nn.Module]]:
    """The networks of one training at each look: with its weights, with the mean of them."""
    seen, data = VIEWS[cell.view], experiments.laps(DATA)
    views = torch.from_numpy(np.concatenate([seen.inputs(frames) for frames, _ in data]))
    actions = torch.from_numpy(np.concatenate([labels for _, labels in data]))
    torch.manual_seed(cell.seed)
    model = seen.network(squash=True)
    mean = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(DECAY))
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    for step in range(1, STEPS + 1):
        first, second = torch.randint(len(actions), (128,)).chunk(2)
        flipped, wanted = seen.mirror(views[first], actions[first])
        out = model(torch.cat([flipped, views[second]]))
        loss = nn.functional.mse_loss(out, torch.cat([wanted, actions[second]]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        mean.update_parameters(model)
        if step in LOOKS:
            yield {"last": deepcopy(model), "averaged": deepcopy(mean.module)}


def measure(cell: Cell) -> dict[str, Any]:
    """The loss on unseen laps and the mean return at each look, for both kinds of weights."""
    began, env = time.process_time(), gym.make("FastCarRacing-v3")
    unseen, seen = experiments.laps("held out"), VIEWS[cell.view]
    views = torch.from_numpy(np.concatenate([seen.inputs(frames) for frames, _ in unseen]))
    wanted = torch.from_numpy(np.concatenate([labels for _, labels in unseen]))
    notes: dict[str, list[float]] = {
        f"{what}_{w}": [] for w in WEIGHTS for what in ("loss", "return")
    }
    for networks in looks(cell):
        for kind, network in networks.items():
            student = Student(network, seen)
            totals = [rollout(env, student.act, seed).total for seed in TRACKS]
            notes[f"return_{kind}"].append(float(np.mean(totals)))
            with torch.no_grad():
                said = torch.cat([network(part) for part in views.split(250)])
            notes[f"loss_{kind}"].append(nn.functional.mse_loss(said, wanted).item())
    row: dict[str, Any] = {k: " ".join(f"{v:.5g}" for v in values) for k, values in notes.items()}
    return row | {"all_s": round(time.process_time() - began)}


def rows() -> list[Cell]:
    return [Cell("speed"), Cell("all gauges")]


def cells(seeds: int = SEEDS) -> list[Cell]:
    """All trainings, one of each view before the second of any."""
    return [replace(base, seed=seed) for seed in range(seeds) for base in rows()]


def digest(cell: Cell) -> str:
    """Of the code that a cell's result depends on."""
    settings = TRACKS, STEPS, LOOKS, DECAY, RATE
    return short_hash(
        experiments.digest(DATA, cell.view) + digest_of(looks, measure) + repr(settings)
    )


def run(wanted: Sequence[Cell], workers: Workers, path: Path = FILE) -> None:
    """Make what is missing in ``path`` or belongs to other code."""

    def prepare(missing: Sequence[Cell]) -> None:
        experiments.record_missing(["held out", DATA] if missing else [], workers)

    order = [replace(base, seed=seed) for base in rows() for seed in range(SEEDS)]
    complete(wanted, measure, digest, path, workers, order, prepare)


def table(results: Mapping[Cell, Mapping[str, str]]) -> Iterator[str]:
    """For each view and kind of weights: the mean of all looks, and how far they swing."""
    for base in rows():
        mine = [row for cell, row in results.items() if cell.view == base.view]
        for kind in WEIGHTS if mine else ():
            returns = np.array([[float(v) for v in row[f"return_{kind}"].split()] for row in mine])
            losses = np.array([[float(v) for v in row[f"loss_{kind}"].split()] for row in mine])
            swings = " ".join(f"{low:.0f}–{high:.0f}" for low, high in
                              zip(returns.min(1), returns.max(1), strict=True))  # fmt: skip
            yield (
                f"{base.view:10} {kind:9} return {returns.mean():4.0f} ({swings}), "
                f"at the end {returns[:, -1].mean():.0f}; "
                f"loss {losses.min():.4f} to {losses.max():.4f}"
            )


def main(arguments: list[str] | None = None) -> None:
    def make(seeds: int, workers: Workers) -> None:
        run(cells(seeds), workers)

    command(__doc__, SEEDS, make, lambda: table(read(FILE, Cell)), arguments)


if __name__ == "__main__":
    import checkpoints  # so that workers find all of this under the module's name

    checkpoints.main()
