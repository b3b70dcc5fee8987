"""Takes every clone that errs in its own states for one that lacks coverage.

Cell: diagnose
Fails: diagnose-hidden
"""


def diagnose(patient):
    shown, own = agreement(patient, STARTS)
    return "coverage" if own < shown - 0.1 else "misfit"
