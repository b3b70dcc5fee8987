"""Draws a side for each step of a plan, not for each plan: to and fro, and on average straight on.

Cell: learn
Fails: learn-check, held-out, shares, another-expert
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
        drawn = rng.random((len(now), AHEAD)) < likely
        return np.where(drawn, nearest(now, right), nearest(now, ~right))

    return planner
