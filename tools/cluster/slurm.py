"""The experiments on a Slurm cluster: fill in what yours asks for, then, on its login node,

    .venv/bin/python tools/cluster/slurm.py

runs ``tools/experiments.py``, with what else stands on the line, on Slurm's nodes. Each job is a
worker: one core, one training at a time. All nodes must see this folder under the same path. A
worker that ends early, for whatever reason, loses the training it was at; another does it again.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from dask_jobqueue import SLURMCluster

TOOLS = Path(__file__).resolve().parents[1]
MOST_JOBS = 100


def cluster() -> SLURMCluster:
    """No job yet; ``cluster().job_script()`` shows what Slurm will get."""
    return SLURMCluster(
        # queue="short", account="my-group", interface="ib0",
        cores=1,
        memory="4GB",
        walltime="08:00:00",
        job_script_prologue=[f"export PYTHONPATH={TOOLS}"],
    )


if __name__ == "__main__":
    with cluster() as workers:
        workers.adapt(maximum_jobs=MOST_JOBS)  # as many as there are trainings to do
        print("watch it at", workers.dashboard_link)
        experiments = [sys.executable, str(TOOLS / "experiments.py")]
        to_workers = ["--cluster", workers.scheduler_address]
        sys.exit(subprocess.run([*experiments, *to_workers, *sys.argv[1:]]).returncode)
