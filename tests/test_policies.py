"""A policy that was saved acts the same when it is loaded."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import nn

import helpers.car_racing  # noqa: F401  registers FastCarRacing-v3
from helpers import policies
from helpers.experts import RacingDriver
from helpers.policies import BCModel, DrivingCNN, PolicyError, look, mirror
from helpers.rollouts import rollout


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("IL_DATA", str(tmp_path))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return BCModel(hidden=16, centre=(-0.3, 0.0), scale=(0.4, 0.03))


def test_a_loaded_policy_acts_the_same(model):
    path = policies.save("clone", model)
    assert path == policies.policy_path("clone") and [path] == list(path.parent.iterdir())
    loaded = policies.load("clone")
    observations = np.random.default_rng(0).normal(size=(500, 2)).astype(np.float32)
    assert (loaded.act(observations) == model.act(observations)).all()
    assert loaded.config == {"hidden": 16} and not loaded.training


def test_one_observation_gives_one_action(model):
    assert isinstance(model.act(np.zeros(2, np.float32)), int)
    assert model.act(np.zeros((7, 2), np.float32)).shape == (7,)


def test_scaling_brings_inputs_to_one_size(model):
    model.net = nn.Identity()
    out = model(torch.tensor([[-0.3 + 0.4, 0.03]]))
    assert torch.allclose(out, torch.ones(1, 2))


def test_missing_damaged_and_foreign_files_are_named(model):
    with pytest.raises(PolicyError, match="does not exist; run 02-clone-mountain-car first"):
        policies.load("clone", made_by="02-clone-mountain-car")
    path = policies.save("clone", model)
    whole = path.read_bytes()
    for data in (b"", whole[:-20], whole[:9], b"x" * 200):
        path.write_bytes(data)
        with pytest.raises(PolicyError, match=r"clone\.safetensors is damaged"):
            policies.load("clone")
    path.write_bytes(whole.replace(b"BCModel", b"XYModel"))
    with pytest.raises(PolicyError, match="another model"):
        policies.load("clone")


def test_a_model_that_could_not_be_loaded_is_not_saved():
    with pytest.raises(PolicyError, match="a Linear can't be saved"):
        policies.save("clone", nn.Linear(2, 3))
    assert not policies.policy_path("clone").exists()


def test_a_save_that_fails_leaves_the_old_file(model, monkeypatch):
    path = policies.save("clone", model)
    whole = path.read_bytes()
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        policies.save("clone", BCModel(hidden=8))
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
    view = look(frames)
    assert view.shape == (2, 54, 48) and view.dtype == np.uint8
    assert (look(frames[0]) == view[0]).all()
    green = frames[:, :84, :, 1].reshape(2, 42, 2, 48, 2).mean(axis=(2, 4))
    assert np.abs(view[:, :42] - green).max() < 1  # rounded down
    assert (view[:, 42:, :4] == frames[:, 84:, 12:16].max(-1)).all()
    assert (view[:, 42:, 4:26] == frames[:, 84:, 37:59].max(-1)).all()
    assert (view[:, 42:, 26:] == frames[:, 84:, 61:83].max(-1)).all()


def test_the_score_is_not_seen(frames):
    other = frames.copy()
    other[:, 84:, :12] = 255
    assert (look(other) == look(frames)).all()


def test_a_view_shows_speed_steering_and_rotation():
    env = gym.make("FastCarRacing-v3")
    env.reset(seed=0)
    for _ in range(60):
        still = look(env.step(np.zeros(3, np.float32))[0])[42:].astype(int)
    for _ in range(30):
        right = look(env.step(np.array([0.3, 0.5, 0], np.float32))[0])[42:].astype(int)
    env.close()
    bright = (right - still).sum(axis=0)
    assert bright[:4].sum() > 500  # speed
    assert bright[15:26].sum() > 500 > np.abs(bright[4:15]).sum()  # steering to the right
    assert bright[26:37].sum() + bright[37:].sum() > 200  # rotation


def test_mirrored_twice_is_unchanged_and_once_exchanges_left_and_right(frames):
    views, actions = torch.from_numpy(look(frames)), torch.tensor([[0.3, 0.5, 0.0], [-0.1, 0, 0.2]])
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
        shown.append(torch.from_numpy(look(frame[None])))
    env.close()
    mirrored, _ = mirror(shown[0], torch.zeros(1, 3))
    difference = (mirrored.int() - shown[1].int())[:, 42:, :26].abs()
    assert difference.max() < 40  # but for the rounding of edges


def test_the_driver_gives_actions_that_the_environment_takes(driver, frames):
    action = driver.act(frames[0])
    assert action.shape == (3,) and action.dtype == np.float32
    assert gym.make("FastCarRacing-v3").action_space.contains(action)
    both = driver(torch.from_numpy(look(frames)))
    assert torch.allclose(both[0], torch.from_numpy(action), atol=1e-6)


def test_a_loaded_driver_acts_the_same(driver, frames):
    policies.save("driver", driver)
    loaded = policies.load("driver")
    assert loaded.config == {"hidden": 16, "squash": True}
    assert (loaded.act(frames[1]) == driver.act(frames[1])).all()


def test_free_outputs_are_clipped_when_driving_and_loaded_free(frames):
    free = DrivingCNN(hidden=16, squash=False)
    free.head[-1].bias.data = torch.tensor([-7.0, 5.0, -3.0])
    policies.save("free", free)
    loaded = policies.load("free")
    assert loaded(torch.from_numpy(look(frames)))[0, 1] > 1
    action = loaded.act(frames[0])
    assert action.tolist() == [-1, 1, 0]
    assert gym.make("FastCarRacing-v3").action_space.contains(action)
