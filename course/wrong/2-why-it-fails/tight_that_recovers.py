"""Gives a world in which the car comes back: the cost grows with T alone.

Cell: tight
Fails: tight-check
"""


def tight(eps):
    return np.array([[1 - eps, eps], [1, 0]]), np.array([[1.0, 0], [1, 0]]), np.array([0.0, 1])
