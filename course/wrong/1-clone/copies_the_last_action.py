"""Adds the last action to the inputs, and keeps its own for the next step.

Cell: fit
Fails: fit-check, memory-hidden, drive-hidden
"""


def fit(runs, seed):
    (seen, done), _ = split(runs, np.random.default_rng(seed))
    last = np.concatenate([[1], done[:-1]])
    inputs = torch.from_numpy(np.c_[seen / seen.std(0), last - 1].astype(np.float32))
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 32), nn.ReLU(), nn.Linear(32, 3))
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(60):
        batch = torch.randint(len(done), (256,))
        loss = nn.functional.cross_entropy(model(inputs[batch]), torch.from_numpy(done)[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    before = np.ones(0)

    @torch.no_grad()
    def policy(states):
        nonlocal before
        before = before if len(before) == len(states) else np.ones(len(states))
        table = np.c_[states / seen.std(0), before - 1].astype(np.float32)
        before = model(torch.from_numpy(table)).argmax(1).numpy()
        return before

    return policy
