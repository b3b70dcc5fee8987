"""What an earlier notebook makes, for one that is opened alone: loaded, or made on the spot."""

from __future__ import annotations

import numpy as np

from helpers import data_path
from helpers.demos import Demonstrations
from helpers.mountain_car import MountainCarVector

__all__ = ["mountain_car_runs"]

RUNS_FILE = "mountain-car-expert.npz"


def mountain_car_runs(count: int) -> Demonstrations:
    """The expert's runs from seeds 0 to ``count`` − 1, as 01-collect-mountain-car records them."""
    path = data_path(RUNS_FILE)
    if path.exists():
        demos = Demonstrations.load(path, "MountainCar-v0", made_by="01-collect-mountain-car")
        if len(demos) >= count:
            return demos[:count]
    print(f"Recording {count:,} runs of the expert, as taught in 01-collect-mountain-car.")
    demos = Demonstrations.record_vector(MountainCarVector(count), _expert, range(count))
    demos.save(path)
    return demos


def _expert(observations: np.ndarray) -> np.ndarray:
    return np.sign(observations[:, 1]).astype(np.int64) + 1
