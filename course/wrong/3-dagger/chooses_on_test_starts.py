"""Chooses the student on the starts that are kept for the report.

Cell: dagger
Fails: starts-kept-apart
"""


def dagger(drive, expert, fit, first, starts, validation):
    states, answers = first
    students = [fit(states, answers, 0)]
    for number, part in enumerate(np.array_split(starts, 5)[:3], 1):
        seen, _ = drive(students[-1], part.tolist())
        states, answers = np.concatenate([states, seen]), np.concatenate([answers, expert(seen)])
        students.append(fit(states, answers, number))
    return max(students, key=lambda student: drive(student, REPORT)[1].mean())
