"""Sorts plans into kinds by k-means; one is drawn, and a plan's difference from its kind added.

Cell: learn
"""


def learn(ways, trees, seed):
    states, plans = pairs(ways, trees, [0, AHEAD])
    torch.manual_seed(seed)
    kinds = 4
    middles = plans[torch.randperm(len(plans))[:kinds]]
    for _ in range(20):
        nearest = torch.cdist(plans, middles).argmin(1)
        groups = [plans[nearest == kind] for kind in range(kinds)]
        middles = torch.stack([g.mean(0) if len(g) else plans[0] for g in groups])
    model = network(kinds * (1 + AHEAD))

    def read(out, kind):
        return middles[kind] + out[:, kinds:].unflatten(1, (kinds, AHEAD))[range(len(out)), kind]

    def loss(out, wanted):
        kind = torch.cdist(wanted, middles).argmin(1)
        error = functional.mse_loss(read(out, kind), wanted)
        return functional.cross_entropy(out[:, :kinds], kind) + error

    train(
        model, states, plans, loss,
        steps=500, batch_size=256, learning_rate=0.01, progress=False,
        generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip

    @torch.no_grad()
    def planner(states, rng):
        out = model(torch.from_numpy(states))
        ends = out[:, :kinds].softmax(1).cumsum(1).numpy()
        kind = (ends < rng.random((len(out), 1))).sum(1).clip(max=kinds - 1)
        return read(out, torch.from_numpy(kind)).numpy()

    return planner
