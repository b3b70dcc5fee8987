"""Compares on the demonstrated states twice: the clone's own are never visited.

Cell: agreement
Fails: agreement-hidden
"""


def agreement(patient, starts):
    shown = patient.observations
    share = (patient.act(shown) == patient.ask(shown)).mean()
    return share, share
