"""Cells on a Dask cluster: the same numbers, in the file as they come, and no loss by a kill."""

from __future__ import annotations  # cells are read by their types' names

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cells
import experiments
import pytest
import scores
import torch
import yaml
from distributed import Client, LocalCluster

from helpers.networks import BCModel
from helpers.training import train

TOOLS = Path(cells.__file__).parent
PATIENCE = 120  # s, on a busy machine
posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL, and no Slurm")


@dataclass(frozen=True)
class Cell:
    name: str
    seed: int


def digest(cell: Cell) -> str:
    return "0123456789ab"


def complete(
    names: str, measure: Callable[[Cell], cells.Row], path: Path, workers: cells.Workers
) -> dict[str, cells.Row]:
    wanted = [Cell(name, seed) for seed, name in enumerate(names.split())]
    cells.complete(wanted, measure, digest, path, workers, wanted)
    return {cell.name: row for cell, row in cells.read(path, Cell).items()}


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    about = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}
    with LocalCluster(**about, silence_logs=50) as cluster, Client(cluster) as client:
        yield client


@pytest.fixture
def executor(client: Client) -> Executor:
    return client.get_executor(pure=False)


def test_a_command_line_says_how_many_or_where(tmp_path: Path, client: Client) -> None:
    assert cells.workers("3") == 3
    executor = cells.workers(client.scheduler.address)
    with executor._client:
        first = executor.submit(os.mkdir, tmp_path / "a")
        assert first.result(PATIENCE) is None
        with pytest.raises(FileExistsError):  # computed again, not looked up
            executor.submit(os.mkdir, tmp_path / "a").result(PATIENCE)


@pytest.mark.parametrize("tool, run", [(experiments, "run"), (scores, "update")])
def test_the_tools_take_a_cluster(client: Client, monkeypatch, tool, run: str) -> None:
    taken: list[cells.Workers] = []
    monkeypatch.setattr(tool, run, lambda wanted, workers: taken.append(workers))
    tool.main(["--cluster", client.scheduler.address])
    tool.main(["--workers", "3"])
    with taken[0]._client:
        assert taken[0].submit(os.getpid).result(PATIENCE) in client.run(os.getpid).values()
    assert taken[1] == 3


def trained(cell: Cell) -> cells.Row:
    torch.manual_seed(cell.seed)
    model, states = BCModel(hidden=64), torch.randn(2_000, 2)
    answers = (states[:, 0] > 0).long() + (states[:, 1] > 0)
    generator = torch.Generator().manual_seed(cell.seed)
    loss = torch.nn.functional.cross_entropy
    how = {"steps": 20, "batch_size": 512, "learning_rate": 0.03, "progress": False}
    train(model, states, answers, loss, generator=generator, **how)
    weights = torch.cat([value.flatten() for value in model.state_dict().values()])
    return {"weights": weights.numpy().tobytes().hex(), "threads": torch.get_num_threads()}


def test_the_numbers_are_the_same(tmp_path: Path, executor: Executor) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    complete("a b c", trained, tmp_path / "here", 1)
    torch.set_num_threads(before)
    complete("a b c", trained, tmp_path / "there", executor)
    here = (tmp_path / "here").read_bytes()
    assert len(here) > 1_000 and (tmp_path / "there").read_bytes() == here


def waits_for(others: int, path: Path, cell: Cell) -> cells.Row:
    """The cell "last" waits until the file has so many others."""
    until = time.monotonic() + PATIENCE
    while cell.name == "last" and (not path.exists() or len(cells.read(path, Cell)) < others):
        assert time.monotonic() < until, "the others never came to the file"
        time.sleep(0.01)
    return {"pid": os.getpid()}


def test_results_are_in_the_file_as_they_come(tmp_path: Path, executor: Executor) -> None:
    path = tmp_path / "results.csv"
    made = complete("last a b c", partial(waits_for, 3, path), path, executor)
    assert set(made) == {"last", "a", "b", "c"}


def dies_once(path: Path, cell: Cell) -> cells.Row:
    """The cell "last" waits for the others, and kills its worker, the first time."""
    row, log = waits_for(3, path, cell), path.with_suffix(".log")
    with log.open("a") as file:
        print(cell.name, os.getpid(), file=file)
    if cell.name == "last" and log.read_text().count("last") == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return row


@posix
def test_a_killed_worker_loses_no_finished_cell(
    tmp_path: Path, client: Client, executor: Executor
) -> None:
    path, workers = tmp_path / "results.csv", set(client.run(os.getpid).values())
    made = complete("last a b c", partial(dies_once, path), path, executor)
    assert set(made) == {"last", "a", "b", "c"}
    log = [line.split() for line in path.with_suffix(".log").read_text().splitlines()]
    assert sorted(name for name, _ in log) == ["a", "b", "c", "last", "last"]
    (first, killed), (second, lived) = log[-2:]
    assert first == second == "last" and made["last"]["pid"] == lived != killed
    assert int(killed) in workers


