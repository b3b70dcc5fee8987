"""Collects what every Predict box of the notebooks asks, and the prose that answers it.

    python course/predict.py        writes course/predictions.md; `make course` does it, too

The answer is the first paragraph after the cells that follow the box, or that of a cell further on,
where the first only leads on to a picture (LATER).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "course" / "predictions.md"
BOX = re.compile(r"^> \*\*Predict\.\*\* (.*)$", re.M)
LATER = {  # cells of prose to skip, by the question's first words
    "One run is about 116 pairs": 1,
    "The clone of the whole picture sort of works": 1,
    "The plain clone's lap is a bad one": 1,
    "Which of them brings most cars back": 1,
}
HEAD = """# What the Predict boxes answer

Made by `make course` from the notebooks, in the order of the series: each question, and the first
lines of the answer that the notebook gives after its cell. The numbers are those of the committed
outputs; a run on another computer gives others ([README](README.md#other-machines-other-numbers)).
"""


def predictions(notebook: nbformat.NotebookNode) -> Iterator[tuple[str, str]]:
    """Each box's question, and its answer, as markdown."""
    cells = notebook.cells
    for i, cell in enumerate(cells):
        for match in BOX.finditer(cell.source) if cell.cell_type == "markdown" else ():
            question = match.group(1)
            later = cells[i + 1 :]
            if not later or later[0].cell_type != "code":
                yield question, "(Left open: the question for the next notebook.)"
                continue
            prose = [c.source for c in later if c.cell_type == "markdown"]
            prose = [text for text in prose if not text.startswith("<details>")]
            skip = sum(n for words, n in LATER.items() if question.startswith(words))
            yield question, prose[skip].split("\n\n")[0]


def page() -> str:
    """The whole page, as markdown."""
    parts = [HEAD]
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        found = list(predictions(nbformat.read(path, as_version=4)))
        if found:
            parts.append(f"## [{path.stem}](../notebooks/{path.name})\n")
        parts += [f"> {question}\n\n{answer}\n" for question, answer in found]
    return "\n".join(parts)


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
