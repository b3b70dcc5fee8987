"""The full experiments behind the notebooks: ``python tools/experiments.py``; hours.

A cell is one training: what it learned from, what it saw, how it was trained, and a seed. Each is
made once, driven once on the validation tracks, pushed, and asked what it reads; the result goes to
``notebooks/results/causes.csv`` as soon as it is there. An interrupted or killed run goes on where
it was, on all cores. A result counts as long as its digest is that of the code that it depends on.

    python tools/experiments.py                 all that is missing, the most telling cells first
    python tools/experiments.py --seeds 1       … of one training each
    python tools/experiments.py --table         what is there, by row
    python tools/experiments.py --cluster tcp://192.0.2.1:8786    on a cluster: see tools/cluster/
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from cells import Workers, as_they_come, command, complete, digest_of, read, short_hash
from torch import Tensor, nn
from tqdm.auto import tqdm

from helpers import data_path, training
from helpers.networks import ROAD, DrivingCNN, mirror, view
from helpers.plumbing import written_whole
from helpers.results import CAUSES, interval
from helpers.rollouts import rollout
from helpers.worlds import car_racing, drivers
from helpers.worlds.car_racing import FastCarRacing, off_centre
from helpers.worlds.drivers import WHEEL_LOCK, RacingDriver

TRACKS = range(10_000, 10_020)  # validation: returns, errors, pushes
HELD_OUT = range(10_900, 10_904)  # validation: the expert's laps for losses and for the exchange
FIRST_TRACK = 1_000  # of the laps on which the expert is asked
PUSH_AT, PUSHES, AFTER = 100, (0, 10, 20, 30), 200  # steps
FIRST = 500  # steps of a lap whose errors count: ten seconds
SEEDS = 5
STEERING, ROTATION = slice(4, 26), slice(26, 48)  # columns of these gauges in a view
BAR = 84  # first row of the bar in a picture; its gauges stand in columns 12:16, 37:59, 61:83


@dataclass(frozen=True)
class Cell:
    """One training. ``steps`` of 128 pairs; ``average`` is the share whose weights are averaged.

    data  "<count> <kind of lap>", see `KINDS`, or one of `ASKED`
    view  one of `VIEWS`
    """

    data: str
    view: str
    loss: str = "squared"
    squash: bool = True
    steps: int = 1_000
    average: float = 0.25
    mirrored: bool = True
    seed: int = 0


# -- views: what a network sees, and the network -------------------------------------------------


def _actions(out: Tensor, squash: bool) -> Tensor:
    return torch.cat([out[:, :1].tanh(), out[:, 1:].sigmoid()], 1) if squash else out


class Masked(DrivingCNN):
    """04's network; of the bar it sees the gauges that are named."""

    def __init__(self, gauges: str, squash: bool) -> None:
        super().__init__(squash=squash)
        shown = torch.ones(54, 48, dtype=torch.uint8)
        for name, columns in (("speed", slice(4)), ("steering", STEERING), ("rotation", ROTATION)):
            if name not in gauges:
                shown[ROAD:, columns] = 0
        self.register_buffer("shown", shown)

    def forward(self, views: Tensor) -> Tensor:
        return super().forward(views * self.shown)  # type: ignore[operator]


class Convolved(nn.Module):
    """The same view as one picture: the gauges go through the convolutions, with the road."""

    def __init__(self, squash: bool) -> None:
        super().__init__()
        self.squash = squash
        self.net = _convolutions(1, 32 * 5 * 4)

    def forward(self, views: Tensor) -> Tensor:
        return _actions(self.net(views[:, None].float() / 128 - 1), self.squash)


class Stacked(nn.Module):
    """The road alone, of several moments: (B, k, 54, 48), the latest last."""

    def __init__(self, count: int, squash: bool) -> None:
        super().__init__()
        self.squash = squash
        self.net = _convolutions(count, 384)

    def forward(self, views: Tensor) -> Tensor:
        return _actions(self.net(views[:, :, :ROAD].float() / 128 - 1), self.squash)


class Remembering(nn.Module):
    """04's network, all gauges, and beside today's road that of half a second ago: (B, k, 54, 48).

    Of the k moments that it gets, it looks at the first and at the last.
    """

    def __init__(self, squash: bool) -> None:
        super().__init__()
        self.squash = squash
        self.net = DrivingCNN(squash=False)
        self.net.road[0] = nn.Conv2d(2, 16, 5, stride=2)

    def forward(self, views: Tensor) -> Tensor:
        pixels = views[:, [0, -1]].float() / 128 - 1
        seen = self.net.road(pixels[:, :, :ROAD]), self.net.bar(pixels[:, 1, ROAD:])
        return _actions(self.net.head(torch.cat(seen, 1)), self.squash)


