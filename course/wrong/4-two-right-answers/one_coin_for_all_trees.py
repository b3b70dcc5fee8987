"""Chooses and holds to it, but by one coin, wherever the tree stands.

Cell: learn
Fails: shares, another-expert
"""


def learn(ways, trees, seed):
    states, plans = (part.numpy() for part in pairs(ways, trees, [0, AHEAD]))
    right = np.repeat(ways[:, -1] > trees, 2)

    def nearest(now, part):
        known = part & (states[:, 0] == now[0, 0])
        near = [((states[known] - state) ** 2).sum(axis=1).argmin() for state in now]
        return plans[known][near]

    def planner(now, rng):
        drawn = rng.random((len(now), 1)) < right.mean()
        return np.where(drawn, nearest(now, right), nearest(now, ~right))

    return planner
