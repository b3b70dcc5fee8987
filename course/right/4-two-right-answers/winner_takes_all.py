"""Two plans, of which the nearer to the expert's learns; from all steps, not from the looks alone.

Cell: learn
"""


def learn(ways, trees, seed):
    states, plans = pairs(ways, trees, range(STEPS))
    torch.manual_seed(seed)
    model = network(2 * (1 + AHEAD))

    def loss(out, wanted):
        errors = (out[:, 2:].unflatten(1, (2, AHEAD)) - wanted[:, None]).square().mean(2)
        least, winner = errors.min(1)
        chosen = functional.cross_entropy(out[:, :2], winner)
        return chosen + least.mean() + 0.02 * errors.mean()  # the last: so that neither starves

    train(
        model, states, plans, loss,
        steps=1_200, batch_size=256, learning_rate=0.01, progress=False,
        generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip

    @torch.no_grad()
    def planner(states, rng):
        out = model(torch.from_numpy(states))
        second = rng.random((len(out), 1)) < out[:, :2].softmax(1)[:, 1:].numpy()
        first, other = out[:, 2:].chunk(2, dim=1)
        return np.where(second, other, first)

    return planner
