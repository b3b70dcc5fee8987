"""The networks that the notebooks have taught, what they see, and their files (safetensors)."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import nn

from helpers import data_path
from helpers.plumbing import found, made_again, written_whole

__all__ = ["BCModel", "DrivingCNN", "PolicyError", "load", "mirror", "policy_path", "save", "view"]

# One thread, for training and for driving: the same numbers whatever the number of cores (another
# kind of processor still rounds otherwise), and on a busy machine many times as fast, since threads
# would wait for each other.
torch.set_num_threads(1)

ROAD = 42  # rows of what the driving network sees that show the road; the bar's 12 rows follow


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
        action = self(torch.as_tensor(observation, dtype=torch.float32)).argmax(-1)
        return action.numpy() if action.ndim else int(action)


def view(frames: np.ndarray) -> np.ndarray:
    """What the driving network sees of CarRacing's frames: (…, 96, 96, 3) → (…, 54, 48), uint8.

    Above, the road at half size: the green channel, in which grass is bright and road dark. Below,
    at full size, three pieces of the bar: speed (4 columns), steering (22) and rotation (22), not
    the score, which tells how late it is. Taught in 04-clone-car-racing.
    """
    green = frames[..., : 2 * ROAD, :, 1].astype(np.uint16)
    rows = green[..., ::2, :] + green[..., 1::2, :]
    road = ((rows[..., ::2] + rows[..., 1::2]) // 4).astype(np.uint8)
    bar = frames[..., 2 * ROAD :, :, :].max(axis=-1)
    pieces = np.concatenate([bar[..., 12:16], bar[..., 37:59], bar[..., 61:83]], axis=-1)
    return np.concatenate([road, pieces], axis=-2)


def mirror(views: torch.Tensor, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The same moments with left and right exchanged: views (B, 54, 48), actions (B, 3)."""
    road, bar = views[:, :ROAD].flip(-1), views[:, ROAD:]
    bar = torch.cat([bar[..., :4], bar[..., 4:26].flip(-1), bar[..., 26:].flip(-1)], -1)
    return torch.cat([road, bar], 1), actions * torch.tensor([-1.0, 1.0, 1.0])


class DrivingCNN(nn.Module):
    """The race car's clone, as taught in 04-clone-car-racing: three convolutions and the bar.

    Takes (B, 54, 48) uint8 views, as ``view`` makes them; gives (B, 3) float32: steering, gas and
    brake. ``squash`` sends them through tanh and sigmoid, into −1 to 1 and 0 to 1. With the
    absolute error such outputs can go dead, as 06-fix-it-with-dagger shows; without ``squash`` they
    are free, and ``act`` clips them.
    """

    def __init__(self, hidden: int = 128, squash: bool = True) -> None:
        super().__init__()
        self.config = {"hidden": hidden, "squash": squash}
        self.squash = squash
        self.road = nn.Sequential(
            nn.Conv2d(1, 16, 5, stride=2), nn.ReLU(),
            nn.Conv2d(16, 32, 5, stride=2), nn.ReLU(),
            nn.Conv2d(32, 32, 3, stride=2), nn.ReLU(), nn.Flatten(),
        )  # fmt: skip
        self.bar = nn.Sequential(nn.Flatten(), nn.Linear(12 * 48, 32), nn.ReLU())
        self.head = nn.Sequential(nn.Linear(384 + 32, hidden), nn.ReLU(), nn.Linear(hidden, 3))

    def forward(self, views: torch.Tensor) -> torch.Tensor:
        pixels = views.float() / 128 - 1
        road, bar = self.road(pixels[:, None, :ROAD]), self.bar(pixels[:, ROAD:])
        out = self.head(torch.cat([road, bar], 1))
        return torch.cat([out[:, :1].tanh(), out[:, 1:].sigmoid()], 1) if self.squash else out

    @torch.no_grad()
    def act(self, frame: np.ndarray) -> np.ndarray:
        """(96, 96, 3) uint8, one of CarRacing's frames → (3,) float32 action in its bounds."""
        kind = getattr(frame, "dtype", type(frame).__name__)
        if np.shape(frame) != (96, 96, 3) or kind != np.uint8:
            found = f"{kind} {np.shape(frame)}"
            raise ValueError(f"the frame is {found}; CarRacing's are uint8 (96, 96, 3)")
        action = self(torch.from_numpy(view(frame[None])))[0].numpy()
        return action.clip([-1, 0, 0], [1, 1, 1]).astype(np.float32)


