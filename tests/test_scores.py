"""The score table: resumed where it stopped, and a file that belongs to the code beside it."""

import os
import platform
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import scores
from safetensors.numpy import save_file
from scores import (
    DRIVERS,
    HEADER,
    TEST_TRACKS,
    Driver,
    Result,
    ScoresError,
    markdown,
    read,
    update,
    write,
)

from helpers.networks import policy_path
from helpers.rollouts import rollout, run_all
from helpers.worlds.drivers import KeyboardDriver, RacingDriver

COMMITTED = read()
DATA = Path(__file__).parents[1] / "data"
CHEAP = [name for name, driver in DRIVERS.items() if not driver.saved_as]
LEARNED = [name for name, driver in DRIVERS.items() if driver.saved_as]
SAME_BUILD = sys.platform == "linux" and platform.machine() == "x86_64"


def committed(name: str) -> list[Result]:
    if not COMMITTED:
        pytest.skip("notebooks/scores.csv is not there: run `make scores`")
    return [result for result in COMMITTED if result.policy == name]


@pytest.mark.parametrize("name", DRIVERS)
def test_every_policy_has_driven_every_test_track_once(name: str) -> None:
    results = committed(name)
    assert [result.track for result in results] == list(TEST_TRACKS)
    assert len({result.digest for result in results}) == 1


@pytest.mark.parametrize("name", CHEAP)
def test_teachers_drive_as_the_file_says(name: str) -> None:
    few = committed(name)[::45]
    again = [run.total for run in DRIVERS[name].drive([result.track for result in few])]
    # Box2D, built for another processor, rounds differently, and a lap amplifies it
    assert again == pytest.approx([r.total for r in few], abs=1e-5 if SAME_BUILD else 40)


