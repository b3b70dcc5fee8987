"""A policy that was saved acts the same when it is loaded."""

import os
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import nn

from helpers import networks
from helpers.networks import BCModel, DrivingCNN, PolicyError, mirror, view
from helpers.rollouts import rollout
from helpers.worlds.drivers import RacingDriver


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("IL_DATA", str(tmp_path))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return BCModel(hidden=16, centre=(-0.3, 0.0), scale=(0.4, 0.03))


def test_a_loaded_policy_acts_the_same(model):
    path = networks.save("clone", model)
    assert path == networks.policy_path("clone") and [path] == list(path.parent.iterdir())
    loaded = networks.load("clone")
    observations = np.random.default_rng(0).normal(size=(500, 2)).astype(np.float32)
    assert (loaded.act(observations) == model.act(observations)).all()
    assert loaded.config == {"hidden": 16} and not loaded.training


def test_one_observation_gives_one_action(model):
    assert isinstance(model.act(np.zeros(2, np.float32)), int)
    assert model.act(np.zeros((7, 2), np.float32)).shape == (7,)


def test_numbers_of_another_kind_are_cast(model):
    assert model.act(np.array([-0.5, 0.02])) == model.act(np.array([-0.5, 0.02], np.float32))


def test_a_setting_that_no_file_can_hold_is_named(model):
    model.config = {"hidden": np.int64(16)}
    with pytest.raises(PolicyError, match="not JSON serializable"):
        networks.save("clone", model)


def test_scaling_brings_inputs_to_one_size(model):
    model.net = nn.Identity()
    out = model(torch.tensor([[-0.3 + 0.4, 0.03]]))
    assert torch.allclose(out, torch.ones(1, 2))


def test_missing_damaged_and_foreign_files_are_named(model):
    with pytest.raises(PolicyError, match="does not exist; run 02-clone-mountain-car first"):
        networks.load("clone", made_by="02-clone-mountain-car")
    path = networks.save("clone", model)
    whole = path.read_bytes()
    for data in (b"", whole[:-20], whole[:9], b"x" * 200):
        path.write_bytes(data)
        with pytest.raises(PolicyError, match=r"clone\.safetensors is damaged"):
            networks.load("clone")
    path.write_bytes(whole.replace(b"BCModel", b"XYModel"))
    with pytest.raises(PolicyError, match="no network of ours"):
        networks.load("clone")
    path.write_bytes(whole[:-4] + np.float32(np.nan).tobytes())  # made elsewhere
    with pytest.raises(PolicyError, match=r"clone\.safetensors .*NaN or infinite.*; delete it"):
        networks.load("clone")


class Bare:
    """A learner's BCModel that forgets to be a module."""


Bare.__name__ = "BCModel"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Linear(2, 3), "a Linear can't be saved"),
        ("x", "a str can't be saved"),
        (BCModel, "a type can't be saved"),
        (Bare(), "this BCModel is built otherwise .*state_dict"),
    ],
)
def test_a_model_that_could_not_be_loaded_is_not_saved(model, message):
    with pytest.raises(PolicyError, match=message):
        networks.save("clone", model)
    assert not networks.policy_path("clone").exists()


class Deeper(nn.Module):
    """A learner's own BCModel, with one more layer."""

    def __init__(self):
        super().__init__()
        self.config = {"hidden": 16}
        self.register_buffer("centre", torch.zeros(2))
        self.register_buffer("scale", torch.ones(2))
        layers = nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3)
        self.net = nn.Sequential(*layers)

    def forward(self, observation):
        return self.net((observation - self.centre) / self.scale)


class Smooth(BCModel):
    def __init__(self):
        super().__init__(hidden=16)
        self.net[1] = nn.ELU()


class Blind(DrivingCNN):
    """A learner's own: it acts on what its own view shows."""

    def act(self, frame):
        return super().act(frame // 2)


def test_a_driver_that_sees_otherwise_is_not_saved():
    Blind.__name__ = "DrivingCNN"
    with pytest.raises(PolicyError, match="takes these weights and acts otherwise"):
        networks.save("driver", Blind())
    assert not networks.policy_path("driver").exists()


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (Deeper, "is built otherwise than helpers.networks.BCModel"),
        (Smooth, "takes these weights and acts otherwise"),
    ],
)
def test_a_network_that_load_would_make_otherwise_leaves_the_old_file(model, other, message):
    path = networks.save("clone", model)
    whole = path.read_bytes()
    other.__name__ = "BCModel"
    with pytest.raises(PolicyError, match=message):
        networks.save("clone", other())
    assert path.read_bytes() == whole and [path] == list(path.parent.iterdir())


def test_weights_that_are_nan_and_another_class_leave_the_old_file(model):
    path = networks.save("clone", model)
    whole = path.read_bytes()
    with pytest.raises(PolicyError, match="holds a BCModel, not a DrivingCNN: choose another name"):
        networks.save("clone", DrivingCNN())
    with torch.no_grad():
        model.net[0].weight[0, 0] = torch.nan
    with pytest.raises(PolicyError, match="NaN or infinite: train it again"):
        networks.save("clone", model)
    assert path.read_bytes() == whole
    with pytest.raises(PolicyError, match="holds a BCModel, not a DrivingCNN; delete it"):
        networks.load("clone", made_by="04-clone-car-racing", kind="DrivingCNN")


def test_a_folder_in_the_files_place_is_named():
    networks.policy_path("clone").mkdir(parents=True)
    with pytest.raises(PolicyError, match="is damaged"):
        networks.load("clone")
    with pytest.raises(OSError, match="it is a folder"):
        networks.save("clone", BCModel())


