"""The recipe for a hub: its settings, and how it starts a learner's server."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import outputs
import pytest
from traitlets.config import Config, PyFileConfigLoader

from helpers.plumbing import in_workers

ROOT = Path(__file__).resolve().parents[1]
HUB = ROOT / "course" / "hub"
SERVER = 150  # MB that a learner's server holds beside the kernel, as the hub's README says


@pytest.fixture
def settings() -> Config:
    loader: Any = PyFileConfigLoader("jupyterhub_config.py", path=str(HUB))
    return loader.load_config().Spawner


def test_what_it_names_is_there(settings: Config) -> None:
    assert settings.cmd == [str(HUB / "start")]
    assert (ROOT / settings.default_url.removeprefix("/lab/tree/")).exists()
    environment = settings.environment
    assert environment["IL_SHARED"] == str(ROOT / "data")
    assert Path(environment["JUPYTER_CONFIG_PATH"], "jupyter_server_config.py").exists()


def test_each_learner_has_the_memory_that_a_notebook_needs(settings: Config) -> None:
    peaks = [int(costs["peak_mb"]) for costs in outputs.read_costs().values()]
    assert settings.mem_limit == "2G"
    assert max(peaks) + SERVER < 0.9 * 2_000


def test_no_learner_takes_more_cores(settings: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.environment["LOKY_MAX_CPU_COUNT"] == str(settings.cpu_limit)
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    pids = in_workers(os.getpid, [()] * 3, workers=8)
    assert list(pids) == [os.getpid()] * 3


@pytest.mark.skipif(sys.platform == "win32", reason="a hub runs on Linux")
def test_a_server_starts_in_a_copy_that_keeps_what_was_changed(tmp_path: Path) -> None:
    project, home = tmp_path / "the project", tmp_path / "ada"
    for folder in (project / "notebooks", project / ".venv/bin", project / "course/hub", home):
        folder.mkdir(parents=True)
    start = shutil.copy(HUB / "start", project / "course/hub/start")
    (project / "README.md").write_text("read me")
    (project / "notebooks/00.ipynb").write_text("first")
    server = project / ".venv/bin/jupyterhub-singleuser"
    server.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    server.chmod(0o755)

    def run() -> str:
        env = {**os.environ, "HOME": str(home)}
        run = subprocess.run([start, "--a=b c", "d"], env=env, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        return run.stdout

    assert run() == "--a=b c\nd\n"
    copy = home / "imitation-learning"
    assert (copy / "README.md").read_text() == "read me"
    (copy / "notebooks/00.ipynb").write_text("mine")
    (project / "notebooks/01.ipynb").write_text("second")
    run()
    assert (copy / "notebooks/00.ipynb").read_text() == "mine"
    assert (copy / "notebooks/01.ipynb").read_text() == "second"
