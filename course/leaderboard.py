"""Writes leaderboard.csv of an nbgrader course, from its graded DAgger notebooks.

    python course/leaderboard.py                in course/classroom
    python course/leaderboard.py --folder mine

The best mean return on the grader's own starts comes first; of equals, the one with fewer labels.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

import nbformat

ASSIGNMENT, TEST, MARK = "3-dagger", "held-out", "leaderboard "
COLUMNS = "student", "mean", "worst", "labels"


def entries(folder: Path) -> list[dict[str, object]]:
    """A row for each student who handed in a student that drives, the best first."""
    rows: list[dict[str, object]] = []
    for path in sorted((folder / "autograded").glob(f"*/{ASSIGNMENT}/{ASSIGNMENT}.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.metadata.get("nbgrader", {}).get("grade_id") != TEST:
                continue
            said = "".join(output.get("text", "") for output in cell.outputs)
            for line in said.splitlines():
                if line.startswith(MARK):
                    score = json.loads(line.removeprefix(MARK))
                    rows.append({"student": path.parts[-3], **score})
    return sorted(rows, key=lambda row: (-row["mean"], row["labels"]))  # type: ignore[operator]


def write(folder: Path) -> Path:
    """leaderboard.csv in the course's folder."""
    path = folder / "leaderboard.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        table.writerows(entries(folder))
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write leaderboard.csv of an nbgrader course.")
    default = Path(__file__).resolve().parent / "classroom"
    parser.add_argument("--folder", type=Path, default=default)
    print(write(parser.parse_args().folder))
