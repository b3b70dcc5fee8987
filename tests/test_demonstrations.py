"""Demonstrations: what goes in comes out, and nothing broken comes in."""

import os
import subprocess
import sys
import zipfile
from dataclasses import fields, replace

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.demonstrations import Demonstrations, DemonstrationsError
from helpers.worlds.mountain_car import MountainCarVector, mountain_car_expert

NAMES = [f.name for f in fields(Demonstrations)]


def made_up(lengths, seed=0, env_id="MountainCar-v0", source="expert"):
    """Random demonstrations whose episodes have these lengths."""
    rng, steps = np.random.default_rng(seed), sum(lengths)
    if env_id == "MountainCar-v0":
        observations = rng.normal(size=(steps, 2)).astype(np.float32)
        actions = rng.integers(0, 3, steps)
    else:
        observations = rng.integers(0, 256, (steps, 96, 96, 3)).astype(np.uint8)
        actions = rng.uniform(0, 1, (steps, 3)).astype(np.float32)
    return Demonstrations(
        env_id,
        observations,
        actions,
        rng.normal(size=steps).astype(np.float32),
        np.array(lengths, np.int64),
        np.arange(len(lengths)) + 100,
        rng.random(len(lengths)) < 0.5,
        np.array([source] * len(lengths)),
    )


def same(a, b):
    return a.env_id == b.env_id and all(
        getattr(a, n).dtype == getattr(b, n).dtype and (getattr(a, n) == getattr(b, n)).all()
        for n in NAMES[1:]
    )


episodes = st.lists(st.integers(1, 6), min_size=1, max_size=8)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(lengths=episodes, seed=st.integers(0, 999), racing=st.booleans())
def test_round_trip(tmp_path_factory, lengths, seed, racing):
    demos = made_up(lengths, seed, "CarRacing-v3" if racing else "MountainCar-v0", "человек ×")
    path = tmp_path_factory.mktemp("demos") / "d.npz"
    demos.save(path)
    assert same(Demonstrations.load(path, demos.env_id), demos)
    assert [p.name for p in path.parent.iterdir()] == ["d.npz"], "a part of a save was left behind"


@settings(max_examples=60, deadline=None)
@given(lengths=episodes, seed=st.integers(0, 999), fraction=st.floats(0.01, 0.99))
def test_split_keeps_episodes_whole_and_loses_none(lengths, seed, fraction):
    demos = made_up(lengths, seed)
    if len(demos) < 2:
        with pytest.raises(ValueError, match="can't be split"):
            demos.split(fraction, np.random.default_rng(seed))
        return
    rest, part = demos.split(fraction, np.random.default_rng(seed))
    assert not set(rest.seeds) & set(part.seeds)
    both = Demonstrations.concatenate([rest, part])
    assert same(both[np.argsort(both.seeds)], demos)


def test_episodes_are_found_again():
    demos = made_up([3, 1, 4])
    assert demos.starts.tolist() == [0, 3, 4]
    assert demos.episode_of_step.tolist() == [0, 0, 0, 1, 2, 2, 2, 2]
    assert np.allclose(demos.returns[2], demos.rewards[4:].sum())
    assert (demos[2].observations == demos.observations[4:]).all()
    assert (demos[[2, 0]].seeds == [102, 100]).all()
    assert (demos[demos.lengths > 1].lengths == [3, 4]).all()
    with pytest.raises(IndexError):
        demos[demos.lengths > 9]


def test_recording_keeps_what_was_seen_before_each_action():
    env = gym.make("MountainCar-v0")
    demos = Demonstrations.record(env, mountain_car_expert, [5, 6])
    assert demos.seeds.tolist() == [5, 6] and demos.finished.all()
    for i in range(2):
        run = demos[i]
        observation, _ = env.reset(seed=int(run.seeds[0]))
        for seen, action in zip(run.observations, run.actions, strict=True):
            assert (seen == observation).all() and action == mountain_car_expert(seen)
            observation, _, ended, _, _ = env.step(int(action))
        assert ended
    assert (demos.returns == -demos.lengths).all()


def test_recording_many_at_once_gives_the_same_runs():
    seeds = [3, 50, 7, 12]
    one_by_one = Demonstrations.record(gym.make("MountainCar-v0"), mountain_car_expert, seeds)
    for at_once in (4, 3):
        together = Demonstrations.record(MountainCarVector(at_once), mountain_car_expert, seeds)
        assert same(one_by_one, together)


