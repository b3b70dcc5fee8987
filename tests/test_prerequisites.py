"""What notebooks find when an earlier one wasn't run: made when missing, loaded when there."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from helpers import networks, prerequisites
from helpers.demonstrations import Demonstrations, DemonstrationsError
from helpers.prerequisites import RACING_FILE, RUNS_FILE, mountain_car_runs, racing_laps
from helpers.worlds.drivers import RACER_PACE

CASES = [
    (mountain_car_runs, RUNS_FILE, "01-collect-mountain-car"),
    (racing_laps, RACING_FILE, "03-collect-car-racing"),
]
Make = Callable[[int], Demonstrations]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IL_DATA", str(tmp_path))
    monkeypatch.setenv("IL_SIZE", "small")
    (tmp_path / "small").mkdir()
    return tmp_path / "small"


@pytest.mark.parametrize(("make", "name", "notebook"), CASES)
def test_made_then_loaded_then_made_again(make, name, notebook, folder, capsys):
    made = make(1)
    said = capsys.readouterr().out
    assert notebook in said and said.count("\n") == 1  # one line: what, and where it's taught
    assert made.seeds.tolist() == [0] and made.finished.all()
    assert sorted(p.name for p in folder.iterdir()) == [name]

    loaded = make(1)
    assert capsys.readouterr().out == ""
    assert loaded.observations.tobytes() == made.observations.tobytes()
    assert loaded.actions.tobytes() == made.actions.tobytes()

    more = make(2)  # the file holds too few
    assert "2" in capsys.readouterr().out
    assert more.seeds.tolist() == [0, 1]
    assert more[0].actions.tobytes() == made.actions.tobytes()
    assert make(1).seeds.tolist() == [0]  # and now more than asked for
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("make", "name", "notebook"), CASES)
def test_a_damaged_file_says_what_to_do(make, name, notebook, folder):
    (folder / name).write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(DemonstrationsError) as caught:
        make(1)
    assert str(folder / name) in str(caught.value)
    assert "delete it" in str(caught.value) and notebook in str(caught.value)


@pytest.mark.parametrize(("make", "name", "notebook"), CASES)
def test_another_environment_is_refused(make, name, notebook, folder):
    other = next(case for case in CASES if case[1] != name)
    few = Demonstrations(
        "CarRacing-v3" if make is mountain_car_runs else "MountainCar-v0",
        np.zeros((1, 96, 96, 3), np.uint8)
        if make is mountain_car_runs
        else np.zeros((1, 2), np.float32),
        np.zeros((1, 3), np.float32) if make is mountain_car_runs else np.zeros(1, np.int64),
        np.zeros(1, np.float32),
        np.ones(1, np.int64),
        np.zeros(1, np.int64),
        np.ones(1, np.bool_),
        np.array(["expert"]),
    )
    few.save(folder / name)
    with pytest.raises(DemonstrationsError, match="holds demonstrations of"):
        make(1)
    assert other[1] not in [p.name for p in folder.iterdir()]


def test_another_pace_has_a_file_of_its_own(folder):
    racer = racing_laps(1, pace=RACER_PACE)
    names = [p.name for p in folder.iterdir()]
    assert len(names) == 1 and names != [RACING_FILE] and f"{RACER_PACE:g}" in names[0]
    assert racing_laps(1).lengths[0] > racer.lengths[0]  # slower, so longer


TAUGHT = {
    prerequisites.PLAIN_CLONE: (prerequisites.plain_racing_clone, "04-clone-car-racing"),
    prerequisites.DISTURBED_CLONE: (
        prerequisites.disturbed_racing_clone,
        "05-measure-compounding-error",
    ),
    prerequisites.DAGGER: (prerequisites.racing_dagger, "06-fix-it-with-dagger"),
}


@pytest.mark.parametrize("name", TAUGHT)
def test_students_are_taught_then_loaded(name, folder, monkeypatch, capsys):
    student, notebook = TAUGHT[name]
    monkeypatch.setattr("helpers.prerequisites.gym.make", partial(gym.make, max_episode_steps=120))
    made = student()
    said = capsys.readouterr().out
    assert f"Training {name}" in said and notebook in said
    assert (folder / "policies" / f"{name}.safetensors").exists()
    loaded = student()
    assert capsys.readouterr().out == ""
    frame = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    assert loaded.act(frame).tolist() == made.act(frame).tolist()
    networks.policy_path(name).write_bytes(b"cut off")
    with pytest.raises(networks.PolicyError, match=f"{notebook} again"):
        student()


@pytest.mark.parametrize("make", [lambda: racing_laps(1), prerequisites.disturbed_racing_clone])
def test_a_full_disk_is_told_before_the_work(make, folder, monkeypatch):
    def full(file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    monkeypatch.setattr("gymnasium.Env.reset", lambda *_, **__: pytest.fail("it was driven"))
    monkeypatch.setattr("helpers.worlds.car_racing.FastCarRacing.reset", gym.Env.reset)
    with pytest.raises(OSError, match=r"can't write .*No space left.*IL_DATA"):
        make()
    assert not [path for path in folder.rglob("*") if path.is_file()]


def test_what_the_small_size_made_is_not_found_at_full_size(folder, monkeypatch):
    racing_laps(1)
    networks.save(prerequisites.DISTURBED_CLONE, networks.DrivingCNN())
    monkeypatch.setenv("IL_SIZE", "full")
    assert not networks.policy_path(prerequisites.DISTURBED_CLONE).exists()
    assert not (folder.parent / RACING_FILE).exists()
