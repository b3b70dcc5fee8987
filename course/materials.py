"""What the assignments are about: recorded runs with a defect, and clones that are broken.

`make course` writes them beside the notebooks, from a seed: another seed, other runs are late and
other clones are ill.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from helpers.demonstrations import Demonstrations
from helpers.worlds.mountain_car import MountainCarVector, mountain_car_expert

RUNS, LATE, LAG = 100, 60, 10  # runs on file, runs whose labels come late, and by how many steps
AILMENTS = "confusion", "coverage", "misfit"
FROM = 1_000_000  # starts (seeds of Mountain Car) beyond all that the assignments name
LETTERS = "ABCDEFGHI"  # patients: the first three for the students, all for what they program
SLOW = np.array([0.13, 0.009], np.float32)  # from rest at the bottom: position, velocity


def late_runs(seed: int) -> Demonstrations:
    """The rule's runs on Mountain Car; in LATE of RUNS each label is the action LAG steps before.

    Until the first action comes in, the label is 1 (do nothing). Which runs: by ``seed``, which
    chooses the starts, too.
    """
    first = FROM + 1_000 * seed
    seeds = range(first, first + RUNS)
    runs = Demonstrations.record(MountainCarVector(RUNS), mountain_car_expert, seeds)
    actions = runs.actions.copy()
    for i in np.random.default_rng(seed).choice(RUNS, LATE, replace=False):
        run = slice(runs.starts[i], runs.starts[i] + runs.lengths[i])
        actions[run] = np.concatenate([np.ones(LAG, np.int64), runs.actions[run]])[:-LAG]
    return replace(runs, actions=actions)


def patients(seed: int) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Nine broken clones of Mountain Car, each ailment once among A to C and twice among D to I.

    For each, under ``<letter>_<name>``: what it learned from (``observations``, (N, 3) float32, and
    ``actions``, (N,) int64), its network (``w1``, ``b1``, ``w2``, ``b2``, for inputs times
    ``shown``, less ``centre``, over ``scale``) and ``slow``, (2,) float32: how near to the bottom,
    and how slow, both pushes of its teacher are right (0: nowhere). And, by letter, what ails it.
    """
    rng = np.random.default_rng(seed)
    arrays: dict[str, np.ndarray] = {}
    ails = [str(ail) for part in (AILMENTS, AILMENTS * 2) for ail in rng.permutation(part)]
    for number, (letter, ailment) in enumerate(zip(LETTERS, ails, strict=True)):
        made = broken_clone(ailment, 100 * seed + number)
        arrays |= {f"{letter}_{name}": array for name, array in made.items()}
    return arrays, dict(zip(LETTERS, ails, strict=True))


def broken_clone(ailment: str, seed: int) -> dict[str, np.ndarray]:
    """One of `patients`.

    confusion  sees its last action, and is trained for so short a time that it repeats it
    coverage   learned from the ends of the runs alone, the last swing
    misfit     its teacher pushes left or right from rest, by a coin, and it gives the average
    """
    runs, slow = 100 if ailment == "misfit" else 40, SLOW * (ailment == "misfit")
    first = 2 * FROM + 100 * seed
    seen, done = _drive(range(first, first + runs), slow, np.random.default_rng(seed))
    if ailment == "coverage":
        kept = np.concatenate([np.arange(len(run)) >= len(run) - 25 for run in done])
    else:
        kept = np.ones(sum(map(len, done)), bool)
    observations, actions = np.concatenate(seen)[kept], np.concatenate(done)[kept]
    shown = np.array([1, 1, ailment == "confusion"], np.float32)
    steps = {"confusion": 60, "coverage": 200, "misfit": 400}[ailment]
    network = _fit(observations * shown, actions, steps, seed, average=ailment == "misfit")
    about = {"observations": observations, "actions": actions, "shown": shown, "slow": slow}
    return about | network


def _drive(
    seeds: range, slow: np.ndarray, rng: np.random.Generator
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The teacher's runs: observations with the last action (T, 3), and actions (T,), of each."""
    cars, sides = MountainCarVector(len(seeds)), rng.permutation(np.arange(len(seeds)) % 2 * 2)
    state, _ = cars.reset(seed=list(seeds))
    last, running = np.ones(len(seeds), np.int64), np.ones(len(seeds), bool)
    steps = []
    while running.any():
        either = (np.abs(state - [-np.pi / 6, 0]) < slow).all(axis=1)
        action = np.where(either, sides, mountain_car_expert(state))
        steps.append((np.c_[state, last].astype(np.float32), action, running))
        state, _, terminated, truncated, _ = cars.step(action)
        running, last = running & ~(terminated | truncated), action
    seen, done, who = map(np.array, zip(*steps, strict=True))
    each = range(len(seeds))
    return [seen[who[:, i], i] for i in each], [done[who[:, i], i] for i in each]


def _fit(
    observations: np.ndarray, actions: np.ndarray, steps: int, seed: int, average: bool
) -> dict[str, np.ndarray]:
    """A small network, taught to choose an action, or (``average``) to give it as one number."""
    torch.manual_seed(seed)
    centre, scale = observations.mean(0), observations.std(0) + np.float32(1e-6)
    seen, done = torch.from_numpy((observations - centre) / scale), torch.from_numpy(actions)
    model = nn.Sequential(nn.Linear(3, 32), nn.ReLU(), nn.Linear(32, 1 if average else 3))
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(steps):
        batch = torch.randint(len(done), (256,))
        out, wanted = model(seen[batch]), done[batch]
        squared = nn.functional.mse_loss(out[:, 0], wanted.float()) if average else None
        loss = nn.functional.cross_entropy(out, wanted) if squared is None else squared
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    names = "w1", "b1", "w2", "b2"
    weights = (weight.detach().numpy() for weight in model.parameters())
    return dict(zip(names, weights, strict=True)) | {"centre": centre, "scale": scale}


def write(source: Path, seed: int) -> None:
    """The data of each assignment, into its folder under ``source``, and the key into the check."""
    late_runs(seed).save(source / "1-clone" / "runs.npz")
    arrays, key = patients(seed)
    folder = source / "2-why-it-fails"
    np.savez_compressed(folder / "patients.npz", allow_pickle=False, **arrays)
    notebook = folder / "2-why-it-fails.ipynb"
    text = notebook.read_text(encoding="utf-8")
    if "KEY = {}" not in text:
        raise ValueError(f"{notebook} has no place for the key: its check should say KEY = {{}}")
    notebook.write_text(text.replace("KEY = {}", f"KEY = {key}"), encoding="utf-8")
