"""Draws one number for all cars that are asked about together: each kind of car goes one way.

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

    chance = right[states[:, 2] < 0].mean(), right[states[:, 2] >= 0].mean()

    def planner(now, rng):
        likely = np.where(now[:, 2] < 0, *chance)[:, None]
        return np.where(rng.random() < likely, nearest(now, right), nearest(now, ~right))

    return planner