def test_a_failure_keeps_what_is_finished_and_drops_the_rest(tmp_path: Path) -> None:
    begun, go_on, path = [], threading.Event(), tmp_path / "results.csv"

    def measure(cell: Cell) -> cells.Row:
        begun.append(cell.name)
        if cell.name == "bad":
            waits_for(1, path, Cell("last", 0))
            raise ValueError("a bad cell")
        if cell.name in "cdef":
            go_on.wait(PATIENCE)
        return {"number": 1}

    with ThreadPoolExecutor(1) as executor:
        with pytest.raises(ValueError, match="a bad cell") as kept:  # its frames hold the futures
            complete("a bad c d e f", measure, path, executor)
        go_on.set()
    assert [cell.name for cell in cells.read(path, Cell)] == ["a"]
    assert begun in (["a", "bad"], ["a", "bad", "c"]), kept


# -- the files to copy


def workers_of(client: Client) -> dict[str, dict]:
    every = client.scheduler_info(n_workers=-1)["workers"].values()
    return {about["name"]: about for about in every}


def check_worker(client: Client, command: list[str], name: str, **env: str) -> None:
    """A worker of this command line joins, has one core, and finds our code."""
    clean = {key: text for key, text in os.environ.items() if "THREADS" not in key}
    clean["PATH"] = f"{Path(sys.executable).parent}:{clean['PATH']}"
    worker = subprocess.Popen(command, env=clean | env, start_new_session=True)
    try:
        until = time.monotonic() + PATIENCE
        while name not in (found := workers_of(client)):
            assert time.monotonic() < until and worker.poll() is None, f"{command}: {found}"
            time.sleep(0.1)
        assert found[name]["nthreads"] == 1
        where = {"workers": [name], "pure": False}
        assert client.submit(os.getenv, "OMP_NUM_THREADS", **where).result(PATIENCE) == "1"
        assert client.submit(cells.workers, "3", **where).result(PATIENCE) == 3
    finally:
        os.killpg(worker.pid, signal.SIGTERM)
        worker.wait(PATIENCE)


@posix
def test_slurm_gets_a_script_that_works(tmp_path: Path, client: Client, monkeypatch) -> None:
    monkeypatch.syspath_prepend(TOOLS / "cluster")
    import slurm

    with slurm.cluster() as cluster:
        script = cluster.job_script().replace(cluster.scheduler_address, client.scheduler.address)
    asked = dict(re.findall(r"^#SBATCH -{1,2}([\w-]+)[ =](.+)$", script, re.M))
    assert asked["n"] == asked["cpus-per-task"] == "1" and asked["mem"] == "4G" and asked["t"]
    job = tmp_path / "job"
    job.write_text(script)
    check_worker(client, ["bash", str(job)], "dummy-name")


@posix
def test_kubernetes_gets_pods_that_work(client: Client) -> None:
    job = yaml.safe_load((TOOLS / "cluster" / "kubernetes.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("kubernetes.dask.org/v1", "DaskJob")
    cluster, service = job["spec"]["cluster"]["spec"], job["metadata"]["name"]
    assert cluster["scheduler"]["service"]["selector"]["dask.org/cluster-name"] == service
    ports = {port["name"] for port in cluster["scheduler"]["spec"]["containers"][0]["ports"]}
    assert {port["targetPort"] for port in cluster["scheduler"]["service"]["ports"]} == ports
    for part in (job["spec"]["job"], cluster["worker"], cluster["scheduler"]):
        pod = part["spec"]
        (container,), (volume,) = pod["containers"], pod["volumes"]
        (mount,) = container["volumeMounts"]
        assert mount["name"] == volume["name"] and mount["mountPath"] == container["workingDir"]
    (run,), (worker,) = (
        job["spec"]["job"]["spec"]["containers"],
        cluster["worker"]["spec"]["containers"],
    )
    assert (TOOLS.parent / run["command"][1]).is_file()
    env = {"DASK_WORKER_NAME": "pod", "DASK_SCHEDULER_ADDRESS": client.scheduler.address}
    env |= {
        one["name"]: one["value"].replace("/project", str(TOOLS.parent)) for one in worker["env"]
    }
    said = [word.replace("$(DASK_WORKER_NAME)", "pod") for word in worker["args"]]
    check_worker(client, worker["command"] + said, "pod", **env)