# What a file may hold, with observations on which a class must act as the saved network does
MODELS: dict[str, tuple[type[nn.Module], np.ndarray]] = {
    "BCModel": (BCModel, np.linspace(-1, 1, 16, dtype=np.float32).reshape(8, 2)),
    "DrivingCNN": (DrivingCNN, np.random.default_rng(0).integers(0, 256, (3, 96, 96, 3), np.uint8)),
}


def policy_path(name: str) -> Path:
    """Where the policy of that name is kept: ``data/policies/<name>.safetensors``."""
    return data_path("policies", f"{name}.safetensors")


def save(name: str, model: nn.Module) -> Path:
    """Write a model under ``name``, whole or not at all; it knows its class and settings.

    The model's class may be defined in a notebook, as long as this module's class of that name, the
    one which ``load`` gives back, takes its ``config`` and its weights and acts the same.

    Raises PolicyError otherwise, for weights that are NaN, and where ``name`` holds a model of
    another class; an older file then stays as it was.
    """
    kind, path = type(model).__name__, policy_path(name)
    if kind not in MODELS:
        known = ", ".join(MODELS)
        raise PolicyError(f"a {kind} can't be saved, since load would not know it; known: {known}")
    ours = f"helpers.networks.{kind}"
    try:
        weights = {key: value.detach().contiguous() for key, value in model.state_dict().items()}
        if not _finite(weights):
            raise PolicyError(f"this {kind} has weights that are NaN or infinite: train it again")
        config = getattr(model, "config", {})
        about = {"model": kind, "config": json.dumps(config)}
        twin = MODELS[kind][0](**config)
        twin.load_state_dict(weights)
        pairs = zip(_says(twin), _says(model), strict=True)
        if not all(np.allclose(a, b, atol=1e-6) for a, b in pairs):
            raise PolicyError(f"{ours} takes these weights and acts otherwise: change it, too")
    except (TypeError, RuntimeError, AttributeError) as error:
        otherwise = f"otherwise than {ours}, which load builds: change that, too ({error})"
        raise PolicyError(f"this {kind} is built {otherwise}") from error
    held = kind
    with suppress(*UNREADABLE):  # a file that is missing or damaged holds nothing
        held = _read(path)[0]
    if held != kind:
        raise PolicyError(f"{path} holds a {held}, not a {kind}: choose another name")
    with written_whole(path) as file:
        file.write(to_bytes(weights, about))
    return path


def load(name: str, made_by: str = "the notebook that makes it", kind: str | None = None) -> Any:
    """The model saved under ``name``, in evaluation mode; ``kind`` refuses any other class.

    Raises PolicyError where the file is missing or damaged, or holds another model.
    """
    if not (there := found(policy_path(name))):
        raise PolicyError(f"{policy_path(name)} does not exist; run {made_by} first")
    path, again = there[0], made_again(made_by)
    try:
        held, config, weights = _read(path)
        model = MODELS[held][0](**config)
        model.load_state_dict(weights)
    except UNREADABLE as error:
        raise PolicyError(f"{path} is damaged or no network of ours ({error}); {again}") from error
    if kind not in (held, None):
        raise PolicyError(f"{path} holds a {held}, not a {kind}; {again}")
    return model.eval()


UNREADABLE = (SafetensorError, OSError, LookupError, ValueError, TypeError, RuntimeError)


def _read(path: Path) -> tuple[str, dict[str, Any], dict[str, torch.Tensor]]:
    """A file's class, its settings and its weights; raises one of UNREADABLE."""
    with safe_open(str(path), framework="pt") as file:
        about = file.metadata() or {}
        weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    if not _finite(weights):
        raise ValueError("weights that are NaN or infinite")
    return about["model"], json.loads(about["config"]), weights


def _finite(weights: dict[str, torch.Tensor]) -> bool:
    return all(bool(value.isfinite().all()) for value in weights.values())


@torch.no_grad()
def _says(model: Any) -> list[np.ndarray]:
    """What a network makes of its kind's observations: as they are acted on, and scored."""
    observations = MODELS[type(model).__name__][1]
    seen = view(observations) if observations.ndim == 4 else observations
    return [model(torch.from_numpy(seen)).numpy(), *(model.act(each) for each in observations)]
