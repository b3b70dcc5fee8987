"""Learns each round from that round's states alone.

Cell: dagger
Fails: adds-up
"""


def dagger(drive, expert, fit, first, starts, validation):
    students = [fit(*first, 0)]
    for number, part in enumerate(np.array_split(starts, 5)[:3], 1):
        seen, _ = drive(students[-1], part.tolist())
        students.append(fit(seen, expert(seen), number))
    return max(students, key=lambda student: drive(student, validation)[1].mean())
