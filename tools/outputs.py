"""Runs notebooks at full size and saves their outputs in place (``make outputs``).

    python tools/outputs.py                            all, in order
    python tools/outputs.py 01-collect-mountain-car    one, or several

A notebook whose run fails stays as it was. With the outputs goes a digest of the code that made
them: tests/test_notebooks.py compares it, so outputs can't go stale unseen. The GIF that a cell
with the tag "opening" shows is saved as images/NAME.gif, too, for the notebook's first lines.

Data goes to data/outputs/ (emptied first when all are run), so that laps which you drove yourself
are neither touched nor shown. $IL_DATA names another folder, which is never emptied.
"""

import base64
import hashlib
import json
import os
import re
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

from helpers.plumbing import written_whole

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
DATA = ROOT / "data" / "outputs"
DIGEST = "outputs_of"  # the key in the notebook's metadata
WIDGET = "application/vnd.jupyter.widget-view+json"
GIF = re.compile(r"data:image/gif;base64,([A-Za-z0-9+/=]+)")
KEPT = ("tags", "jupyter")  # of a cell's metadata: what editors add to it is of no use to others
KERNELSPEC = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}


def code_digest(notebook: nbformat.NotebookNode) -> str:
    """The SHA-256 of a notebook's code cells, in order."""
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return "sha256:" + hashlib.sha256(json.dumps(sources).encode()).hexdigest()


def tidy(notebook: nbformat.NotebookNode) -> None:
    """Keep what a reader sees: no widgets (progress bars), no times, no version of this Python."""
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({k: v for k, v in cell.metadata.items() if k in KEPT})
        if cell.cell_type == "code":
            cell.outputs = [out for out in cell.outputs if WIDGET not in out.get("data", {})]
    language = {"name": "python", "file_extension": ".py", "mimetype": "text/x-python"}
    language |= {"pygments_lexer": "ipython3"}
    digest = code_digest(notebook)
    notebook.metadata = nbformat.from_dict(
        {"kernelspec": KERNELSPEC, "language_info": language, DIGEST: digest}
    )


def opening(notebook: nbformat.NotebookNode) -> bytes | None:
    """The GIF that the cell with the tag "opening" shows."""
    for cell in notebook.cells:
        if "opening" in cell.metadata.get("tags", []):
            for output in cell.outputs:
                if found := GIF.search(output.get("data", {}).get("text/html", "")):
                    return base64.b64decode(found[1])
            raise ValueError("the cell with the tag 'opening' shows no GIF")
    return None


def run(path: Path) -> None:
    """Run one notebook and save it; raises what nbclient raises, and saves nothing then."""
    notebook = nbformat.read(path, as_version=4)
    cells = sum(cell.cell_type == "code" for cell in notebook.cells)
    start, cpu, done = time.monotonic(), _children_cpu(), 0

    def report(text: str, end: str) -> None:
        print(f"\r{path.stem:32} {text:32}", end=end, flush=True)

    def executed(cell: Any, **_: Any) -> None:
        nonlocal done
        done += cell.cell_type == "code"
        if sys.stdout.isatty():
            report(f"cell {done} of {cells}, {time.monotonic() - start:.0f} s", end="")

    client = NotebookClient(
        notebook,
        kernel_name="python3",
        extra_arguments=["--IPKernelApp.log_level=40"],  # it warns of TCP, which Jupyter uses, too
        timeout=None,
        resources={"metadata": {"path": str(path.parent)}},
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,
        on_cell_executed=executed,
    )
    report(f"{cells} cells", end="" if sys.stdout.isatty() else "\n")
    client.execute()
    tidy(notebook)
    if (picture := opening(notebook)) is not None:
        with written_whole(path.parent / "images" / f"{path.stem}.gif") as file:
            file.write(picture)
    with written_whole(path) as file:
        file.write(nbformat.writes(notebook).encode() + b"\n")
    seconds = f"{time.monotonic() - start:.0f} s, CPU {(_children_cpu() - cpu) / 60:.1f} min"
    report(f"{seconds}, {path.stat().st_size / 1e3:.0f} kB", end="\n")


def _children_cpu() -> float:
    """CPU seconds of the kernels that have ended, and of their workers."""
    times = os.times()
    return times.children_user + times.children_system


def find(names: list[str]) -> list[Path]:
    paths = [NOTEBOOKS / f"{Path(name).stem}.ipynb" for name in names]
    for path in paths:
        if not path.exists():
            known = ", ".join(p.stem for p in sorted(NOTEBOOKS.glob("*.ipynb")))
            sys.exit(f"there is no notebook {path.stem}; there are {known}")
    return paths or sorted(NOTEBOOKS.glob("*.ipynb"))


def main(names: list[str]) -> None:
    paths = find(names)
    os.environ["IL_SIZE"] = "full"
    os.environ["SDL_VIDEODRIVER"] = "dummy"  # no window that waits for a driver
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"  # this environment's python3 kernel
    if "IL_DATA" not in os.environ:
        os.environ["IL_DATA"] = str(DATA)
        if not names:
            shutil.rmtree(DATA, ignore_errors=True)
    for path in paths:
        try:
            run(path)
        except (CellExecutionError, DeadKernelError, ValueError) as error:
            sys.exit(f"\n{path.name} failed and stays as it was:\n{error}")


if __name__ == "__main__":
    main(sys.argv[1:])
