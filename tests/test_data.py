"""`make data`, and the folder that many readers share: read, and never written to."""

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import make_data
import nbformat
import numpy as np
import pytest

import helpers
from helpers import networks, prerequisites
from helpers.demonstrations import Demonstrations, DemonstrationsError
from helpers.networks import DrivingCNN, PolicyError
from helpers.plumbing import found

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CLONES = [prerequisites.PLAIN_CLONE, prerequisites.DISTURBED_CLONE, prerequisites.DAGGER]
FILES = [prerequisites.RUNS_FILE, prerequisites.RACING_FILE]
FILES += [f"policies/{name}.safetensors" for name in CLONES]


def laps(count: int) -> Demonstrations:
    """Laps of one step each."""
    return Demonstrations(
        "CarRacing-v3",
        np.zeros((count, 96, 96, 3), np.uint8),
        np.zeros((count, 3), np.float32),
        np.zeros(count, np.float32),
        np.ones(count, np.int64),
        np.arange(count, dtype=np.int64),
        np.ones(count, np.bool_),
        np.array(["expert"] * count),
    )


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A reader's own data folder, at small size."""
    monkeypatch.setenv("IL_DATA", str(tmp_path / "own"))
    monkeypatch.setenv("IL_SIZE", "small")
    return tmp_path / "own" / "small"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `make data` makes, without the driving and the training."""
    monkeypatch.setattr(prerequisites, "each", lambda *_: [])
    monkeypatch.setattr(prerequisites, "_fit", lambda *_: DrivingCNN())
    monkeypatch.setattr(prerequisites, "dagger", lambda clone, *_: [(clone, None)])
    monkeypatch.setattr(prerequisites, "evaluate", lambda *_: np.zeros(1))
    record = Demonstrations.record

    def recorded(env, policy, seeds, **options):
        return laps(2) if options else record(env, policy, seeds)

    monkeypatch.setattr(Demonstrations, "record", recorded)


@pytest.fixture
def shared(
    own: Path, quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A folder that `make data` has filled, as IL_SHARED; unchanged in the end."""
    folder = tmp_path / "shared"
    with monkeypatch.context() as at_the_teachers:
        at_the_teachers.setenv("IL_DATA", str(folder))
        make_data.main()
    before = contents(folder)
    monkeypatch.setenv("IL_SHARED", str(folder))
    yield folder / "small"
    assert contents(folder) == before


