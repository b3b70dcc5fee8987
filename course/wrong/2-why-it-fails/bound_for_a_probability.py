"""Adds probabilities up (the union bound) where the exact one is asked for.

Cell: lost-by
Fails: lost-by-hidden, mean-cost-hidden
"""


def lost_by(eps, t):
    return eps * t
