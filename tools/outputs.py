"""Runs notebooks at full size and saves their outputs in place (``make outputs``).

    python tools/outputs.py                            all, in order
    python tools/outputs.py 01-collect-mountain-car    one, or several

A notebook whose run fails stays as it was. With the outputs goes a digest of the code that made
them: tests/test_notebooks.py compares it, so outputs can't go stale unseen. The GIF that a cell
with the tag "opening" shows is saved as images/NAME.gif, too, for the notebook's first lines.

What a run has cost goes to notebooks/results/costs.csv, which the README shows. A cell that takes
more than five seconds and says nothing meanwhile is named.

Data goes to data/outputs/ (emptied first when all are run), so that laps which you drove yourself
are neither touched nor shown. $IL_DATA names another folder, which is never emptied.
"""

import base64
import csv
import hashlib
import json
import os
import re
import shutil
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import nbformat
import psutil
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

from helpers.plumbing import written_whole

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
DATA = ROOT / "data" / "outputs"
COSTS = NOTEBOOKS / "results" / "costs.csv"
COST_COLUMNS = ["notebook", "clock_s", "cpu_s", "peak_mb"]
SILENT = 5  # s
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
    start, cpu, done, since = time.monotonic(), _children_cpu(), 0, time.monotonic()
    silent: list[str] = []
    largest = 0, 0  # bytes, code cell
    memory = PeakMemory()

    def report(text: str, end: str) -> None:
        print(f"\r{path.stem:32} {text:32}", end=end, flush=True)

    def executed(cell: Any, **_: Any) -> None:
        nonlocal done, since, largest
        seconds, since = time.monotonic() - since, time.monotonic()
        done += cell.cell_type == "code"
        largest = max(largest, (memory.peak, -done))
        spoke = any(out.output_type == "stream" or WIDGET in out.get("data", {})
                    for out in cell.get("outputs", []))  # fmt: skip
        if seconds > SILENT and not spoke:
            silent.append(f"code cell {done} says nothing for {seconds:.0f} s")
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
    with memory:
        client.execute()
    tidy(notebook)
    if (picture := opening(notebook)) is not None:
        with written_whole(path.parent / "images" / f"{path.stem}.gif") as file:
            file.write(picture)
    with written_whole(path) as file:
        file.write(nbformat.writes(notebook).encode() + b"\n")
    costs = time.monotonic() - start, _children_cpu() - cpu, memory.peak / 1e6
    note(path.stem, *map(round, costs))
    size = f"{path.stat().st_size / 1e3:.0f} kB"
    where = f"{memory.peak / 1e6:.0f} MB in code cell {-largest[1]}"
    report(f"{costs[0]:.0f} s, CPU {costs[1]:.0f} s, {where}; {size}", end="\n")
    print("".join(f"    {line}\n" for line in silent), end="")


def note(name: str, *costs: int) -> None:
    """Keep what a notebook's run has cost: clock and CPU seconds, megabytes at the peak."""
    rows = read_costs() | {name: dict(zip(COST_COLUMNS, map(str, (name, *costs)), strict=True))}
    lines = [COST_COLUMNS, *(list(rows[name].values()) for name in sorted(rows))]
    with written_whole(COSTS) as file:
        file.write("".join(",".join(line) + "\n" for line in lines).encode())


def read_costs() -> dict[str, dict[str, str]]:
    """By notebook, what its last full run has cost."""
    if not COSTS.exists():
        return {}
    with COSTS.open(encoding="utf-8", newline="") as file:
        return {row["notebook"]: row for row in csv.DictReader(file)}


def in_words(costs: dict[str, str]) -> str:
    """Three cells of the README's table: clock and CPU time, memory."""
    times = [int(costs[key]) for key in ("clock_s", "cpu_s")]
    words = [f"{s} s" if s < 60 else f"{s / 60:.1f} min" for s in times]
    return " | ".join([*words, f"{int(costs['peak_mb']) / 1e3:.1f} GB"])


class PeakMemory(threading.Thread):
    """The most memory that this process's children hold at once, bytes; looked at twice a second.

    What processes share is divided among them (PSS, on Linux; elsewhere it counts for each).
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak, self._ended = 0, threading.Event()

    def __enter__(self) -> None:
        self.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()

    def run(self) -> None:
        while not self._ended.wait(0.5):
            total = 0
            for process in psutil.Process().children(recursive=True):
                with suppress(psutil.Error):
                    info = process.memory_full_info()
                    total += getattr(info, "pss", info.rss)
            self.peak = max(self.peak, total)


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
    os.environ.pop("IL_SHARED", None)  # outputs are made from what this run makes
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
