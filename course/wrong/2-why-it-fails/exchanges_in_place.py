"""Exchanges the last action in the patient's own records, which it spoils.

Cell: exchanged
Fails: exchanged-hidden
"""


def exchanged(patient, rng):
    before = patient.act(patient.observations)
    rng.shuffle(patient.observations[:, 2])
    return (patient.act(patient.observations) != before).mean()
