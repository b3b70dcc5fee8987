"""The networks that the notebooks have taught, saved and loaded as safetensors."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import nn

from helpers import data_path

__all__ = ["BCModel", "PolicyError", "load", "policy_path", "save"]


class PolicyError(ValueError):
    """A saved policy that can't be used; the message names the file and says what to do."""


class BCModel(nn.Module):
    """The mountain car's clone, as taught in 02-clone-mountain-car: an MLP, 2 → hidden → 3.

    Takes (…, 2) float32 observations, gives (…, 3) float32 logits. ``centre`` and ``scale`` bring
    each input to mean 0 and standard deviation 1.
    """

    centre: torch.Tensor
    scale: torch.Tensor

    def __init__(
        self,
        hidden: int = 64,
        centre: tuple[float, float] = (0.0, 0.0),
        scale: tuple[float, float] = (1.0, 1.0),
    ):
        super().__init__()
        self.config = {"hidden": hidden}
        self.register_buffer("centre", torch.tensor(centre, dtype=torch.float32))
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32))
        self.net = nn.Sequential(nn.Linear(2, hidden), nn.ReLU(), nn.Linear(hidden, 3))

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        return self.net((observation - self.centre) / self.scale)

    @torch.no_grad()
    def act(self, observation: np.ndarray) -> Any:
        """The likeliest action: (2,) → int, (B, 2) → (B,) int64."""
        action = self(torch.as_tensor(observation)).argmax(-1)
        return action.numpy() if action.ndim else int(action)


MODELS: dict[str, type[nn.Module]] = {"BCModel": BCModel}


def policy_path(name: str) -> Path:
    """Where the policy of that name is kept: ``data/policies/<name>.safetensors``."""
    return data_path("policies", f"{name}.safetensors")


def save(name: str, model: nn.Module) -> Path:
    """Write a model under ``name``, whole or not at all; it knows its class and settings.

    The model's class may be defined in a notebook, as long as its name and its ``config`` are
    those of a class of this module: that is the one which ``load`` gives back.
    """
    kind = type(model).__name__
    if kind not in MODELS:
        known = ", ".join(MODELS)
        raise PolicyError(f"a {kind} can't be saved, since load would not know it; known: {known}")
    weights = {key: value.detach().contiguous() for key, value in model.state_dict().items()}
    data = to_bytes(weights, {"model": kind, "config": json.dumps(getattr(model, "config", {}))})
    path = policy_path(name)
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
    return path


def load(name: str, made_by: str = "the notebook that makes it") -> Any:
    """The model saved under ``name``, in evaluation mode.

    Raises PolicyError where the file is missing or damaged, or holds another model.
    """
    path = policy_path(name)
    if not path.exists():
        raise PolicyError(f"{path} does not exist; run {made_by} first")
    try:
        with safe_open(str(path), framework="pt") as file:
            about = file.metadata() or {}
            weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        model = MODELS[about["model"]](**json.loads(about["config"]))
        model.load_state_dict(weights)
    except (SafetensorError, KeyError, TypeError, RuntimeError, json.JSONDecodeError) as error:
        raise PolicyError(
            f"{path} is damaged or holds another model ({error}); delete it and run {made_by} again"
        ) from error
    return model.eval()
