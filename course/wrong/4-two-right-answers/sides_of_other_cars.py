"""Repeats the sides in another order than the plans: each side is taught by both, an average.

Cell: learn
Fails: learn-check, held-out, shares, another-expert
"""


def learn(ways, trees, seed):
    states, plans = pairs(ways, trees, [0, AHEAD])
    torch.manual_seed(seed)
    left, right = network(AHEAD), network(AHEAD)
    gone = np.tile(ways[:, -1] > trees, 2)
    for model, part in ((left, ~gone), (right, gone)):
        train(
            model, states[part], plans[part], functional.mse_loss,
            steps=300, batch_size=256, learning_rate=0.01, progress=False,
            generator=torch.Generator().manual_seed(seed),
        )  # fmt: skip

    @torch.no_grad()
    def planner(states, rng):
        drawn = rng.random((len(states), 1)) < gone.mean()
        states = torch.from_numpy(states)
        return np.where(drawn, right(states), left(states))

    return planner
