"""Errs more often than it may.

Cell: gentle
Fails: gentle-check
"""


def gentle(eps):
    L = np.array([[1 - 2 * eps, 2 * eps], [1, 0]])
    return L, np.array([[1.0, 0], [1, 0]]), np.array([0.0, 1])