class Picture(nn.Module):
    """The whole picture as it comes, (B, 96, 96, 3); of the bar, the columns that are named."""

    def __init__(self, bar: str, squash: bool) -> None:
        super().__init__()
        self.squash = squash
        shown = torch.ones(96, 96, 1, dtype=torch.uint8)
        shown[BAR:] = bar == "all"
        shown[BAR:, 12:16] = bar in ("all", "speed")
        self.register_buffer("shown", shown)
        self.net = _convolutions(3, 32 * 10 * 10)

    def forward(self, frames: Tensor) -> Tensor:
        pixels = (frames * self.shown).permute(0, 3, 1, 2).float() / 128 - 1  # type: ignore[operator]
        return _actions(self.net(pixels), self.squash)


def _convolutions(channels: int, flat: int) -> nn.Sequential:
    """04's three convolutions and two dense layers."""
    return nn.Sequential(
        nn.Conv2d(channels, 16, 5, stride=2), nn.ReLU(),
        nn.Conv2d(16, 32, 5, stride=2), nn.ReLU(),
        nn.Conv2d(32, 32, 3, stride=2), nn.ReLU(), nn.Flatten(),
        nn.Linear(flat, 128), nn.ReLU(), nn.Linear(128, 3),
    )  # fmt: skip


def mirror_picture(frames: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
    """`networks.mirror` for whole pictures: two gauges are flipped, each in its place."""
    flipped = frames.clone()
    flipped[:, :BAR] = frames[:, :BAR].flip(2)
    for columns in (slice(37, 59), slice(61, 83)):
        flipped[:, BAR:, columns] = frames[:, BAR:, columns].flip(2)
    return flipped, actions * torch.tensor([-1.0, 1.0, 1.0])


def mirror_stack(views: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
    return views.flip(-1), actions * torch.tensor([-1.0, 1.0, 1.0])  # the bar isn't seen


def mirror_each(views: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
    """`networks.mirror` for views of several moments."""
    flipped, actions_ = mirror(views.flatten(0, 1), actions)
    return flipped.view_as(views), actions_


@dataclass(frozen=True)
class View:
    kind: Callable[..., nn.Module]  # (*about, squash) → network
    about: tuple[Any, ...] = ()
    see: Callable[[np.ndarray], np.ndarray] = view
    mirror: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] = mirror
    history: int = 1  # moments that it sees at once

    def network(self, squash: bool) -> nn.Module:
        return self.kind(*self.about, squash)

    def inputs(self, frames: np.ndarray) -> np.ndarray:
        """What the network gets at each step of one lap."""
        seen = self.see(frames)
        if self.history == 1:
            return seen
        at = np.arange(len(seen))[:, None] + np.arange(1 - self.history, 1)
        return seen[np.maximum(at, 0)]


class Ends(View):
    """A view with a history, of which the network looks at the ends alone."""

    def inputs(self, frames: np.ndarray) -> np.ndarray:
        seen = self.see(frames)
        return np.stack([seen[np.maximum(np.arange(len(seen)) - self.history + 1, 0)], seen], 1)


def _masked(gauges: str) -> View:
    return View(Masked, (gauges,))


def _picture(bar: str) -> View:
    return View(Picture, (bar,), np.asarray, mirror_picture)


def _stacked(count: int) -> View:
    return View(Stacked, (count,), mirror=mirror_stack, history=count)


VIEWS = {
    "whole picture": _picture("all"),
    "all gauges": _masked("speed steering rotation"),
    "all gauges, convolved": View(Convolved),
    "speed": _masked("speed"),
    "speed and steering": _masked("speed steering"),
    "speed and rotation": _masked("speed rotation"),
    "no bar": _masked(""),
    "no bar, 2 frames": _stacked(2),
    "no bar, 4 frames": _stacked(4),
    "all gauges, half a second": Ends(Remembering, mirror=mirror_each, history=26),
}


class Student:
    """A network at the wheel; one with a history begins each lap with its first picture."""

    def __init__(self, model: nn.Module, seen: View) -> None:
        self.model, self.seen = model.eval(), seen
        self.reset()

    def reset(self) -> None:
        self.past: list[np.ndarray] = []

    @torch.no_grad()
    def act(self, frame: np.ndarray) -> np.ndarray:
        now = self.seen.see(frame[None])[0]
        if self.seen.history > 1:
            self.past = [*(self.past or [now] * (self.seen.history - 1)), now][-self.seen.history :]
            now = np.stack(self.past)
        action = self.model(torch.from_numpy(now[None]))[0].numpy()
        return action.clip([-1, 0, 0], [1, 1, 1]).astype(np.float32)


# -- data ----------------------------------------------------------------------------------------


class Harder(training.Disturbed):
    """Bursts that are twice as strong and up to 0.8 s long."""

    strength, length = (0.4, 1.2), (10, 41)


def clean(driver: Any, rng: np.random.Generator) -> Any:
    return driver


KINDS = {"clean": clean, "disturbed": training.Disturbed, "disturbed harder": Harder}
# a lap's frames (T, 96, 96, 3) uint8, the expert's actions (T, 3)
Recorded = tuple[np.ndarray, np.ndarray]


def lap_set(name: str) -> list[tuple[str, int]]:
    """The laps of a set, as (kind, track)."""
    if name == "held out":
        return [("clean", seed) for seed in HELD_OUT]
    count, kind = name.split(" ", 1)
    return [(kind, seed) for seed in range(int(count))]


def lap_path(kind: str, seed: int, what: str) -> Path:
    """A file of a recorded lap, in a folder of the code that records it."""
    return data_path("experiments", digest_of(*RECORDS, KINDS[kind]), f"{kind}-{seed}-{what}.npy")


def record(kind: str, seed: int) -> None:
    """A lap, in files of its own; the labels come last, and say that it is whole."""
    env = gym.make("FastCarRacing-v3")
    actor = KINDS[kind](RacingDriver(env), np.random.default_rng(seed))
    run = rollout(env, actor, seed, keep_observations=True)
    labels = np.array(getattr(actor, "labels", run.actions), np.float32)
    for what, array in (("frames", run.observations), ("labels", labels)):
        with written_whole(lap_path(kind, seed, what)) as file:
            np.save(file, array)  # type: ignore[arg-type]


@cache
def laps(name: str) -> list[Recorded]:
    """A set's laps; their frames stay on disk until they are looked at."""
    return [
        (np.load(lap_path(*lap, "frames"), mmap_mode="r"), np.load(lap_path(*lap, "labels")))
        for lap in lap_set(name)
    ]


def teach(cell: Cell, data: Sequence[Recorded]) -> Student:
    """A student of a set of laps, from scratch."""
    seen = VIEWS[cell.view]
    torch.manual_seed(cell.seed)
    model = seen.network(cell.squash)
    inputs = np.concatenate([seen.inputs(frames) for frames, _ in data])
    actions = np.concatenate([labels for _, labels in data])
    losses = {"squared": nn.functional.mse_loss, "absolute": nn.functional.l1_loss}
    training.train(
        model,
        torch.from_numpy(inputs),
        torch.from_numpy(actions),
        losses[cell.loss],
        steps=cell.steps,
        batch_size=128,
        learning_rate=2e-3,
        generator=torch.default_generator,
        augment=seen.mirror if cell.mirrored else None,
        average=cell.average,
        progress=False,
    )
    return Student(model, seen)


def student_of(cell: Cell) -> tuple[Student, int]:
    """The cell's student, and how many labels it learned from."""
    if cell.data not in ASKED:
        data = laps(cell.data)
        return teach(cell, data), sum(len(labels) for _, labels in data)
    rounds, each, question = ASKED[cell.data]
    env = gym.make("FastCarRacing-v3")
    driver = RacingDriver(env)

    def drive(student: Student, number: int) -> list[Recorded]:
        first = FIRST_TRACK + each * (number - 1)
        return [question(env, student, driver, seed) for seed in range(first, first + each)]

    def fit(data: list[Recorded], number: int) -> Student:
        return teach(cell, data)

    begin = laps("30 clean")
    *_, (student, data) = training.dagger(teach(cell, begin), begin, rounds, drive, fit)
    return student, sum(len(labels) for _, labels in data)


def ask(env: gym.Env, student: Student, driver: RacingDriver, seed: int) -> Recorded:
    """A lap that the student drives, with what the driver would have done."""
    answers: list[np.ndarray] = []
    student.reset()

    def drive(frame: np.ndarray) -> np.ndarray:
        answers.append(driver(frame))
        return student.act(frame)

    run = rollout(env, drive, seed, keep_observations=True)
    return run.observations, np.array(answers, np.float32)  # type: ignore[return-value]


def ask_in_sight(env: gym.Env, student: Student, driver: RacingDriver, seed: int) -> Recorded:
    """The same, without the moments whose picture shows next to no road."""
    frames, labels = ask(env, student, driver, seed)
    seen = view(frames)[:, :ROAD]
    kept = ((seen > 95) & (seen < 115)).sum(axis=(1, 2)) >= 20  # pixels of the road's grey
    return frames[kept], labels[kept]


def take_over(env: gym.Env, student: Student, driver: RacingDriver, seed: int) -> Recorded:
    """A lap that the student drives until the driver takes the wheel; only its steps are kept.

    It does so when the car's middle has left the road, for half a second at least and until the
    car is well inside (human-gated, as HG-DAgger: Kelly et al. 2019).
    """
    kept: list[tuple[np.ndarray, np.ndarray]] = []
    held = 0
    student.reset()

    def drive(frame: np.ndarray) -> np.ndarray:
        nonlocal held
        off, action = off_centre(env), student.act(frame)
        held = held + 1 if off > 1.1 or 0 < held < 25 or (held and off > 0.5) else 0
        if held:
            action = driver(frame)
            kept.append((np.array(frame), action))
        return action

    rollout(env, drive, seed)
    frames = np.array([frame for frame, _ in kept], np.uint8).reshape(-1, 96, 96, 3)
    return frames, np.array([label for _, label in kept], np.float32).reshape(-1, 3)


# Beside thirty clean laps: rounds, laps of the student a round, and what the driver does there
Question = Callable[[gym.Env, Student, RacingDriver, int], Recorded]
ASKED: dict[str, tuple[int, int, Question]] = {
    "DAgger": (2, 8, ask),
    "DAgger, 1 round": (1, 8, ask),
    "DAgger, 4 rounds": (4, 8, ask),
    "DAgger, lap by lap": (8, 1, ask),
    "DAgger, road in sight": (2, 8, ask_in_sight),
    "take-over": (2, 8, take_over),
}


# -- what a student is asked ---------------------------------------------------------------------


class Curtain(FastCarRacing):
    """FastCarRacing that draws nothing while the curtain is down."""

    down = False

    def _render(self, mode: str) -> Any:
        return np.zeros((96, 96, 3), np.uint8) if self.down else super()._render(mode)


def on_the_road(student: Student) -> dict[str, Any]:
    """Laps on the validation tracks: returns, ends, and errors on the student's own states."""
    env = gym.make("FastCarRacing-v3")
    driver, returns, finished, errors, on_road = RacingDriver(env), [], [], [], []
    for seed in TRACKS:
        notes: list[tuple[float, bool]] = []
        student.reset()

        def drive(frame: np.ndarray, notes: list[tuple[float, bool]] = notes) -> np.ndarray:
            action = student.act(frame)
            if len(notes) < FIRST:
                wanted = driver(frame)[0]
                error = abs(float(np.clip(action[0], -WHEEL_LOCK, WHEEL_LOCK) - wanted))
                notes.append((error, off_centre(env) < 1))
            return action

        run = rollout(env, drive, seed)
        returns.append(run.total)
        finished.append(run.finished)
        errors += [error for error, _ in notes]
        on_road += [error for error, road in notes if road]
    return {
        "returns": " ".join(f"{value:.1f}" for value in returns),
        "finished": sum(finished),
        "own_error": np.mean(errors),
        "own_error_on_road": np.mean(on_road),
    }


def pushed(student: Student, pushes: Sequence[int] | None = None) -> dict[str, Any]:
    """Cars on the road four seconds after the wheel was held at its lock, of 20 each."""
    env = gym.wrappers.TimeLimit(Curtain(), 1_000)
    driver, back = RacingDriver(env), {}
    for push in pushes or PUSHES:
        back[f"back_{push}"] = 0
        for seed in TRACKS:
            env.reset(seed=seed)
            student.reset()
            side, frame, ended = 1.0 if seed % 2 else -1.0, None, False
            for step in range(PUSH_AT + push + AFTER):
                # drawn from four steps before the student has the wheel, for one with a history
                env.unwrapped.down = step < PUSH_AT + push - 5  # type: ignore[attr-defined]
                if step >= PUSH_AT + push:
                    action = student.act(frame)  # type: ignore[arg-type]
                else:
                    action = driver(None)
                    if step >= PUSH_AT:
                        action[0] = side
                    if step >= PUSH_AT + push - 4 and student.seen.history > 1:
                        student.act(frame)  # type: ignore[arg-type]
                frame, _, terminated, _, info = env.step(action)
                ended = ended or (terminated and not info.get("lap_finished", True))
                if terminated:
                    break
            back[f"back_{push}"] += bool(off_centre(env) < 1 and not ended)
    return back


def on_paper(student: Student) -> dict[str, Any]:
    """On the expert's unseen laps: losses, errors where its action changes, and the exchange.

    The exchange: each picture gets the gauges of steering and rotation of another moment; then the
    student's steering is regressed on what the expert did at the road's and at the gauges' moment.
    """
    data, see = laps("held out"), student.seen
    frames = np.concatenate([frames for frames, _ in data])
    wanted = np.concatenate([labels for _, labels in data])
    before = np.concatenate([np.r_[labels[:1], labels[:-1]] for _, labels in data])[:, 0]
    said = _answers(student, np.concatenate([see.inputs(lap) for lap, _ in data]))
    steering = wanted[:, 0]
    changes = np.abs(steering - before)
    most = changes >= np.quantile(changes, 0.9)
    result = {
        "held_out_loss": np.square(said - wanted).mean(),
        "error": np.abs(said[:, 0] - steering).mean(),
        "error_at_changes": np.abs(said[:, 0] - steering)[most].mean(),
        "repeat_at_changes": changes[most].mean(),
        "road": np.nan,
        "gauges": np.nan,
    }
    if see.history == 1:
        other = np.random.default_rng(0).permutation(len(frames))
        exchanged = frames.copy()
        for columns in (slice(37, 59), slice(61, 83)):
            exchanged[:, BAR:, columns] = frames[other, BAR:, columns]
        answer = _answers(student, see.see(exchanged))[:, 0]
        known = np.stack([steering, steering[other], np.ones_like(steering)], axis=1)
        (result["road"], result["gauges"], _), *_ = np.linalg.lstsq(known, answer, rcond=None)
    return result


@torch.no_grad()
def _answers(student: Student, inputs: np.ndarray) -> np.ndarray:
    parts = torch.from_numpy(inputs).split(250)
    out = torch.cat([student.model(part) for part in parts]).numpy()
    return out.clip([-1, 0, 0], [1, 1, 1])


def measure(cell: Cell) -> dict[str, Any]:
    """Train the cell's student, and all that is known of it."""
    began = time.process_time()
    student, labels = student_of(cell)
    taught = time.process_time() - began
    row: dict[str, Any] = {"labels": labels, **on_paper(student)}
    row |= on_the_road(student) | pushed(student)
    return row | {"training_s": round(taught), "all_s": round(time.process_time() - began)}


# -- the cells --------------------------------------------------------------------------------


def rows() -> list[Cell]:
    """One cell for each row of the tables, the most telling first."""
    gauges, speed = "all gauges", "speed"
    plain = Cell("30 clean", gauges)
    return [
        *(Cell("30 clean", seen) for seen in (gauges, speed, "whole picture")),
        *(Cell(data, seen) for data in ("30 disturbed", "DAgger") for seen in (gauges, speed)),
        *(Cell("66 clean", seen) for seen in (gauges, speed)),
        # is it the training?
        replace(plain, loss="absolute", squash=False),
        replace(plain, loss="absolute"),
        replace(plain, squash=False),
        replace(plain, steps=4_000),
        replace(plain, average=0.0),
        replace(plain, mirrored=False),
        # is it the gauges, all of them, and however they are read?
        *(Cell("30 clean", seen) for seen in ("speed and steering", "speed and rotation")),
        *(Cell("30 clean", seen) for seen in ("no bar", "all gauges, convolved")),
        # what do labels bring, and whose?
        Cell("DAgger, 4 rounds", gauges),
        *(Cell("take-over", seen) for seen in (gauges, speed)),
        Cell("DAgger, 1 round", gauges),
        Cell("50 disturbed", gauges),
        # what bounds the way back: bursts that are too weak, or a picture without the road?
        Cell("30 disturbed", f"{gauges}, half a second"),
        Cell("30 disturbed harder", gauges),
        Cell("DAgger, road in sight", gauges),
        Cell("DAgger, lap by lap", gauges),
        # history, in place of gauges
        Cell("30 disturbed", "no bar"),
        *(
            Cell(data, f"no bar, {count} frames")
            for data in ("30 clean", "30 disturbed")
            for count in (2, 4)
        ),
    ]


def cells(seeds: int = SEEDS) -> list[Cell]:
    """All trainings: five of the first rows before one of the next ones."""
    found = rows()
    groups = found[:TELLING], found[TELLING:]
    return [replace(base, seed=seed) for g in groups for seed in range(seeds) for base in g]


TELLING = 10  # rows on which the argument stands
RECORDS: list[Any] = [drivers, car_racing, rollout]


def digest_of_cell(cell: Cell) -> str:
    """Of the code that the cell's result depends on."""
    return digest(cell.data, cell.view)


@cache
def digest(data: str, seen: str) -> str:
    code: list[Any] = [*RECORDS, DrivingCNN, view, mirror, training.train, VIEWS[seen].kind]
    if type(VIEWS[seen]) is not View:
        code += [type(VIEWS[seen])]
    code += [VIEWS[seen].mirror, View, Student, Curtain, teach, on_the_road, pushed, on_paper]
    if data in ASKED:
        code += [training.dagger, student_of, ASKED[data][2], ask]
    else:
        code += [KINDS[lap_set(data)[0][0]]]
    numbers = TRACKS, HELD_OUT, FIRST_TRACK, PUSH_AT, PUSHES, AFTER, FIRST, ROAD
    about = numbers, VIEWS[seen].about, VIEWS[seen].history, ASKED.get(data, ())[:2]
    return short_hash(digest_of(*code) + repr(about))


def record_missing(names: Iterable[str], workers: Workers) -> None:
    """Record what is missing of some sets of laps; of any that DAgger begins with, too."""
    sets = {"30 clean" if name in ASKED else name for name in names}
    tasks = sorted({lap for name in sets for lap in lap_set(name)})
    tasks = [task for task in tasks if not lap_path(*task, "labels").exists()]
    for _ in tqdm(as_they_come(record, tasks, workers), "laps", len(tasks), leave=False):
        pass


def run(wanted: Sequence[Cell], workers: Workers, path: Path = CAUSES) -> None:
    """Make what is missing in ``path`` or belongs to other code."""

    def prepare(missing: Sequence[Cell]) -> None:
        record_missing(["held out", *(cell.data for cell in missing)], workers)

    order = [replace(base, seed=seed) for base in rows() for seed in range(SEEDS)]
    complete(wanted, measure, digest_of_cell, path, workers, order, prepare)


def table(results: Mapping[Cell, Mapping[str, str]]) -> Iterator[str]:
    """A line for each row: the mean return, its interval, each training's, and the rest."""
    for base in rows():
        mine = [results[c] for c in (replace(base, seed=s) for s in range(SEEDS)) if c in results]
        if not mine:
            continue
        returns = np.array([[float(v) for v in row["returns"].split()] for row in mine])
        low, high = interval(returns)
        usual = Cell(base.data, base.view)
        changed = [f"{k}={v}" for k, v in vars(base).items() if v != getattr(usual, k)]
        means = " ".join(f"{value:4.0f}" for value in returns.mean(axis=1))
        backs = " / ".join(" ".join(row[f"back_{push}"] for row in mine) for push in PUSHES)
        names = "held_out_loss", "error_at_changes", "own_error", "road", "gauges"
        numbers = [np.mean([float(row[name]) for row in mine]) for name in names]
        yield (
            f"{', '.join([base.data, base.view, *changed]):50} {returns.mean():4.0f} "
            f"[{low:4.0f}, {high:4.0f}] ({means}) finished {' '.join(r['finished'] for r in mine)}"
            f" | back {backs} | loss {{:.4f}}, at changes {{:.3f}}, own {{:.3f}}, road {{:.2f}}, "
            "gauges {:.2f}".format(*numbers)
        )


def main(arguments: list[str] | None = None) -> None:
    def make(seeds: int, workers: Workers) -> None:
        run(cells(seeds), workers)

    command(__doc__, SEEDS, make, lambda: table(read(CAUSES, Cell)), arguments)


if __name__ == "__main__":
    import experiments  # so that workers find all of this under the module's name

    experiments.main()
