"""Copies the plan of the nearest state shown, by the places alone: the plan is another step's.

Cell: learn
Fails: learn-check, held-out, shares, another-expert
"""


def learn(ways, trees, seed):
    shown_states, plans = (part.numpy() for part in pairs(ways[:100], trees[:100], range(STEPS)))

    def planner(states, rng):
        near = [((shown_states - state)[:, 1:] ** 2).sum(axis=1).argmin() for state in states]
        return plans[near]

    return planner
