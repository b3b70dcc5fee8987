"""Takes the student's own actions for labels.

Cell: dagger
Fails: runs-check, expert-labels, held-out
"""


def dagger(drive, expert, fit, first, starts, validation):
    states, answers = first
    student = fit(states, answers, 0)
    for number, part in enumerate(np.array_split(starts, 5)[:2], 1):
        seen, _ = drive(student, part.tolist())
        expert(seen)
        states = np.concatenate([states, seen])
        answers = np.concatenate([answers, student(seen)])
        student = fit(states, answers, number)
    return student
