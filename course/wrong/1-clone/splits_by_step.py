"""Splits pair by pair, so that neighbours of one run stand on both sides.

Cell: split
Fails: split-hidden
"""


def split(runs, rng):
    order = rng.permutation(len(runs.actions))
    check, learn = np.split(order, [len(order) // 5])
    return tuple((runs.observations[part], runs.actions[part]) for part in (learn, check))
