"""How fast the package is beside what it stands for: ``python tools/bench.py``, or ``make bench``.

Prints one Markdown table; a minute or two. Those in a row do the same work in one process, in
turns, so that a busy machine slows both alike. What counts is the processor's time, all threads
together; the ratio is the median over turns, with the range of the middle 80% of them.

Two rivals are no part of the package: npfl139 and envpool are installed for the run, into a folder
that is deleted after it (55 MB to download). Where that fails, their rows say why.
"""

import importlib
import importlib.util
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.envs.box2d.car_racing import CarRacing
from torch.nn.functional import mse_loss

from helpers.networks import DrivingCNN, mirror
from helpers.training import train
from helpers.worlds.car_racing import FastCarRacing, PhysicsOnly
from helpers.worlds.drivers import RacingDriver
from helpers.worlds.mountain_car import MountainCarVector

NPFL139 = ["npfl139==2526.14.1"]  # one module of it, which needs nothing that isn't here
ENVPOOL = ["envpool==1.1.1", "dm-env==1.6", "optree==0.20.0"]

HEADER = [
    "| what | CPU time | beside | CPU time | times as fast (80% of turns) | what comes out |",
    "| --- | ---: | --- | ---: | ---: | --- |",
]


def paired(runs: dict[str, Callable[[int], object]], turns: int) -> dict[str, np.ndarray]:
    """CPU seconds of each turn, (turns,), of each run, which is called with the turn's number."""
    spent: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(turns):
        for name, run in runs.items():
            start = time.process_time()
            run(turn)
            spent[name].append(time.process_time() - start)
    return {name: np.array(seconds) for name, seconds in spent.items()}


def row(what: str, ours: np.ndarray, beside: str, theirs: np.ndarray, note: str) -> str:
    """A line of the table. ``ours`` and ``theirs`` are CPU seconds for each turn, (turns,)."""
    low, middle, high = np.percentile(theirs / ours, [10, 50, 90])
    digits = 2 if middle < 2 else 1 if middle < 10 else 0
    ratio = f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
    return f"| {what} | {clock(ours)} | {beside} | {clock(theirs)} | {ratio} | {note} |"


def clock(seconds: np.ndarray) -> str:
    """The median, in the unit in which it can be read."""
    micro = 1e6 * float(np.median(seconds))
    return f"{micro / 1000:.2f} ms" if micro >= 100 else f"{micro:.2f} µs"


def missing(what: str, error: Exception) -> str:
    """The line of a rival that could not be had."""
    reason = " ".join(str(error).split()).replace("|", "/")
    return f"| {what} | – | – | – | – | not measured: {type(error).__name__}: {reason[:200]} |"


