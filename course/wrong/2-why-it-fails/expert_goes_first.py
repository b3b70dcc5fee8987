"""Lets the expert make the first steps, and the learner the rest.

Cell: hybrid
Fails: hybrid-hidden, terms-hidden
"""


def hybrid(L, E, cost, t, T):
    states, total = np.eye(len(L))[0], 0.0
    for step in range(T):
        states = states @ (E if step < t else L)
        total += states @ cost
    return total
