"""Takes the rule for the truth: right about these runs, wrong about another teacher's.

Cell: honest
Fails: honest-hidden
"""


def honest(runs):
    agree = mountain_car_expert(runs.observations) == runs.actions
    return np.array(
        [agree[s : s + n].all() for s, n in zip(runs.starts, runs.lengths, strict=True)]
    )
