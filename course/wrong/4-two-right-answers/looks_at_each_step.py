"""Asks for a new plan at each step, and takes the first speed of it.

Cell: drive
Fails: drive-check, drive-hidden, learn-check
"""


def drive(planner, places, trees, execute, rng):
    ways = [places]
    for step in range(STEPS):
        states = np.stack([np.full(len(trees), step * DT), ways[-1], trees], axis=1)
        ways.append(ways[-1] + planner(states.astype(np.float32), rng)[:, 0] * DT)
    return np.array(ways).T
