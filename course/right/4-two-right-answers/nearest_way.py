"""Takes the plan of the nearest state shown at the same time: no network, nothing drawn.

Cell: learn
"""


def learn(ways, trees, seed):
    states, plans = (part.numpy() for part in pairs(ways, trees, [0, AHEAD]))

    def planner(now, rng):
        part = slice(int(now[0, 0] > 1), None, 2)
        near = [((states[part] - state) ** 2).sum(axis=1).argmin() for state in now]
        return plans[part][near]

    return planner
