"""What 04-clone-car-racing to 06-fix-it-with-dagger have taught, for the notebooks after them.

The training loop; laps with a hand that nudges the wheel; DAgger. Here and in the notebooks, the
*pairs* of a lap are two arrays: what the network saw at each step, and what the expert did there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from tqdm.auto import tqdm

from helpers.demonstrations import Demonstrations
from helpers.networks import DrivingCNN, mirror, view
from helpers.plumbing import ready
from helpers.rollouts import Policy, rollout
from helpers.worlds.drivers import DEFAULT_PACE, RacingDriver

__all__ = [
    "Disturbed", "dagger", "disturbed_lap", "drive_and_ask", "fit_driver", "pairs_of", "tensors",
    "train",
]  # fmt: skip

Pairs = tuple[np.ndarray, np.ndarray]  # of a lap: views (T, 54, 48) uint8, actions (T, 3) float32


def train(
    model: nn.Module,
    observations: Tensor,
    actions: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    generator: torch.Generator,
    augment: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None,
    average: float = 0.25,
    progress: bool = True,
) -> list[float]:
    """Teach ``model``, in place, to give ``actions`` for ``observations``; the loss at each step.

    Mini-batches, Adam, a learning rate that rises and then falls to nothing (one cycle), and a mean
    of the weights over the last steps: `fit` of 04-clone-car-racing.

    observations  (N, …), as the model takes them
    actions       (N, …), such that ``loss(model(observations), actions)`` is a number
    learning_rate the highest, reached after three tenths of the steps (``OneCycleLR``)
    generator     draws the mini-batches, each pair at random from all
    augment       (observations, actions) → as many others, for the first half of each batch
    average       the model ends with the mean of its weights over this share of the steps, the
                  last ones (Izmailov et al. 2018): short, or it remembers weights that knew
                  nothing yet; 0: with its last weights

    Raises ValueError, before the first step, where there are no pairs or a number makes no sense,
    and at the step whose loss is no longer finite.
    """
    if steps < 1 or batch_size < 1 or not 0 <= average <= 1 or not 0 < learning_rate <= 1:
        raise ValueError(
            f"{steps=}, {batch_size=}, {average=}, {learning_rate=}: one of them makes no sense"
        )
    if len(observations) != len(actions) or len(actions) == 0:
        raise ValueError(f"{len(observations)} observations don't pair with {len(actions)} actions")
    for name, values in (("observations", observations), ("actions", actions)):
        if values.is_floating_point() and not values.isfinite().all():
            raise ValueError(f"the {name} hold NaN or infinity")
    optimizer = torch.optim.Adam(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps + 1)
    mean = AveragedModel(model)
    averaged = round(average * steps)
    losses: list[float] = []
    model.train()
    for step in tqdm(range(steps), desc="training", unit="step", leave=False, disable=not progress):
        batch = torch.randint(len(actions), (batch_size,), generator=generator)
        observed, wanted = observations[batch], actions[batch]
        if augment is not None:
            half = batch_size // 2
            first = augment(observed[:half], wanted[:half])
            observed = torch.cat([first[0], observed[half:]])
            wanted = torch.cat([first[1], wanted[half:]])
        error = loss(model(observed), wanted)
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        schedule.step()
        losses.append(error.item())
        if not math.isfinite(losses[-1]):
            raise ValueError(f"the loss is {losses[-1]} at step {step}: lower the learning rate")
        if step >= steps - averaged:
            mean.update_parameters(model)
    if averaged:
        model.load_state_dict(mean.module.state_dict())
    model.eval()
    return losses


def fit_driver(
    laps: Sequence[Pairs],
    loss: Callable[[Tensor, Tensor], Tensor] = nn.functional.mse_loss,
    seed: int = 0,
    steps: int = 1_000,
    squash: bool = True,
) -> DrivingCNN:
    """A driving network taught with 04-clone-car-racing's settings, the squared error among them.

    As there, ``seed`` seeds PyTorch's own generator: the first weights and the batches come of it.
    With the absolute error ``squash`` should be false: see 06-fix-it-with-dagger.
    """
    torch.manual_seed(seed)
    model = DrivingCNN(squash=squash)
    train(
        model, *tensors(laps), loss, steps=steps, batch_size=128, learning_rate=2e-3,
        generator=torch.default_generator, augment=mirror,
    )  # fmt: skip
    return model


def pairs_of(demos: Demonstrations) -> list[Pairs]:
    """The pairs of each recorded lap of CarRacing, as the driving network sees them."""
    return [
        (view(demos.observations[start : start + length]), demos.actions[start : start + length])
        for start, length in zip(demos.starts, demos.lengths, strict=True)
    ]


def tensors(laps: Sequence[Pairs]) -> tuple[Tensor, Tensor]:
    """All pairs of some laps: views (N, 54, 48) uint8, actions (N, 3) float32."""
    if not laps:
        raise ValueError("there are no laps to learn from")
    views, actions = zip(*laps, strict=True)
    return torch.from_numpy(np.concatenate(views)), torch.from_numpy(np.concatenate(actions))


class Disturbed:
    """A policy that drives as ``teacher`` says, but for short bursts, and keeps what it said.

    A driver that never errs never shows how to get back. So bursts begin every 3 s on average and
    last 0.2 to 0.5 s; in each of them the steering is off by the same 0.2 to 0.6, to one side.
    ``labels`` are the teacher's actions, (3,) float32 each. Taught in 05-measure-compounding-error;
    a fixed form of M. Laskey et al., "DART" (2017), which fits its noise to the learner.
    """

    strength, length = (0.2, 0.6), (10, 26)  # of a burst: steering, steps

    def __init__(self, teacher: Policy, rng: np.random.Generator) -> None:
        self.teacher, self.rng = teacher, rng
        self.left, self.push = 0, 0.0  # steps of the burst that are left, steering
        self.labels: list[np.ndarray] = []

    def __call__(self, observation: np.ndarray) -> np.ndarray:
        label = self.teacher(observation)
        self.labels.append(np.array(label))
        if self.left == 0 and self.rng.random() < 1 / 150:
            self.left = int(self.rng.integers(*self.length))
            self.push = self.rng.uniform(*self.strength) * self.rng.choice([-1, 1])
        if self.left == 0:
            return label
        self.left -= 1
        return np.array([np.clip(label[0] + self.push, -1, 1), *label[1:]], np.float32)


def disturbed_lap(seed: int, pace: float = DEFAULT_PACE) -> Pairs:
    """A lap of the scripted driver on the track of that seed; the same seed, the same bursts."""
    env = gym.make("FastCarRacing-v3")
    driver = Disturbed(RacingDriver(env, pace), np.random.default_rng(seed))
    run = rollout(env, driver, seed, keep_observations=True)
    return view(run.observations), np.array(driver.labels, np.float32)  # type: ignore[arg-type]


def dagger(
    student: Any,
    data: list[Any],
    rounds: int,
    drive: Callable[[Any, int], list[Any]],
    fit: Callable[[list[Any], int], Any],
) -> Iterator[tuple[Any, list[Any]]]:
    """After each round, the new student and all the data that it learned from.

    drive  (student, round) → what it saw, with the expert's answers to it
    fit    (all data, round) → a student taught from scratch

    Taught in 06-fix-it-with-dagger (Ross, Gordon and Bagnell 2011).
    """
    for number in range(1, rounds + 1):
        data = data + drive(student, number)  # the student drives, the expert is asked; add
        student = fit(data, number)  # train again, on everything
        yield student, data


def drive_and_ask(env: gym.Env, policy: Policy, expert: Policy, seed: int) -> Pairs:
    """A lap that ``policy`` drives, with what ``expert``, bound to ``env``, would have done."""
    ready(policy, env)
    ready(expert, env)
    answers: list[np.ndarray] = []

    def drive(frame: np.ndarray) -> np.ndarray:
        answers.append(np.array(expert(frame)))
        return policy(frame)

    run = rollout(env, drive, seed, keep_observations=True)
    return view(run.observations), np.array(answers, np.float32)  # type: ignore[arg-type]