def test_a_folder_loads_in_order_of_names(tmp_path):
    made_up([2], seed=1).save(tmp_path / "b.npz")
    made_up([3], seed=2).save(tmp_path / "a.npz")
    assert Demonstrations.load(tmp_path).lengths.tolist() == [3, 2]
    with pytest.raises(DemonstrationsError, match="can't be mixed"):
        Demonstrations.concatenate([made_up([2]), made_up([2], env_id="CarRacing-v3")])


def broken(**changes):
    def write(path):
        arrays = {n: np.asarray(getattr(made_up([3, 2]), n)) for n in NAMES} | changes
        np.savez(path, **{k: v for k, v in arrays.items() if v is not None})

    return write


def truncated(path):
    made_up([300, 200]).save(path)
    path.write_bytes(path.read_bytes()[:-400])


def damaged(path):
    made_up([300, 200]).save(path)
    data = bytearray(path.read_bytes())
    data[1000:1100] = bytes(100)
    path.write_bytes(data)


def change_actions(path, change):
    """A file whose array of actions is stored as ``change`` makes it of its bytes."""
    made_up([3, 2]).save(path)
    with zipfile.ZipFile(path) as file:
        members = {n: file.read(n) for n in file.namelist()}
    with zipfile.ZipFile(path, "w") as file:
        for name, data in members.items():
            file.writestr(name, change(data) if name == "actions.npy" else data)


def header_gone(path):
    change_actions(path, lambda data: data[:20])


def huge_header(path):
    size = (20_000).to_bytes(2, "little")
    change_actions(path, lambda data: b"\x93NUMPY\x01\x00" + size + b" " * 20_000)


