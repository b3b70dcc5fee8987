"""Takes every disagreement of clone and teacher for a second answer of the teacher's.

Cell: asked-twice
Fails: asked-twice-hidden, diagnose-hidden
"""


def asked_twice(patient):
    return (patient.ask(patient.observations) != patient.act(patient.observations)).mean()
