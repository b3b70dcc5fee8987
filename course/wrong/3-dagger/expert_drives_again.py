"""Records 25 more of the expert's own runs: a good clone, by its return, but not DAgger.

Cell: dagger
Fails: student-acts
"""


def dagger(drive, expert, fit, first, starts, validation):
    states, answers = first
    fit(states, answers, 0)
    seen, _ = drive(expert, starts[:25])
    states, answers = np.concatenate([states, seen]), np.concatenate([answers, expert(seen)])
    return fit(states, answers, 1)
