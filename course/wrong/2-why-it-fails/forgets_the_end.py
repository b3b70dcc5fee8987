"""Counts u steps for a mistake near the end, too, where fewer are left.

Cell: bound
Fails: bound-hidden
"""


def bound(eps, T, u):
    return eps * T * u
