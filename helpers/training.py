"""The training loop that 02-clone-mountain-car and 04-clone-car-racing teach, for later notebooks.

Mini-batches, Adam, a learning rate that rises and then falls to nothing (one cycle), and a mean of
the weights over the last steps.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from tqdm.auto import tqdm

__all__ = ["train"]


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

    observations  (N, …), as the model takes them
    actions       (N, …), such that ``loss(model(observations), actions)`` is a number
    learning_rate the highest, reached after three tenths of the steps (``OneCycleLR``)
    generator     draws the mini-batches: pairs in random order, each once before any comes again
    augment       (observations, actions) → as many others, for the first half of each batch
    average       the model ends with the mean of its weights over this share of the steps, the
                  last ones (Izmailov et al. 2018); 0: with its last weights. The mean has to be
                  short beside the training, or it remembers weights that knew nothing yet

    Raises ValueError where there are no pairs, or other numbers make no sense.
    """
    if steps < 1 or batch_size < 1 or not 0 <= average <= 1:
        raise ValueError(f"{steps=}, {batch_size=}, {average=}: one of them makes no sense")
    if len(observations) != len(actions) or len(actions) == 0:
        raise ValueError(f"{len(observations)} observations don't pair with {len(actions)} actions")
    batch_size = min(batch_size, len(actions))
    optimizer = torch.optim.Adam(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps + 1)
    mean = AveragedModel(model)
    averaged = round(average * steps)
    order = torch.empty(0, dtype=torch.long)
    losses: list[float] = []
    model.train()
    for step in tqdm(range(steps), desc="training", unit="step", leave=False, disable=not progress):
        if len(order) < batch_size:
            order = torch.randperm(len(actions), generator=generator)
        batch, order = order[:batch_size], order[batch_size:]
        seen, done = observations[batch], actions[batch]
        if augment is not None:
            half = len(batch) // 2
            seen_too, done_too = augment(seen[:half], done[:half])
            seen, done = torch.cat([seen_too, seen[half:]]), torch.cat([done_too, done[half:]])
        error = loss(model(seen), done)
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        schedule.step()
        losses.append(error.item())
        if step >= steps - averaged:
            mean.update_parameters(model)
    if averaged:
        model.load_state_dict(mean.module.state_dict())
    model.eval()
    return losses