def weights_at_hand(driver: Driver, digest: str, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Find the file's weights among the reader's own and those of `make outputs`."""
    for folder in (DATA, DATA / "outputs"):
        if (folder / "policies" / f"{driver.saved_as}.safetensors").exists():
            monkeypatch.setenv("IL_DATA", str(folder))
            monkeypatch.setenv("IL_SIZE", "full")
            if driver.digest == digest:
                return True
    return False


@pytest.mark.parametrize("name", LEARNED)
def test_networks_drive_as_the_file_says(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    few, driver = committed(name)[::60], DRIVERS[name]
    if not weights_at_hand(driver, few[0].digest, monkeypatch):
        pytest.skip(f"no {driver.saved_as} with the digest of scores.csv in data/: can't drive it")
    again = [run.total for run in driver.drive([result.track for result in few])]
    assert again == pytest.approx([r.total for r in few], abs=0.5 if SAME_BUILD else 40)


def test_nothing_drawn_and_the_same_rewards() -> None:
    drawn, physics = gym.make("FastCarRacing-v3"), gym.make("PhysicsOnly-v3")
    laps = [rollout(env, KeyboardDriver(env), 3, max_steps=150) for env in (drawn, physics)]
    assert laps[0].rewards.tolist() == laps[1].rewards.tolist()


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Laps of 30 steps."""
    monkeypatch.setattr(gym.registry["PhysicsOnly-v3"], "max_episode_steps", 30)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("name", CHEAP)
def test_any_number_of_workers(name: str) -> None:
    alone, shared = (list(DRIVERS[name].drive([4, 5], workers)) for workers in (1, 2))
    for one, other in zip(alone, shared, strict=True):
        assert one.actions.tolist() == other.actions.tolist()
        assert one.rewards.tolist() == other.rewards.tolist()


@pytest.mark.usefixtures("short")
def test_resumes_where_it_was_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drivers = {name: DRIVERS[name] for name in CHEAP[:2]}
    path, driven = tmp_path / "scores.csv", []

    def until_the_third(*arguments, **options):
        for run in run_all(*arguments, **options):
            driven.append(run.seed)
            if len(driven) == 3:
                raise KeyboardInterrupt
            yield run

    monkeypatch.setattr(scores, "run_all", until_the_third)
    with pytest.raises(KeyboardInterrupt):
        update(path, drivers, tracks=(0, 1), workers=1)
    assert [(r.policy, r.track) for r in read(path)] == [(CHEAP[0], 0), (CHEAP[0], 1)]
    results = update(path, drivers, tracks=(0, 1), workers=1)
    assert driven == [0, 1, 0, 0, 1]  # the first policy's laps were kept
    assert read(path) == [r._replace(total=round(r.total, 6)) for r in results]
    assert len(results) == 4


OLD = "0123456789ab"  # a digest


@pytest.mark.usefixtures("short")
def test_results_of_another_version_are_driven_again(tmp_path: Path) -> None:
    path, drivers = tmp_path / "scores.csv", {"teacher": Driver(RacingDriver)}
    write([Result("teacher", OLD, 0, 1.0, 1, False)], path)
    (result,) = update(path, drivers, tracks=(0,), workers=1)
    assert result.digest == drivers["teacher"].digest and result.steps == 30


@pytest.mark.usefixtures("short")
def test_results_of_other_policies_stay(tmp_path: Path) -> None:
    path, drivers = tmp_path / "scores.csv", {"teacher": Driver(RacingDriver)}
    others = [Result(name, OLD, 7, 912.5, 801, True) for name in ("DAgger (06)", "a friend's")]
    write(others, path)
    (lap,) = update(path, drivers, tracks=(0,), workers=1)[1:2]
    assert lap.policy == "teacher" and read(path)[::2] == others


# --- a file that a spreadsheet, a merge or a full disk has touched

ROWS = (
    f"random,{OLD},0,-25.781250,1000,no",
    f'"scripted driver, the teacher",{OLD},0,926.000000,740,yes',
    f"random,{OLD},1,-31.271478,1000,no",
)
GOOD = "\n".join([HEADER, *ROWS, ""])
DAMAGED: dict[str, tuple[str | bytes, int, str]] = {  # what it holds, the line, what is wrong
    "semicolons": (GOOD.replace(",", ";"), 1, "must begin with its header"),
    "semicolons in a row": (GOOD.replace(ROWS[0], ROWS[0].replace(",", ";")), 2, "1 columns"),
    "tabs": (GOOD.replace(",", "\t"), 1, "must begin with its header"),
    "no header": ("\n".join(ROWS), 1, "must begin with its header"),
    "emptied": ("", 1, "must begin with its header"),
    "UTF-16": (GOOD.encode("utf-16"), 1, "must begin with its header"),
    "another encoding": (GOOD.replace("random", "Zoë").encode("cp1252"), 2, "policy can't be"),
    "a merge": (GOOD.replace(ROWS[0], f"<<<<<<< HEAD\n{ROWS[0]}"), 2, "1 columns"),
    "cut": (GOOD[: -len(ROWS[2]) // 2], 4, "columns with commas between them, not 6"),
    "cut at the end": (GOOD[:-2], 4, "finished can't be 'n'"),
    "cut in quotation marks": (GOOD.replace(ROWS[1], ROWS[1][:20]), 3, "unexpected end"),
    "two rows in a line": (GOOD.replace(f"{ROWS[0]}\n", ROWS[0]), 2, "12 columns"),
    "an empty line": (GOOD.replace(ROWS[1], f"\n{ROWS[1]}"), 3, "0 columns"),
    "a row twice": (f"{GOOD}{ROWS[2]}\n", 5, "a second result of random on 1"),
    "a lap twice": (f"{GOOD}random,ba9876543210,1,9.0,9,no", 5, "a second result of random on 1"),
    "True": (GOOD.replace("yes", "True"), 3, "finished can't be 'True'"),
    "not a number": (GOOD.replace("926.000000", "nan"), 3, "return can't be 'nan'"),
    "a decimal comma": (GOOD.replace("926.000000", '"926,0"'), 3, "return can't be '926,0'"),
    "a rounded digest": (GOOD.replace(OLD, "1.23E+11"), 2, "digest can't be '1.23E+11'"),
    "half a step": (GOOD.replace("740", "740.5"), 3, "steps can't be '740.5'"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_file_is_refused_before_the_driving(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, line, wrong = DAMAGED[case]
    content = content.encode() if isinstance(content, str) else content
    path, driven = tmp_path / "scores.csv", []
    path.write_bytes(content)
    drivers = {"random": Driver(driven.append), "plain clone (04)": Driver(driven.append, "a-name")}
    with pytest.raises(ScoresError) as error:
        update(path, drivers, tracks=(0,), workers=1)
    said = str(error.value)
    assert f"{path}, line {line}: " in said and wrong in said
    assert f"git checkout HEAD {path}" in said
    assert path.read_bytes() == content and not driven

    monkeypatch.setattr(scores, "read", partial(read, path))
    with pytest.raises(SystemExit, match="git checkout"):
        scores.main(["--table"])


@pytest.mark.parametrize("touch", [
    lambda text: b"\xef\xbb\xbf" + text.encode(),  # Excel's byte-order mark
    lambda text: text.replace("\n", "\r\n").encode(),
    lambda text: text.replace("00000", "").encode(),  # a spreadsheet drops zeros
], ids=["byte-order mark", "line ends", "zeros"])  # fmt: skip
def test_what_can_only_mean_one_thing_is_read(touch: Callable, tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_bytes(GOOD.encode())
    before = read(path)
    assert [r.policy for r in before] == ["random", "scripted driver, the teacher", "random"]
    path.write_bytes(touch(GOOD))
    assert path.read_bytes() != GOOD.encode() and read(path) == before


def test_the_table() -> None:
    drivers = {"a": Driver(RacingDriver, labels=1_000, minutes=0.5), "b": Driver(RacingDriver)}
    results = [Result("a", "", track, total, 9, total > 0) for track, total in enumerate((-2, 4))]
    table = markdown(results, drivers).splitlines()
    assert len(table) == 3  # b has no results yet
    assert table[2] == "| a | 1.0 | −2.0 to 4.0 | −2.0 | −1.4 | 1 of 2 | 1,000 | 0.5 |"


def test_digests_follow_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IL_DATA", str(tmp_path))
    driver = Driver(RacingDriver, "some-policy")
    with pytest.raises(FileNotFoundError):
        _ = driver.digest
    path = policy_path("some-policy")
    weights = {"a": np.ones(2, np.float32), "b": np.zeros(3, np.float32)}
    save_file(weights, path)
    first = driver.digest
    save_file(weights, path, {"the header": "is another one"})
    assert driver.digest == first and len(first) == 12
    save_file(weights | {"b": np.ones(3, np.float32)}, path)
    assert driver.digest != first
    assert np.unique([DRIVERS[name].digest for name in CHEAP]).size == 1  # one code


def test_the_readme_shows_the_table_of_the_file() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    assert markdown(read()) in readme


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_any_terminal_shows_the_table(encoding: str) -> None:
    command = [sys.executable, "tools/scores.py", "--table"]
    env, root = {**os.environ, "PYTHONIOENCODING": encoding}, Path(__file__).parents[1]
    run = subprocess.run(command, cwd=root, env=env, capture_output=True)
    assert run.returncode == 0, run.stderr
    table = markdown(read())
    if encoding != "utf-8":
        table = table.replace("−", "-").replace("–", "-")
    assert run.stdout.decode(encoding).splitlines() == table.splitlines()
