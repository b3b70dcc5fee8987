"""For every test: a data folder of its own, one thread each. And more than nbval does by itself.

Behind the check of an exercise, its solution is run, which stands in the markdown that follows, and
the check once more: it must say "not yet" before, and "solved" after. The notebook's file stays as
it is.

Stock nbval waits for the whole cell time-out when a kernel dies, and after a failed cell it goes
on with the rest of the notebook, which then fails for the same cause. Here a dead kernel fails its
cell at once, and after the first failure the rest of a notebook is skipped.
tests/test_conftest.py tries all of this.
"""

import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from queue import Empty
from typing import Any

import pytest

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
VERDICTS = ("not yet", "solved")  # an exercise's check prints the one, or the other
ALIVE_EVERY = 1.0  # s between two looks at whether the kernel still lives
OUTPUT_TIMEOUT = 20.0  # s that a finished cell's outputs may take; nbval's 5 s is short when busy

pytest_plugins = ["lab"]

# Before anything imports torch, and inherited by kernels, workers and servers.
os.environ.setdefault("IL_SIZE", "small")
os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # no window opens; the window's test sets its own
for name in THREADS:
    os.environ.setdefault(name, "1")


def pytest_configure(config: pytest.Config) -> None:
    """Nothing is written to the reader's data/ or ~/.ipython: a folder for this run, then gone."""
    folder = tempfile.TemporaryDirectory(prefix="il-tests-", ignore_cleanup_errors=True)
    config.add_cleanup(folder.cleanup)
    os.environ["IL_DATA"] = os.path.join(folder.name, "data")
    os.environ["IPYTHONDIR"] = os.path.join(folder.name, "ipython")
    os.environ["JUPYTER_RUNTIME_DIR"] = os.path.join(folder.name, "runtime")
    os.environ.pop("IL_SHARED", None)  # a reader's own setting
    _patch_nbval()


class KernelDied(RuntimeError):
    """The process that runs the notebook has ended."""


def _patch_nbval() -> None:
    from nbformat.v4 import new_code_cell
    from nbval.kernel import RunningKernel
    from nbval.plugin import IPyNbCell, IPyNbFile

    def collect(self: Any) -> Iterator[Any]:
        """nbval's collect; behind an exercise's check, its solution and the check once more."""
        from notebook_checks import solution_behind, tags

        number = 0
        for item in stock_collect(self):
            if "check" not in tags(item.cell):
                yield item
                continue
            number += 1
            exercise, check = f"exercise {number}", item.cell.source
            item.verdict = f"{exercise}, not begun", "not yet"
            yield item
            solution = solution_behind(self.nb, item.cell)
            solution = solution or f"raise LookupError('{exercise} has no solution')"
            solved = f"{exercise}, with its solution", "solved"
            for what, source, verdict in (("solution", solution, None), ("check", check, solved)):
                added = IPyNbCell.from_parent(
                    self,
                    name=f"{item.name}, {exercise}: {what}",
                    cell_num=item.cell_num,
                    cell=new_code_cell(source),
                    options=defaultdict(bool),
                )
                added.verdict = verdict
                yield added

    def await_reply(self: Any, msg_id: str, timeout: float | None = None) -> None:
        """nbval's await_reply, but looking every second whether the kernel still lives."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            alive = self.is_alive()
            try:
                msg = self.get_message(stream="shell", timeout=ALIVE_EVERY)
            except Empty:
                if not alive:
                    raise KernelDied from None
                if deadline is not None and time.monotonic() > deadline:
                    raise
                continue
            if msg["parent_header"].get("msg_id") == msg_id:
                if msg["content"]["status"] == "aborted":
                    raise RuntimeError("Kernel aborted execution request")
                return

    def runtest(self: Any) -> None:
        self.output_timeout = OUTPUT_TIMEOUT
        try:
            stock_runtest(self)
        except KernelDied:
            process = getattr(self.parent.kernel.km.provisioner, "process", None)
            status = getattr(process, "returncode", None)
            why = "; -9 is often the system, out of memory" if status == -9 else ""
            self.raise_cell_error(f"The kernel died in this cell (exit status {status}{why})")
        if self.verdict is not None:
            exercise, verdict = self.verdict
            said = "".join(output.get("text", "") for output in self.test_outputs)
            if [word for word in VERDICTS if word in said] != [verdict]:
                message = f"{exercise}: its check must print {verdict!r}, and printed {said!r}"
                self.raise_cell_error(message)

    stock_collect, stock_runtest = IPyNbFile.collect, IPyNbCell.runtest
    if stock_runtest.__name__ == "runtest" and stock_runtest.__module__ == "nbval.plugin":
        RunningKernel.await_reply = await_reply
        IPyNbFile.collect = collect
        IPyNbCell.runtest, IPyNbCell.verdict = runtest, None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    failed = getattr(item.parent, "failed_cell", None)
    if failed is not None:
        pytest.skip(f"{failed} of this notebook failed")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report = yield
    if report.failed and hasattr(item, "cell_num") and item.parent is not None:
        item.parent.failed_cell = item.name  # type: ignore[attr-defined]
    return report
