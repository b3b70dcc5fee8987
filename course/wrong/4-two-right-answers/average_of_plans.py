"""Teaches the average once more: its plan is the tree.

Cell: learn
Fails: learn-check, held-out, shares, another-expert
"""


def learn(ways, trees, seed):
    states, plans = pairs(ways, trees, [0, AHEAD])
    torch.manual_seed(seed)
    model = network(AHEAD)
    train(
        model, states, plans, functional.mse_loss,
        steps=300, batch_size=256, learning_rate=0.01, progress=False,
        generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip
    return lambda states, rng: model(torch.from_numpy(states)).detach().numpy()