def contents(folder: Path) -> dict[str, tuple[float, str]]:
    return {
        path.relative_to(folder).as_posix(): (
            path.stat().st_mtime,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in folder.rglob("*")
    }


def files(folder: Path) -> list[str]:
    return [name for name, (_, digest) in contents(folder).items() if digest]


# --- make data


def test_all_is_made_that_notebooks_ask_for() -> None:
    source = (ROOT / "tools" / "make_data.py").read_text(encoding="utf-8")
    for path in NOTEBOOKS:
        cells = nbformat.read(path, as_version=4).cells
        code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
        for maker, count in re.findall(r"prerequisites\.(\w+)\((\w*)\)", code):
            if count:
                (count,) = re.findall(rf"^{count} = (sized\(.*?\))", code, re.M)
                maker += f"({count})"
            assert f"prerequisites.{maker}" in source, path.name


def test_it_goes_on_where_it_was(own, quick, monkeypatch, capsys) -> None:
    with monkeypatch.context() as interrupted:
        interrupted.setattr(
            prerequisites, "each", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        with pytest.raises(KeyboardInterrupt):
            make_data.main()
    assert sorted(files(own)) == sorted(FILES[:3])
    capsys.readouterr()
    make_data.main()
    said = capsys.readouterr().out
    assert sorted(files(own)) == sorted(FILES)
    assert said.count("Training") == 2 and "Recording" not in said
    make_data.main()
    assert capsys.readouterr().out == ""


# --- the shared folder


def test_what_is_shared_is_not_made_again(own, shared, capsys) -> None:
    capsys.readouterr()
    make_data.main()
    networks.load(prerequisites.PLAIN_CLONE)
    assert capsys.readouterr().out == ""
    assert files(own) == []


def test_ones_own_comes_first(own, shared) -> None:
    weights = networks.load(CLONES[0]).state_dict()
    mine = DrivingCNN()
    assert networks.save(CLONES[0], mine) == own / FILES[2]
    (name, tensor), *_ = mine.state_dict().items()
    assert not np.array_equal(tensor, weights[name])
    assert np.array_equal(tensor, networks.load(CLONES[0]).state_dict()[name])
    assert np.array_equal(tensor, prerequisites.plain_racing_clone().state_dict()[name])


def test_where_one_has_too_few_the_shared_ones_serve(own, shared, capsys) -> None:
    laps(1).save(own / prerequisites.RACING_FILE)
    capsys.readouterr()
    assert len(prerequisites.racing_laps(2)) == 2
    assert len(prerequisites.mountain_car_runs(1_001)) == 1_001  # one more than are shared
    assert "1,001" in capsys.readouterr().out
    assert sorted(files(own)) == sorted(FILES[:2])


def test_the_sizes_are_apart(own, shared, monkeypatch) -> None:
    path = helpers.data_path(FILES[0])
    assert found(path) == [shared / FILES[0]]
    monkeypatch.setenv("IL_SIZE", "full")
    assert found(helpers.data_path(FILES[0])) == []


# --- what may be wrong with it


@pytest.mark.parametrize(
    ("folder", "error", "said"),
    [
        (
            "nowhere",
            FileNotFoundError,
            "can't read .*nowhere.*IL_SHARED.*ask who keeps it, or unset",
        ),
        ("~nosuchuser/x", ValueError, "IL_SHARED is '~nosuchuser/x'; nobody's home"),
    ],
)
def test_no_such_folder(folder, error, said, own, monkeypatch) -> None:
    monkeypatch.setenv("IL_SHARED", folder)
    for read in (prerequisites.plain_racing_clone, lambda: prerequisites.racing_laps(1)):
        with pytest.raises(error, match=said):
            read()
    assert files(own) == []


@pytest.mark.parametrize(
    ("name", "make", "error"),
    [
        (FILES[1], lambda: prerequisites.racing_laps(1), DemonstrationsError),
        (FILES[2], prerequisites.plain_racing_clone, PolicyError),
    ],
)
def test_a_damaged_file(
    name: str, make: Callable[[], object], error: type[Exception], own, tmp_path, monkeypatch
) -> None:
    broken = tmp_path / "shared" / "small" / name
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"cut off")
    monkeypatch.setenv("IL_SHARED", str(tmp_path / "shared"))
    with pytest.raises(error, match="ask who keeps it, or unset IL_SHARED") as caught:
        make()
    assert str(broken) in str(caught.value)


# Permissions of files bind every user but root, and root, too, without its capabilities.
LEARNER = """
import os, sys
from helpers import networks, prerequisites
import make_data
assert not os.access(os.environ["IL_SHARED"], os.W_OK)
try:
    make_data.main()
    networks.save(prerequisites.PLAIN_CLONE, networks.DrivingCNN())
except OSError as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""
BOUND = ["setpriv", "--inh-caps=-all", "--bounding-set=-dac_override,-dac_read_search"]


@pytest.mark.skipif(sys.platform == "win32", reason="its files have other permissions")
def test_who_may_only_read_it_writes_to_their_own(shared: Path, tmp_path: Path) -> None:
    """All that is shared is read, in another process, and a network saved."""

    def learn() -> subprocess.CompletedProcess[str]:
        command = [*(BOUND if os.geteuid() == 0 else []), sys.executable, "-c", LEARNER]
        env = {**os.environ, "PYTHONPATH": str(ROOT / "tools")}
        return subprocess.run(command, env=env, capture_output=True, text=True)

    places = [shared.parent, shared, shared / "policies", shared / FILES[0]]
    for place in places:
        place.chmod(0o555)
    try:
        run = learn()
        assert run.returncode == 0, run.stderr
        assert run.stdout == ""
        assert files(tmp_path / "own") == [f"small/{FILES[2]}"]
        places[-1].chmod(0o000)
        run = learn()
        assert f"PermissionError: [Errno 13] can't read {places[-1]}" in run.stderr
        assert "IL_SHARED" in run.stderr
    finally:
        for place in places:
            place.chmod(0o755)
