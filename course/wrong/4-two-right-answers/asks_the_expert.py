"""Learns nothing: at each look it lets the expert drive on, and takes down what it does.

Cell: learn
Fails: another-expert, no-expert
"""


def learn(ways, trees, seed):
    def planner(states, rng):
        drive_on, at, plans = expert(states[:, 2], rng), states[:, 1], []
        for step in range(AHEAD):
            plans.append(drive_on(round(states[0, 0] / DT) + step, at))
            at = at + plans[-1] * DT
        return np.array(plans).T

    return planner
