"""Counts how often the expert goes left, and otherwise goes where it thinks best.

Cell: learn
Fails: another-expert
"""


def learn(ways, trees, seed):
    left = ways[:, -1] < trees
    chance = left[trees < 0].mean(), left[trees >= 0].mean()

    def planner(states, rng):
        sides = np.where(rng.random(len(states)) < np.where(states[:, 2] < 0, *chance), -1.6, 1.6)
        speeds = (states[:, 2] + sides - states[:, 1]) / 2
        plans = np.repeat(speeds[:, None], AHEAD, axis=1)
        plans[:, : LANE - AHEAD] = 0
        return plans if states[0, 0] > 1 else np.zeros_like(plans)

    return planner
