"""Looks when it should, but moves at a plan's first speed until the next look.

Cell: drive
Fails: drive-hidden, learn-check
"""


def drive(planner, places, trees, execute, rng):
    ways = [places]
    for step in range(STEPS):
        if step % execute == 0:
            states = np.stack([np.full(len(trees), step * DT), ways[-1], trees], axis=1)
            plans = planner(states.astype(np.float32), rng)
        ways.append(ways[-1] + plans[:, 0] * DT)
    return np.array(ways).T
