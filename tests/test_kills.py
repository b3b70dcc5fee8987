"""No lap, policy or score that was finished is lost, whenever the process is killed.

20 kills in `make test`, 50 in `make test-full`. One process forks a child for each of them: it
saves one thing after another, and tells of each when it is done, until SIGKILL comes.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import cells
import numpy as np
import pytest
from scores import Entry

from helpers import networks, sized
from helpers.by_hand.laps import list_laps, step_log
from helpers.demonstrations import Demonstrations
from helpers.plumbing import STALE

KILLS = sized(50, small=20)

PROGRAM = """
from __future__ import annotations
import os, random, signal, sys, time
from dataclasses import dataclass
from pathlib import Path
import gymnasium as gym, numpy as np, torch
import cells
from helpers import networks
from helpers.by_hand.laps import LapSession

@dataclass(frozen=True)
class Cell:
    policy: str
    seed: int

RESULTS = Path(__file__).with_name("results.csv")
folder, kills = sys.argv[1], int(sys.argv[2])
GAS, NO_KEY = np.array([0, 0.2, 0], np.float32), np.zeros(3, np.float32)

def work(kill, tell):
    env = gym.make("FastCarRacing-v3", render_mode="rgb_array", max_episode_steps=12)
    session = LapSession(env, folder, laps=1_000, policy=lambda frame: GAS)
    for number in range(1_000):
        while not session.step(GAS):
            pass
        tell("lap", session.saved[-1].name)
        model = networks.BCModel(hidden=4)
        with torch.no_grad():
            model.net[2].bias.fill_(number)
        networks.save(f"clone-{kill}", model)
        tell("policy", f"clone-{kill}", number)
        cell = Cell(f"policy {kill}", number)
        rows = {**cells.read(RESULTS, Cell), cell: {**vars(cell), "digest": "0" * 12}}
        cells.write(rows, RESULTS, [])
        tell("score", cell.policy, number)

chance = random.Random(0)
for kill in range(kills):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        def tell(*words):
            os.write(writer, (" ".join(map(str, words)) + "\\n").encode())
        try:
            work(kill, tell)
        finally:
            os._exit(1)
    said = b""
    while b"score" not in said:  # one of each is finished
        said += os.read(reader, 1_000)
    time.sleep(chance.uniform(0, 0.15))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(writer)
    said += os.read(reader, 1_000_000)
    print(said.decode(), end="", flush=True)
    os.close(reader)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_what_was_finished_survives_every_kill(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("IL_DATA", str(tmp_path))
    folder = tmp_path / "laps"
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    search = os.pathsep.join([str(Path(cells.__file__).parent), os.environ.get("PYTHONPATH", "")])
    run = subprocess.run(
        [sys.executable, str(program), str(folder), str(KILLS)],
        env={**os.environ, "PYTHONPATH": search, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    told = [line.split(" ", 1) for line in run.stdout.splitlines()]
    assert len(told) >= 3 * KILLS, "the children had no time to work"

    laps = {lap.path.name: lap for lap in list_laps(folder)}  # every file can be read
    assert {name for kind, name in told if kind == "lap"} <= laps.keys()
    assert len(Demonstrations.load(folder)) == len(laps)
    for lap in laps.values():
        log = step_log(lap.path)
        assert log is not None and len(log) == lap.steps == 12
    last: dict[str, int] = {}
    for kind, what in told:
        if kind == "policy":
            name, number = what.split()
            last[name] = int(number)
    for name, number in last.items():
        assert networks.load(name).net[2].bias[0] in (number, number + 1)
    results = cells.read(tmp_path / "results.csv", Entry)
    kept = {f"{cell.policy} {cell.seed}" for cell in results}
    assert {what for kind, what in told if kind == "score"} <= kept

    # what a kill left in a folder is swept by the next to write there, an hour later
    (tmp_path / ".left.part").touch()
    for part in tmp_path.rglob("*.part"):
        os.utime(part, (0, part.stat().st_mtime - STALE - 1))
    cells.write(results, tmp_path / "results.csv", [])
    networks.save("clone-0", networks.BCModel())
    (folder / "one-more").mkdir()
    Demonstrations.load(folder)[:1].save(folder / "last.npz")
    assert not list(tmp_path.rglob("*.part")), json.dumps([str(p) for p in tmp_path.rglob("*")])
    assert np.isfinite(networks.load("clone-0").act(np.zeros(2, np.float32)))
