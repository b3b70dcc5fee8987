"""Long experiments, one result at a time: what `experiments` and `scores` have in common.

A cell says what is to be made; its row, what came out. Rows go to a CSV file as soon as they are
there, so that an interrupted or killed run goes on where it was. A row counts as long as its digest
is that of the code that it depends on.
"""

from __future__ import annotations

import argparse
import ast
import csv
import hashlib
import inspect
import io
import os
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import astuple, fields
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from tqdm.auto import tqdm

from helpers.plumbing import in_workers, written_whole

Cell = TypeVar("Cell")
Row = dict[str, Any]
Workers = int | Executor  # so many processes here, or whatever computes: see `workers`


class ResultsError(ValueError):
    """A results file that can't be used; the message names file and line, and says what to do."""


def read(path: Path, kind: type[Cell]) -> dict[Cell, Row]:
    """The results so far: cell → row. A byte-order mark does no harm.

    kind  a frozen dataclass of text, numbers and truth values, which are columns of the file

    Raises ResultsError where a line is no result, or stands there twice.
    """
    found: dict[Cell, Row] = {}
    if not path.exists():
        return found
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        table = csv.DictReader(file, strict=True)
        try:
            for row in table:
                if None in row or None in row.values() or len(row["digest"]) != 12:
                    raise ValueError("a row that was cut, or is too long")
                cell = kind(*(_as(str(f.type), row[f.name]) for f in fields(kind)))  # type: ignore[arg-type]
                if cell in found:
                    raise ValueError("the second result of a cell")
                found[cell] = row
        except (KeyError, ValueError, csv.Error) as error:
            raise ResultsError(
                f"{path}, line {table.line_num}: {error!r}. Nothing was made or written. Mend the "
                f"line, or take the last committed file: git checkout HEAD {path}"
            ) from error
    return found


def _as(kind: str, text: str) -> Any:
    if kind == "bool" and text not in ("True", "False"):
        raise ValueError(f"{text!r} is neither True nor False")
    return (
        text == "True" if kind == "bool" else {"str": str, "int": int, "float": float}[kind](text)
    )


def write(results: dict[Cell, Row], path: Path, order: Sequence[Cell]) -> None:
    """All results, whole or not at all: in the given order, others at the end.

    What a row doesn't have stays empty.
    """
    place = {cell: number for number, cell in enumerate(order)}
    text = io.StringIO(newline="")
    columns = dict.fromkeys(name for row in results.values() for name in row)
    table = csv.DictWriter(text, list(columns), lineterminator="\n")
    table.writeheader()
    for cell in sorted(results, key=lambda c: (place.get(c, len(place)), astuple(c))):  # type: ignore[call-overload]
        table.writerow(results[cell])
    with written_whole(path) as file:
        file.write(text.getvalue().encode())


def complete(
    wanted: Sequence[Cell],
    measure: Callable[[Cell], Row],
    digest: Callable[[Cell], str],
    path: Path,
    workers: Workers,
    order: Sequence[Cell],
    prepare: Callable[[Sequence[Cell]], None] = lambda missing: None,
) -> None:
    """Make what is missing in ``path`` or belongs to other code; what wasn't asked for stays.

    order    of the rows in the file
    prepare  gets the cells that will be made, before the first of them
    """
    results = read(path, type(wanted[0]))
    missing = [c for c in wanted if c not in results or results[c]["digest"] != digest(c)]
    prepare(missing)
    tasks = [(cell, measure, digest) for cell in missing]
    made = as_they_come(_row_of, tasks, workers)
    for cell, row in tqdm(made, path.stem, len(missing)):
        results[cell] = row
        write(results, path, order)


def command(
    description: str | None,
    seeds: int,
    make: Callable[[int, Workers], None],
    table: Callable[[], Iterable[str]],
    arguments: list[str] | None = None,
) -> None:
    """A command line: ``make`` so many trainings of each row, on such workers; then show the table.

    A file that can't be used ends it, with its message.
    """
    parser = argparse.ArgumentParser(description=description)
    where = "processes here, or the address of a Dask scheduler"
    parser.add_argument("--workers", "--cluster", type=workers, default=os.cpu_count(), help=where)
    parser.add_argument("--seeds", type=int, default=seeds, help="trainings of each row")
    parser.add_argument("--table", action="store_true", help="show what is there, make nothing")
    options = parser.parse_args(arguments)
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        if not options.table:
            make(options.seeds, options.workers)
        print("\n".join(table()))
    except ResultsError as error:
        sys.exit(str(error))


def workers(text: str) -> Workers:
    """For a command line: a number of processes, or the address of a Dask scheduler."""
    if text.isdecimal():
        return int(text)
    from distributed import Client  # slow to import

    return Client(text).get_executor(pure=False)  # what is asked for is computed, always


def as_they_come(
    function: Callable[..., Any], tasks: Sequence[tuple[Any, ...]], workers: Workers
) -> Iterator[Any]:
    """``function(*task)`` for each task, the first that is finished first.

    Where one fails, or the caller stops, an executor is told to drop the rest.
    """
    if isinstance(workers, int):
        yield from in_workers(function, tasks, workers, ordered=False)
        return
    futures = [workers.submit(function, *task) for task in tasks]
    try:
        for future in as_completed(futures):
            yield future.result()
    finally:
        for future in futures:
            future.cancel()


def _row_of(cell: Any, measure: Callable, digest: Callable) -> tuple[Any, Row]:
    """A cell with its row; numbers are rounded to what they are worth."""
    key = {field.name: getattr(cell, field.name) for field in fields(cell)}
    row = {**key, "digest": digest(cell), **measure(cell)}
    return cell, {
        k: f"{v:.5g}" if isinstance(v, float | np.floating) else v for k, v in row.items()
    }


@cache
def digest_of(*code: Any) -> str:
    """12 digits of modules, classes and functions; docstrings and comments don't count.

    The same under every Python that the series runs on.
    """
    text = []
    for one in code:
        tree = ast.parse(textwrap.dedent(inspect.getsource(one)))
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef):
                node.body = node.body[bool(ast.get_docstring(node)) :]
        text.append(_dumped(tree))
    return short_hash("".join(text))


def _dumped(node: Any) -> str:
    """A syntax tree as text. `ast.dump` won't do: it shows empty fields, and Pythons add some."""
    if isinstance(node, list):
        return f"[{', '.join(map(_dumped, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    named = ((name, value) for name, value in ast.iter_fields(node) if value not in (None, []))
    return f"{type(node).__name__}({', '.join(f'{n}={_dumped(v)}' for n, v in named)})"


def short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