NAN = np.full((5, 2), np.nan, np.float32)
DEFECTS = {
    "truncated": (truncated, "is damaged or no file"),
    "damaged": (damaged, "is damaged or no file"),
    "header gone": (header_gone, "is damaged or no file"),
    "huge header": (huge_header, "is damaged or no file"),
    "empty file": (lambda p: p.write_bytes(b""), "is damaged or no file"),
    "text": (lambda p: p.write_text("hello"), "is damaged or no file"),
    "npy": (lambda p: np.save(p.open("wb"), np.zeros(3)), "is damaged or no file"),
    "pickled": (broken(actions=np.array([{}, 1, 2, 3, 4], object)), "pickled objects"),
    "missing array": (broken(rewards=None), "rewards missing"),
    "short actions": (broken(actions=np.zeros(4, np.int64)), r"actions has shape \(4,\)"),
    "lengths disagree": (broken(lengths=np.array([3, 3])), "lengths sum to 6 steps, but there are"),
    "seeds disagree": (broken(seeds=np.array([3])), "seeds has shape"),
    "empty episode": (broken(lengths=np.array([5, 0])), "empty ones"),
    "NaN": (broken(observations=NAN), "observations holds NaN"),
    "NaN reward": (broken(rewards=NAN[:, 0]), "rewards holds NaN"),
    "wrong shape": (broken(observations=np.zeros((5, 3), np.float32)), r"shape \(5, 3\)"),
    "wrong dtype": (broken(observations=np.zeros((5, 2))), "dtype float64, not float32"),
    "other environment": (broken(env_id=np.array("CarRacing-v3")), "holds demonstrations of"),
    "unknown environment": (broken(env_id=np.array("Pong-v5")), "Pong-v5"),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_defective_files_are_refused_with_the_files_name(tmp_path, defect):
    write, message = DEFECTS[defect]
    path = tmp_path / "runs.npz"
    write(path)
    with pytest.raises(DemonstrationsError, match=message) as caught:
        Demonstrations.load(path, "MountainCar-v0", made_by="01-collect-mountain-car")
    assert str(path) in str(caught.value)
    assert "01-collect-mountain-car" in str(caught.value) or "load another file" in str(
        caught.value
    )


@pytest.mark.parametrize("seed", range(3))
def test_flipped_bytes_are_always_a_demonstrations_error(tmp_path, seed):
    """zipfile, zlib and NumPy raise nearly anything: zlib.error, TokenError, MemoryError …"""
    path, rng, refused = (
        made_up([40, 30]).save(tmp_path / "runs.npz"),
        np.random.default_rng(seed),
        0,
    )
    whole = path.read_bytes()
    for at in rng.integers(len(whole), size=300):
        data = bytearray(whole)
        data[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(data)
        try:
            Demonstrations.load(path)
        except DemonstrationsError as error:
            assert str(path) in str(error) and "delete it" in str(error)
            refused += 1
    assert refused > 100


def test_a_missing_file_names_the_notebook_that_makes_it(tmp_path):
    for path in (tmp_path / "none.npz", tmp_path):
        with pytest.raises(DemonstrationsError, match="run 01-collect-mountain-car first"):
            Demonstrations.load(path, made_by="01-collect-mountain-car")


def test_names_get_their_ending_and_hidden_files_are_no_laps(tmp_path):
    demos = made_up([2, 3])
    assert demos.save(tmp_path / "one").name == "one.npz"
    assert demos.save(tmp_path / "v1.2").name == "v1.2.npz"
    (tmp_path / "v1.2.npz").unlink()
    (tmp_path / "._one.npz").write_bytes(b"what macOS leaves on other disks")
    assert same(Demonstrations.load(tmp_path), demos)
    long = made_up([1], seed=3).save(tmp_path / ("a" * 240))
    assert len(Demonstrations.load(long)) == 1


def test_a_copy_in_the_folder_is_named_and_not_counted_twice(tmp_path):
    path = made_up([2, 3]).save(tmp_path / "lap.npz")
    (tmp_path / "lap copy.npz").write_bytes(path.read_bytes())
    with pytest.raises(DemonstrationsError, match=r"lap.*npz is a copy of lap.*delete one"):
        Demonstrations.load(tmp_path)


def test_what_is_no_path_is_refused():
    for use in (Demonstrations.load, made_up([2]).save):
        with pytest.raises(TypeError, match="path is None; give the name of a file or folder"):
            use(None)


def test_a_place_that_cant_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    for place in (tmp_path, tmp_path / "file" / "runs.npz"):
        with pytest.raises(OSError, match=r"can't write .*IL_DATA") as caught:
            made_up([2]).save(place)
        assert str(place) in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    "which", ["x", 1.5, (0, 1), [[True, False]], [True], 7, [], slice(5, 9), None]
)
def test_a_choice_that_picks_no_episodes_is_named(which):
    with pytest.raises(IndexError, match="picks no"):
        made_up([2, 3])[which]


def test_a_split_wants_a_generator():
    with pytest.raises(TypeError, match=r"give np.random.default_rng\(3\)"):
        made_up([2, 3]).split(0.5, 3)


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (lambda: gym.make("CarRacing-v3", continuous=False), r"takes \(\)"),
        (lambda: gym.wrappers.GrayscaleObservation(gym.make("CarRacing-v3")), r"uint8 \(96, 96\)"),
        (
            lambda: gym.wrappers.FrameStackObservation(gym.make("CarRacing-v3"), 2),
            r"\(2, 96, 96, 3\)",
        ),
        (lambda: gym.make("CartPole-v1"), "CartPole-v1 can't be recorded"),
        (lambda: "MountainCar-v0", "'MountainCar-v0' has no id: make the environment with"),
        (lambda: type(gym.make("MountainCar-v0").unwrapped)(), "make the environment with"),
        (lambda: gym.make_vec("CartPole-v1", num_envs=2), "CartPole-v1 can't be recorded"),
    ],
)
def test_what_cant_be_recorded_is_refused_before_the_first_step(env, message):
    with pytest.raises(ValueError, match=message):
        Demonstrations.record(env(), lambda observation: pytest.fail("it was driven"), [0])


def test_bad_actions_are_refused_at_the_first_step_and_good_ones_kept():
    env = gym.make("FastCarRacing-v3", max_episode_steps=5)
    demos = Demonstrations.record(env, lambda o: [0.0, 1, 0], [0, 1])
    assert demos.actions.dtype == np.float32 and demos.lengths.tolist() == [5, 5]
    with pytest.raises(RuntimeError, match=r"seed 0: TypeError: the action .* shape \(4,\)"):
        Demonstrations.record(env, lambda o: np.zeros(4), [0, 1])


def test_bad_arrays_are_refused_before_they_are_saved():
    demos = made_up([3, 2])
    with pytest.raises(DemonstrationsError, match="not a NumPy array"):
        replace(demos, actions=[0, 1, 2, 0, 1])
    with pytest.raises(DemonstrationsError, match="dtype"):
        replace(demos, sources=np.array([1, 2]))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_save_that_is_killed_leaves_the_old_file(tmp_path):
    path = tmp_path / "d.npz"
    old = made_up([3, 2])
    old.save(path)
    program = f"""
import os, signal, sys
sys.path.insert(0, {os.path.dirname(__file__)!r})
from test_demonstrations import made_up
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
made_up([500], seed=1).save({str(path)!r})
"""
    assert subprocess.run([sys.executable, "-c", program]).returncode == -9
    assert same(Demonstrations.load(path), old)
    assert same(Demonstrations.load(tmp_path), old), "half a save must not be taken for a lap"
