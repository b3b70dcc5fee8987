"""Tells the planner how often it has looked, where it asks for the time.

Cell: drive
Fails: drive-hidden, learn-check
"""


def drive(planner, places, trees, execute, rng):
    ways = [places]
    for step in range(STEPS):
        if step % execute == 0:
            time = np.full(len(trees), step // execute * DT)
            states = np.stack([time, ways[-1], trees], axis=1)
            plans = planner(states.astype(np.float32), rng)
        ways.append(ways[-1] + plans[:, step % execute] * DT)
    return np.array(ways).T