def test_training_and_driving_have_one_thread():
    program = """
import torch
torch.set_num_threads(2)
import helpers.training
print(torch.get_num_threads())
"""
    free = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    run = subprocess.run([sys.executable, "-c", program], env=free, capture_output=True, text=True)
    assert run.stdout.strip() == "1", run.stderr


@pytest.mark.parametrize("shape", [(96, 96), (2, 96, 96, 3), (96, 96, 4)])
def test_a_frame_of_another_kind_is_named(shape):
    with pytest.raises(ValueError, match=r"the frame is .*uint8 \(96, 96, 3\)"):
        DrivingCNN().act(np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match="the frame is float64"):
        DrivingCNN().act(np.zeros((96, 96, 3)))
    with pytest.raises(ValueError, match="the frame is list"):
        DrivingCNN().act(np.zeros((96, 96, 3), np.uint8).tolist())


def test_a_save_that_fails_leaves_the_old_file(model, monkeypatch):
    path = networks.save("clone", model)
    whole = path.read_bytes()
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        networks.save("clone", BCModel(hidden=8))
    assert path.read_bytes() == whole and [path] == list(path.parent.iterdir())


# -- the race car's clone ------------------------------------------------------------------------


@pytest.fixture
def frames():
    """Two frames of a lap, with its opening zoom behind it; (2, 96, 96, 3) uint8."""
    env = gym.make("FastCarRacing-v3")
    run = rollout(env, RacingDriver(env), seed=3, keep_observations=True, max_steps=80)
    env.close()
    return run.observations[[60, 79]]


@pytest.fixture
def driver():
    torch.manual_seed(0)
    return DrivingCNN(hidden=16)


def test_the_view_is_half_the_road_and_pieces_of_the_bar(frames):
    views = view(frames)
    assert views.shape == (2, 54, 48) and views.dtype == np.uint8
    assert (view(frames[0]) == views[0]).all()
    green = frames[:, :84, :, 1].reshape(2, 42, 2, 48, 2).mean(axis=(2, 4))
    assert np.abs(views[:, :42] - green).max() < 1  # rounded down
    assert (views[:, 42:, :4] == frames[:, 84:, 12:16].max(-1)).all()
    assert (views[:, 42:, 4:26] == frames[:, 84:, 37:59].max(-1)).all()
    assert (views[:, 42:, 26:] == frames[:, 84:, 61:83].max(-1)).all()


def test_the_score_is_not_seen(frames):
    other = frames.copy()
    other[:, 84:, :12] = 255
    assert (view(other) == view(frames)).all()


def test_a_view_shows_speed_steering_and_rotation():
    env = gym.make("FastCarRacing-v3")
    env.reset(seed=0)
    for _ in range(60):
        still = view(env.step(np.zeros(3, np.float32))[0])[42:].astype(int)
    for _ in range(30):
        right = view(env.step(np.array([0.3, 0.5, 0], np.float32))[0])[42:].astype(int)
    env.close()
    bright = (right - still).sum(axis=0)
    assert bright[:4].sum() > 500  # speed
    assert bright[15:26].sum() > 500 > np.abs(bright[4:15]).sum()  # steering to the right
    assert bright[26:37].sum() + bright[37:].sum() > 200  # rotation


def test_mirrored_twice_is_unchanged_and_once_exchanges_left_and_right(frames):
    views, actions = torch.from_numpy(view(frames)), torch.tensor([[0.3, 0.5, 0.0], [-0.1, 0, 0.2]])
    once = mirror(views, actions)
    twice = mirror(*once)
    assert torch.equal(twice[0], views) and torch.equal(twice[1], actions)
    assert once[0].dtype == torch.uint8 and not torch.equal(once[0], views)
    assert torch.equal(once[1], actions * torch.tensor([-1.0, 1.0, 1.0]))
    assert torch.equal(once[0][:, :42], views[:, :42].flip(-1))
    assert torch.equal(once[0][:, 42:, :4], views[:, 42:, :4])  # speed has no side


def test_mirrored_steering_is_shown_on_the_other_side():
    env = gym.make("FastCarRacing-v3")
    shown = []
    for steering in (0.3, -0.3):
        env.reset(seed=0)
        for _ in range(20):
            frame = env.step(np.array([steering, 0, 0], np.float32))[0]
        shown.append(torch.from_numpy(view(frame[None])))
    env.close()
    mirrored, _ = mirror(shown[0], torch.zeros(1, 3))
    difference = (mirrored.int() - shown[1].int())[:, 42:, :26].abs()
    assert difference.max() < 40  # but for the rounding of edges


def test_the_driver_gives_actions_that_the_environment_takes(driver, frames):
    action = driver.act(frames[0])
    assert action.shape == (3,) and action.dtype == np.float32
    assert gym.make("FastCarRacing-v3").action_space.contains(action)
    both = driver(torch.from_numpy(view(frames)))
    assert torch.allclose(both[0], torch.from_numpy(action), atol=1e-6)


def test_a_loaded_driver_acts_the_same(driver, frames):
    networks.save("driver", driver)
    loaded = networks.load("driver")
    assert loaded.config == {"hidden": 16, "squash": True}
    assert (loaded.act(frames[1]) == driver.act(frames[1])).all()


def test_free_outputs_are_clipped_when_driving_and_loaded_free(frames):
    free = DrivingCNN(hidden=16, squash=False)
    free.head[-1].bias.data = torch.tensor([-7.0, 5.0, -3.0])
    networks.save("free", free)
    loaded = networks.load("free")
    assert loaded(torch.from_numpy(view(frames)))[0, 1] > 1
    action = loaded.act(frames[0])
    assert action.tolist() == [-1, 1, 0]
    assert gym.make("FastCarRacing-v3").action_space.contains(action)
