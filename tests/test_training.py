"""The training loop learns, repeats itself, and ends with the weights that it says."""

import copy

import pytest
import torch
from torch import nn

from helpers.training import train

HOW = {"steps": 60, "batch_size": 32, "learning_rate": 0.05}


@pytest.fixture
def pairs():
    generator = torch.Generator().manual_seed(1)
    observations = torch.randn(200, 4, generator=generator)
    return observations, observations @ torch.tensor([[1.0], [-2.0], [0.5], [0.0]])


def line(seed=0):
    torch.manual_seed(seed)
    return nn.Linear(4, 1)


def fit(model, pairs, seed=0, **how):
    generator = torch.Generator().manual_seed(seed)
    how = {**HOW, **how}
    return train(model, *pairs, nn.functional.mse_loss, generator=generator, progress=False, **how)


def test_it_learns(pairs):
    model = line()
    losses = fit(model, pairs, steps=300)
    assert len(losses) == 300 and losses[-1] < 1e-3 < losses[0]
    assert not model.training


def test_the_same_seeds_give_the_same_weights(pairs):
    one, same, other = line(), line(), line()
    losses = fit(one, pairs)
    torch.manual_seed(99)  # the loop reads no global state
    assert fit(same, pairs) == losses and torch.equal(one.weight, same.weight)
    assert fit(other, pairs, seed=1) != losses


def test_every_pair_comes_once_before_any_comes_again():
    seen = []

    class Noting(nn.Linear):
        def forward(self, x):
            seen.extend(x[:, 0].tolist())
            return super().forward(x)

    observations = torch.arange(64.0)[:, None]
    fit(Noting(1, 1), (observations, observations), steps=4, batch_size=32)
    assert sorted(seen[:64]) == sorted(seen[64:]) == list(range(64))
    assert seen[:64] != seen[64:]


def test_the_model_ends_with_the_mean_of_its_last_weights(pairs):
    weights = []

    class Noting(nn.Linear):
        def forward(self, x):
            weights.append(copy.deepcopy(self.weight.detach()))
            return super().forward(x)

    torch.manual_seed(0)
    last = Noting(4, 1)
    fit(last, pairs, average=0)
    torch.manual_seed(0)
    mean = nn.Linear(4, 1)
    fit(mean, pairs, average=0.1)
    expected = torch.stack([*weights[-5:], last.weight.detach()]).mean(0)
    assert torch.allclose(mean.weight, expected, atol=1e-6)
    assert not torch.allclose(mean.weight, last.weight, atol=1e-6)


def test_half_of_each_batch_is_augmented():
    def negate(observations, actions):
        return -observations, -actions

    sums = []

    class Noting(nn.Linear):
        def forward(self, x):
            sums.append(((x > 0).sum().item(), (x < 0).sum().item()))
            return super().forward(x)

    fit(Noting(1, 1), (torch.ones(100, 1), torch.ones(100, 1)), augment=negate)
    assert set(sums) == {(16, 16)}


def test_odd_sizes_work_and_senseless_ones_are_named(pairs):
    fit(line(), pairs, steps=1)
    fit(line(), pairs, steps=3, batch_size=1_000)
    with pytest.raises(ValueError, match="average=2"):
        fit(line(), pairs, average=2)
    with pytest.raises(ValueError, match="steps=0"):
        fit(line(), pairs, steps=0)
    with pytest.raises(ValueError, match="200 observations don't pair with 3 actions"):
        fit(line(), (pairs[0], pairs[1][:3]))
