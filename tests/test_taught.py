"""Taught is shipped: what a notebook defines and the package offers does the same, to the bit.

A definition is taken out of the committed notebook's source, with the imports, the constants and
the other definitions that it needs. A constant that a test wants smaller is given by the test.
"""

import ast
import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import fields
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import experiments
import gymnasium as gym
import minari_data
import nbformat
import numpy as np
import pygame
import pytest
import torch
import ways
from notebook_checks import code_cells, syntax, tags

import helpers
from helpers import networks, training
from helpers.by_hand import window
from helpers.demonstrations import Demonstrations
from helpers.rollouts import Policy, rollout
from helpers.worlds.drivers import RacingDriver
from helpers.worlds.mountain_car import MountainCarVector, mountain_car_expert

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
# Definitions that are compared below, by notebook
COMPARED = {
    "02": {"BCModel"},
    "04": {"DrivingCNN", "view"},
    "05": {"Disturbed", "disturbed_lap"},
    "06": {"dagger", "drive_and_ask"},
}
# … and those that share no more than their name with the package's
NAMESAKES = {"02": {"tensors", "train"}}  # of the mountain car; the package's are of the race car


def statements(number: str) -> Iterator[ast.stmt]:
    """The top-level statements of a notebook's code, without its exercises."""
    (path,) = NOTEBOOKS.glob(f"{number}-*.ipynb")
    for cell in code_cells(nbformat.read(path, as_version=4)):
        if not {"exercise", "check"} & set(tags(cell)):
            yield from syntax(cell).body


def names(statement: ast.stmt) -> list[str]:
    """What a statement defines: a function, a class, a constant, or what it imports."""
    match statement:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Import() | ast.ImportFrom():
            return [alias.asname or alias.name.split(".")[0] for alias in statement.names]
        case ast.Assign():
            nodes = [node for target in statement.targets for node in ast.walk(target)]
            return [n.id for n in nodes if isinstance(n, ast.Name) and n.id.isupper()]
    return []


def taught(number: str, *wanted: str, **given: Any) -> SimpleNamespace:
    """Some definitions of a notebook; ``given`` are names that it finds already defined."""
    body = list(statements(number))
    where = {name: statement for statement in reversed(body) for name in names(statement)}
    missing = [name for name in wanted if name not in where]
    assert not missing, f"notebook {number} no longer defines {', '.join(missing)}"
    todo, needed = list(wanted), set()
    while todo:
        name = todo.pop()
        if name in where and name not in given and where[name] not in needed:
            needed.add(where[name])
            todo += [node.id for node in ast.walk(where[name]) if isinstance(node, ast.Name)]
    module = ast.Module([statement for statement in body if statement in needed], [])
    namespace = dict(given)
    exec(compile(module, f"notebook {number}", "exec"), namespace)
    return SimpleNamespace(**{name: namespace[name] for name in wanted})


def same(ours: Any, theirs: Any) -> bool:
    """Equal to the last bit: numbers, arrays, or lists and tuples of these."""
    if isinstance(ours, list | tuple):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    return (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape) and bool((ours == theirs).all())


def same_weights(ours: torch.nn.Module, theirs: torch.nn.Module) -> bool:
    ours, theirs = ours.state_dict(), theirs.state_dict()
    return list(ours) == list(theirs) and all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_all_that_is_taught_and_shipped_is_compared() -> None:
    shipped = set()
    for module in pkgutil.walk_packages(helpers.__path__, "helpers."):
        shipped |= set(getattr(importlib.import_module(module.name), "__all__", []))
    for path in NOTEBOOKS.glob("[0-9][0-9]-*.ipynb"):
        number = path.name[:2]
        definitions = (ast.FunctionDef, ast.ClassDef)
        defined = {s.name for s in statements(number) if isinstance(s, definitions)}
        expected = COMPARED.get(number, set()) | NAMESAKES.get(number, set())
        assert defined & shipped == expected, f"notebook {number}"


# --- 01-collect-mountain-car


def test_experts_of_the_mountain_car() -> None:
    notebook = taught("01", "expert", "expert_batch")
    states = np.random.default_rng(0).uniform([-1.2, -0.07], [0.6, 0.07], (500, 2))
    states = np.concatenate([states, [[-0.5, 0.0], [-0.5, -0.0]]]).astype(np.float32)
    assert same(notebook.expert_batch(states), mountain_car_expert(states))
    for state in states:
        assert notebook.expert(state) == mountain_car_expert(state)


@pytest.mark.parametrize("seed", [0, 9])
def test_record_one(seed: int) -> None:
    env = gym.make("MountainCar-v0")
    observations, actions = taught("01", "record_one").record_one(env, mountain_car_expert, seed)
    run = rollout(env, mountain_car_expert, seed, keep_observations=True)
    assert same((observations, actions), (run.observations, run.actions))


