"""Weighs the price of a mistake by the expert's states, as a validation loss does.

Cell: terms
Fails: terms-hidden
"""


def terms(L, E, cost, T):
    d = np.array([np.eye(len(L))[0] @ np.linalg.matrix_power(E, t) for t in range(T)])
    later = [np.zeros(len(L))]
    for _ in range(T - 1):
        later.append(E @ (cost + later[-1]))
    A = np.array([(L - E) @ (cost + later[T - 1 - t]) for t in range(T)])
    return d, A