def install(folder: Path, requirements: list[str]) -> None:
    """Puts packages into ``folder``, without what they depend on. RuntimeError where pip fails."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
    done = subprocess.run(
        [*pip, "--retries", "1", "--timeout", "15", *requirements], capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError((done.stderr.strip() or "pip failed").splitlines()[-1])


def npfl139(folder: Path) -> gym.Env:
    """The course package's CarRacing, each frame drawn."""
    install(folder, NPFL139)
    file = folder / "npfl139/envs/car_racing.py"  # the package as a whole would import far more
    spec = importlib.util.spec_from_file_location("npfl139_car_racing", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.CarRacingFS(frame_skip=1)


def envpool(folder: Path, cars: int) -> Any:
    """As many of envpool's mountain cars, stepped by one thread."""
    install(folder, ENVPOOL)
    sys.path.append(str(folder))
    try:
        module = importlib.import_module("envpool")
    finally:
        sys.path.remove(str(folder))
    return module.make_gymnasium("MountainCar-v0", num_envs=cars, num_threads=1)


def stepping(envs: dict[str, Any], actions: np.ndarray, per_turn: int) -> tuple[Any, Any]:
    """Steps all environments through the same actions: CPU seconds by turn, and what they showed.

    No resets but those that an environment does by itself.
    """
    seen: dict[str, list[np.ndarray]] = {name: [] for name in envs}

    def turns_of(name: str) -> Callable[[int], None]:
        def run(turn: int) -> None:
            for action in actions[turn * per_turn : (turn + 1) * per_turn]:
                seen[name].append(envs[name].step(action)[0])

        return run

    spent = paired({name: turns_of(name) for name in envs}, len(actions) // per_turn)
    return spent, {name: np.array(observations) for name, observations in seen.items()}


def racing(turns: int, folder: Path, per_turn: int = 25) -> list[str]:
    """A step on the lap of the scripted driver on track 0, the opening zoom included."""
    track = PhysicsOnly()
    track.reset(seed=0)
    driver = RacingDriver(track)
    actions = []
    for _ in range(turns * per_turn):
        actions.append(driver())
        track.step(actions[-1])

    stock, ours, theirs = "Gymnasium's CarRacing", "FastCarRacing, a step", "npfl139's CarRacingFS"
    envs: dict[str, Any] = {stock: CarRacing(), ours: FastCarRacing()}
    lines = []
    try:
        envs[theirs] = npfl139(folder)
    except Exception as error:
        lines.append(missing(theirs, error))
    for env in envs.values():
        env.reset(seed=0)
    spent, frames = stepping(envs, np.array(actions), per_turn)
    for name in reversed(list(envs)[1:]):
        differ = (frames[name] != frames[stock]).any(axis=-1).mean()
        note = f"{differ:.0%} of the pixels differ" if differ else "the same bytes"
        lines.insert(0, row(name, spent[name] / per_turn, stock, spent[stock] / per_turn, note))
    return lines


def mountain(turns: int, cars: int, folder: Path, per_turn: int = 15) -> list[str]:
    """A step of one of many mountain cars under random actions, restarts included."""
    stock, ours, theirs = "Gymnasium's `make_vec`", "MountainCarVector, a car's step", "envpool's"
    envs: dict[str, Any] = {
        stock: gym.make_vec("MountainCar-v0", cars, vectorization_mode="sync"),
        ours: MountainCarVector(cars),
    }
    for env in envs.values():
        env.reset(seed=0)
    lines = []
    try:
        envs[theirs] = envpool(folder, cars)
        envs[theirs].reset()
    except Exception as error:
        lines.append(missing(theirs, error))
    actions = np.random.default_rng(0).integers(0, 3, (turns * per_turn, cars))
    spent, states = stepping(envs, actions, per_turn)
    for name in reversed(list(envs)[1:]):
        same = np.array_equal(states[name], states[stock])
        note = "the same numbers" if same else "other starts: its own generator"
        unit = per_turn * cars
        lines.insert(0, row(name, spent[name] / unit, stock, spent[stock] / unit, note))
    return lines


def training(turns: int, steps: int) -> list[str]:
    """A step of 04-clone-car-racing's training, beside the bare one on the same batches."""
    views = torch.randint(256, (5_000, 54, 48), dtype=torch.uint8)
    actions = torch.rand(5_000, 3)
    batches: list[tuple[torch.Tensor, torch.Tensor]] = []

    def loop(model: torch.nn.Module, loss: Any = mse_loss) -> None:
        train(
            model, views, actions, loss, steps=steps, batch_size=128, learning_rate=2e-3,
            generator=torch.Generator().manual_seed(0), augment=mirror, progress=False,
        )  # fmt: skip

    def bare(model: torch.nn.Module) -> None:
        optimizer = torch.optim.Adam(model.parameters())
        for observed, wanted in batches:
            error = mse_loss(model(observed), wanted)
            optimizer.zero_grad()
            error.backward()
            optimizer.step()

    observed: list[torch.Tensor] = []
    watched = DrivingCNN()  # learns once, to tell which batches there are
    watched.register_forward_pre_hook(lambda _, inputs: observed.append(inputs[0]))

    def note(output: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        batches.append((observed[-1], wanted))
        return mse_loss(output, wanted)

    loop(watched, note)
    spent = paired(
        {"ours": lambda _: loop(DrivingCNN()), "bare": lambda _: bare(DrivingCNN())}, turns
    )
    return [
        row(
            "`train`, a step", spent["ours"] / steps, "forward, backward, step of the same batches",
            spent["bare"] / steps, "also draws them, averages weights, keeps losses",
        )
    ]  # fmt: skip


def main(
    racing_turns: int = 28,  # of 25 steps: a lap
    mountain_turns: int = 17,  # of 15 steps: beyond the time limit of 200
    cars: int = 1_000,
    training_turns: int = 7,
    training_steps: int = 100,  # in a turn
) -> None:
    print("\n".join(HEADER))
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        lines = racing(racing_turns, Path(folder, "npfl139"))
        lines += mountain(mountain_turns, cars, Path(folder, "envpool"))
    print("\n".join(lines + training(training_turns, training_steps)))


if __name__ == "__main__":
    gym.logger.min_level = gym.logger.ERROR  # envpool's spaces are cast, each with a warning
    main()