def test_ten_thousand_at_once_are_the_plain_loops_runs() -> None:
    """The lesson says that its faster way records the same runs, to the last bit."""
    seeds, env = range(300), gym.make("MountainCar-v0")
    notebook = taught("01", "record_one", "expert", "expert_batch")
    loop = [notebook.record_one(env, notebook.expert, seed) for seed in seeds]
    demos = Demonstrations.record(MountainCarVector(len(seeds)), notebook.expert_batch, seeds)
    assert demos.lengths.tolist() == [len(actions) for _, actions in loop]
    assert same(np.concatenate([observations for observations, _ in loop]), demos.observations)
    assert same(np.concatenate([actions for _, actions in loop]), demos.actions)


# --- 02-clone-mountain-car


@pytest.mark.parametrize("config", [{}, {"hidden": 8, "centre": (-0.3, 0.1), "scale": (0.4, 0.03)}])
def test_bc_model(config: dict[str, Any]) -> None:
    models = []
    for kind in (taught("02", "BCModel").BCModel, networks.BCModel):
        torch.manual_seed(3)
        models.append(kind(**config))
    ours, theirs = models
    assert same_weights(ours, theirs) and ours.config == theirs.config
    states = np.random.default_rng(0).uniform([-1.2, -0.07], [0.6, 0.07], (500, 2))
    states = states.astype(np.float32)
    assert torch.equal(ours(torch.from_numpy(states)), theirs(torch.from_numpy(states)))
    assert same(ours.act(states), theirs.act(states))
    assert same(ours.act(states[0]), theirs.act(states[0]))


# --- 03-collect-car-racing


