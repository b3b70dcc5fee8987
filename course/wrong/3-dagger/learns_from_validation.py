"""Lets the student drive from validation starts, and learns from what it sees there.

Cell: dagger
Fails: student-acts, starts-kept-apart
"""


def dagger(drive, expert, fit, first, starts, validation):
    states, answers = first
    students = [fit(states, answers, 0)]
    parts = [starts[:10], *np.array_split(validation[:20], 2)]
    for number, part in enumerate(parts, 1):
        seen, _ = drive(students[-1], list(map(int, part)))
        states, answers = np.concatenate([states, seen]), np.concatenate([answers, expert(seen)])
        students.append(fit(states, answers, number))
    return max(students, key=lambda student: drive(student, validation)[1].mean())
