"""A mixture of three bell curves, each with a width of its own; one is drawn, and its middle taken.

Cell: learn
"""


def learn(ways, trees, seed):
    states, plans = pairs(ways, trees, [0, AHEAD])
    torch.manual_seed(seed)
    count = 3
    model = network(count * (2 + AHEAD))

    def read(out):
        chances, widths, middles = out.split([count, count, count * AHEAD], dim=1)
        return chances.log_softmax(1), widths.clamp(-3, 2), middles.unflatten(1, (count, AHEAD))

    def loss(out, wanted):
        chances, widths, middles = read(out)
        off = (wanted[:, None] - middles) / widths.exp()[..., None]
        likely = chances - off.square().sum(2) / 2 - AHEAD * widths
        return -likely.logsumexp(1).mean() / AHEAD

    train(
        model, states, plans, loss,
        steps=800, batch_size=256, learning_rate=0.01, progress=False,
        generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip

    @torch.no_grad()
    def planner(states, rng):
        chances, _, middles = read(model(torch.from_numpy(states)))
        ends = chances.exp().cumsum(1).numpy()
        drawn = (ends < rng.random((len(states), 1))).sum(1).clip(max=count - 1)
        return middles.numpy()[np.arange(len(states)), drawn]

    return planner
