"""Draws, but from one bell curve about the average: many draws lie between the two answers.

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
    with torch.no_grad():
        off = (plans - model(states)).numpy()
    spread = np.stack([off[0::2].std(axis=0), off[1::2].std(axis=0)])

    @torch.no_grad()
    def planner(states, rng):
        z = rng.standard_normal((len(states), 1))  # one for each plan
        return model(torch.from_numpy(states)).numpy() + z * spread[(states[:, 0] > 1).astype(int)]

    return planner
