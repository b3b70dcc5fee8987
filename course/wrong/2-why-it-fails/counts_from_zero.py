"""Counts the steps from 0, so that t steps are passed without a mistake before it.

Cell: first-mistake
Fails: first-mistake-hidden
"""


def first_mistake(eps, t):
    return (1 - eps) ** t * eps