@pytest.mark.parametrize("held", [*product([False, True], repeat=4)])
def test_get_keyboard_action(held: tuple[bool, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    arrows = (pygame.K_LEFT, pygame.K_RIGHT, pygame.K_UP, pygame.K_DOWN)
    monkeypatch.setattr(pygame.key, "get_pressed", lambda: dict(zip(arrows, held, strict=True)))
    # it stands in the prose, folded away: a window is for who sits at this computer
    (path,) = NOTEBOOKS.glob("03-*.ipynb")
    cells = nbformat.read(path, as_version=4).cells
    (folded,) = (cell.source for cell in cells if "def get_keyboard_action" in cell.source)
    block = folded.partition("```python")[2].partition("```")[0].replace("drive_window(get", "(get")
    given: dict[str, Any] = {"np": np}
    exec(block, given)
    assert same(given["get_keyboard_action"](), window.get_keyboard_action())


# --- 04-clone-car-racing


def frames(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (*shape, 96, 96, 3), np.uint8)


def random_laps() -> list[training.Pairs]:
    """Two laps, of 150 and 90 pairs, in which nothing makes sense."""
    rng = np.random.default_rng(2)
    return [
        (
            rng.integers(0, 256, (steps, 54, 48), np.uint8),
            rng.uniform([-1, 0, 0], 1, (steps, 3)).astype(np.float32),
        )
        for steps in (150, 90)
    ]


@pytest.mark.parametrize("shape", [(), (5,), (2, 3)])
def test_view(shape: tuple[int, ...]) -> None:
    assert same(taught("04", "view").view(frames(*shape)), networks.view(frames(*shape)))


@pytest.mark.parametrize("config", [{}, {"hidden": 16}])
def test_driving_cnn(config: dict[str, int]) -> None:
    models = []
    for kind in (taught("04", "DrivingCNN").DrivingCNN, networks.DrivingCNN):
        torch.manual_seed(3)
        models.append(kind(**config))
    ours, theirs = models
    assert same_weights(ours, theirs)
    views = torch.from_numpy(networks.view(frames(20)))
    assert torch.equal(ours(views), theirs(views))
    for frame in frames(20):
        assert same(ours.act(frame), theirs.act(frame))


def test_the_whole_picture() -> None:
    """What 04 teaches is what the experiments that it quotes were made with."""
    ours = taught("04", "PictureCNN", "mirror_picture")
    torch.manual_seed(3)
    model = ours.PictureCNN()
    torch.manual_seed(3)
    theirs = experiments.VIEWS["whole picture"].network(squash=True)
    pictures, actions = torch.from_numpy(frames(20)), torch.rand(20, 3)
    assert torch.equal(model(pictures), theirs(pictures))
    pairs = zip(
        ours.mirror_picture(pictures, actions),
        experiments.mirror_picture(pictures, actions),
        strict=True,
    )
    assert all(torch.equal(*pair) for pair in pairs)


@pytest.mark.parametrize("steps", [6, 30])
def test_training_loop(steps: int) -> None:
    pairs = training.tensors(random_laps())
    fit = taught("04", "fit", STEPS=steps).fit
    ours, _ = fit(networks.DrivingCNN, *pairs, networks.mirror, seed=5)
    theirs = training.fit_driver(random_laps(), seed=5, steps=steps)
    assert same_weights(ours, theirs)


# --- 05-measure-compounding-error


def test_the_cured_clone() -> None:
    """What 05 hides is what the experiments hid, in training and at the wheel."""
    torch.manual_seed(3)
    ours = taught("05", "SpeedAlone").SpeedAlone()
    torch.manual_seed(3)
    theirs = experiments.VIEWS["speed"].network(squash=True)
    views = torch.from_numpy(networks.view(frames(20)))
    assert torch.equal(ours(views), theirs(views))


def swaying() -> Policy:
    """A teacher with one array, which it changes in place."""
    action, steering = np.float32([0, 0.2, 0.1]), iter(np.linspace(-0.9, 0.9, 5_000))

    def teacher(observation: object) -> np.ndarray:
        action[0] = next(steering)
        return action

    return teacher


def test_disturbed() -> None:
    ours, theirs = (
        kind(swaying(), np.random.default_rng(7))
        for kind in (taught("05", "Disturbed").Disturbed, training.Disturbed)
    )
    actions = [(np.array(ours(None)), np.array(theirs(None))) for _ in range(5_000)]
    assert all(same(*pair) for pair in actions) and same(ours.labels, theirs.labels)
    pushed = [not same(done, label) for (done, _), label in zip(actions, ours.labels, strict=True)]
    assert 200 < sum(pushed) < 1_000


def short_env() -> gym.Env:
    return gym.make("FastCarRacing-v3", max_episode_steps=40)


def test_disturbed_lap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gym.registry["FastCarRacing-v3"], "max_episode_steps", 40)
    notebook = taught("05", "disturbed_lap", LAP_STEPS=40)
    ours = [notebook.disturbed_lap(seed) for seed in (0, 3)]  # whose bursts begin within 30 steps
    theirs = [training.disturbed_lap(seed) for seed in (0, 3)]
    env = short_env()
    calm = rollout(env, RacingDriver(env), 0, keep_observations=True)
    assert same(ours, theirs) and not same(ours[0][0], networks.view(calm.observations))


# --- 06-fix-it-with-dagger


def test_dagger() -> None:
    def drive(student: str, number: int) -> list[str]:
        return [f"{student} drove in round {number}"]

    def fit(data: list[str], number: int) -> str:
        return f"student {number} of {len(data)}"

    first = ["expert's laps"]
    rounds = [
        list(kind("clone", first, 3, drive, fit))
        for kind in (taught("06", "dagger").dagger, training.dagger)
    ]
    assert rounds[0] == rounds[1] and len(rounds[0]) == 3
    assert first == ["expert's laps"]


def test_drive_and_ask() -> None:
    env = short_env()
    expert = RacingDriver(env)

    def policy(frame: np.ndarray) -> np.ndarray:
        return np.array([frame.mean() / 255 - 0.5, 0.3, 0.0], np.float32)

    ours = taught("06", "drive_and_ask").drive_and_ask(env, policy, expert, 3)
    theirs = training.drive_and_ask(env, policy, expert, 3)
    assert same(ours, theirs) and len(ours[0]) == 40


# --- 09-scale-out


@pytest.mark.filterwarnings("ignore::UserWarning:minari")
def test_to_and_from_minari(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    notebook = taught("09", "to_minari", "from_minari")
    demos = Demonstrations.record(MountainCarVector(2), mountain_car_expert, [5, 6])
    notebook.to_minari(demos, "mine/notebook-v0")
    minari_data.to_minari(demos, "mine/tools-v0")
    for name in ("mine/notebook-v0", "mine/tools-v0"):
        ours, theirs = notebook.from_minari(name), minari_data.from_minari(name)
        for field in fields(demos):
            was, one, other = (getattr(found, field.name) for found in (demos, ours, theirs))
            assert np.array_equal(one, was) and np.array_equal(other, was), field.name


# --- 08-choose-among-many-ways


def test_models_that_choose() -> None:
    """What 08 teaches is what the results that it quotes were made with."""
    torch.manual_seed(0)
    plans, out = torch.rand(60, ways.CHUNK, 3), torch.randn(60, ways.PlanClasses.size)
    ours = taught("08", "Average", "Kinds", "Flow", plans=plans, KINDS=ways.PlanClasses.kinds)
    pairs = {
        ours.Average: (ours.Average(), ways.Plans(plans)),
        ours.Kinds: (ours.Kinds(), ways.PlanClasses(plans)),
        ours.Flow: (ours.Flow(), ways.Flow(plans)),
    }
    mine, theirs = pairs[ours.Kinds]
    theirs.middles = mine.middles  # the first ones are drawn
    mine, theirs = pairs[ours.Flow]
    theirs.ends.load_state_dict(mine.net.state_dict())
    for kind in pairs.values():
        found = []
        for head in kind:
            torch.manual_seed(3)
            said = out[:, : head.size]
            found.append((head.plans(said[:1]), head.loss(said, plans)))
        assert all(map(torch.equal, *found)), kind
