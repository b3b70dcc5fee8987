"""What the full experiments measured: ``notebooks/results/``, made by ``make experiments``."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from IPython.display import HTML

from helpers import ROOT
from helpers.show import table

__all__ = ["Row", "causes", "interval", "measured", "table_of"]

CAUSES = ROOT / "notebooks" / "results" / "causes.csv"
USUAL = {
    "loss": "squared", "squash": True, "steps": 1_000, "average": 0.25, "mirrored": True
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """K trainings of one recipe, from other first weights and batches; each drove the same tracks.

    trainings  a dict of text for each, as it stands in the file
    """

    trainings: tuple[Mapping[str, str], ...]

    def __len__(self) -> int:
        return len(self.trainings)

    def __getitem__(self, name: str) -> np.ndarray:
        """A column, (K,) float64: "held_out_loss", "road", "gauges", "finished", "back_10", …"""
        return np.array([float(training[name]) for training in self.trainings])

    @property
    def returns(self) -> np.ndarray:
        """(K, tracks) float64."""
        return np.array([t["returns"].split() for t in self.trainings], np.float64)

    @property
    def mean(self) -> float:
        return float(self.returns.mean())

    @property
    def interval(self) -> tuple[float, float]:
        return interval(self.returns)


def interval(values: np.ndarray) -> tuple[float, float]:
    """The 95% bootstrap interval of the mean of ``values``, (trainings, tracks).

    Trainings and tracks are both drawn anew: other trainings on other tracks would land there.
    """
    rng = np.random.default_rng(0)
    trainings, tracks = (rng.integers(n, size=(4_000, n)) for n in values.shape)
    means = values[trainings[:, :, None], tracks[:, None, :]].mean(axis=(1, 2))
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def measured(name: str, **wanted: object) -> Row:
    """The trainings in ``notebooks/results/<name>.csv`` whose columns hold these values.

    Raises LookupError where there are none.
    """
    asked = {k: f"{v:g}" if isinstance(v, float) else str(v) for k, v in wanted.items()}
    with CAUSES.with_stem(name).open(encoding="utf-8", newline="") as file:
        every = list(csv.DictReader(file))
    found = tuple(row for row in every if all(row.get(k) == v for k, v in asked.items()))
    if not found:
        known = sorted({", ".join(f"{key}={row.get(key)!r}" for key in asked) for row in every})
        raise LookupError(f"no trainings with {asked}; there are\n" + "\n".join(known))
    return Row(found)


def causes(data: str, view: str, **settings: object) -> Row:
    """The trainings on ``data`` that see ``view``: see ``tools/experiments.py`` for their names.

    ``settings`` differ from the usual: loss "squared", squash True, steps 1000, average 0.25,
    mirrored True. Raises LookupError where there are none.
    """
    return measured("causes", **{"data": data, "view": view, **USUAL, **settings})


def table_of(rows: Mapping[str, Row], pushes: Mapping[str, str]) -> HTML:
    """One line for each recipe: mean return with its interval, each training's, laps, cars back.

    pushes  the column's name → the file's, as {"back after 0.2 s": "back_10"}
    """
    lines = []
    for name, row in rows.items():
        low, high = row.interval
        each = ", ".join(f"{value:.0f}" for value in row.returns.mean(axis=1))
        laps = ", ".join(f"{value:.0f}" for value in row["finished"])
        back = [", ".join(f"{value:.0f}" for value in row[push]) for push in pushes.values()]
        lines.append((name, f"{row.mean:.0f}", f"{low:.0f} to {high:.0f}", each, laps, *back))
    tracks = next(iter(rows.values())).returns.shape[1]
    header = ["", "mean return", "95% interval", "each training", f"laps finished, of {tracks}"]
    return table(lines, [*header, *pushes])
