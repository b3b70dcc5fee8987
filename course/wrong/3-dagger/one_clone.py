"""Hands in the clone of the expert's two runs.

Cell: dagger
Fails: runs-check, expert-labels, student-acts, adds-up, starts-kept-apart, held-out
"""


def dagger(drive, expert, fit, first, starts, validation):
    return fit(*first, 0)
