"""A policy that was saved acts the same when it is loaded."""

import numpy as np
import pytest
import torch
from torch import nn

from helpers import policies
from helpers.policies import BCModel, PolicyError


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
