"""The package: settings, files written whole, and modules in one order, importable in any."""

import ast
import errno
import graphlib
import os
import pkgutil
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest

import helpers
from helpers.plumbing import written_whole

ROOT = Path(helpers.__file__).resolve().parents[1]
MODULES = ["helpers", *(m.name for m in pkgutil.walk_packages(helpers.__path__, "helpers."))]
LINES = 1_560  # of helpers/*.py, what a newcomer reads, without plumbing.py, which is to be trusted


def test_sized(monkeypatch):
    monkeypatch.delenv("IL_SIZE", raising=False)
    assert helpers.sized(30, small=4) == 30
    monkeypatch.setenv("IL_SIZE", "small")
    assert helpers.sized(30, small=4) == 4
    monkeypatch.setenv("IL_SIZE", "tiny")
    with pytest.raises(ValueError, match="'tiny'; set it to 'small' or 'full'"):
        helpers.sized(30, small=4)


# --- where the data goes


@pytest.fixture
def data(tmp_path, monkeypatch):
    """The data folder, at full size."""
    monkeypatch.setenv("IL_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("IL_SIZE", "full")
    return tmp_path / "data"


def test_data_path(data, monkeypatch):
    path = helpers.data_path("runs", "a.npz")
    assert path == data / "runs" / "a.npz" and path.parent.is_dir()
    monkeypatch.delenv("IL_DATA")
    assert helpers.data_path("x") == ROOT / "data" / "x"


def test_a_relative_data_folder_is_one_wherever_the_kernel_runs(tmp_path):
    program = "import helpers, pathlib, sys; helpers.ROOT = pathlib.Path(sys.argv[1]); "
    program += "print(helpers.data_path('runs', 'a.npz'))"
    project, said = tmp_path / "project", []
    for folder in (tmp_path / "one", tmp_path / "another"):
        folder.mkdir()
        command = [sys.executable, "-c", program, str(project)]
        env = {**os.environ, "IL_DATA": "mydata", "IL_SIZE": "full"}
        run = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
        assert not list(folder.iterdir()), run.stderr
        said.append(run.stdout.strip())
    assert said == [str(project / "mydata" / "runs" / "a.npz")] * 2


def test_home_stands_for_the_home_folder(data, monkeypatch):
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(data.parent))
    monkeypatch.setenv("IL_DATA", "~/laps")
    assert helpers.data_path("a.npz") == data.parent / "laps" / "a.npz"
    monkeypatch.setenv("IL_DATA", "~nosuchuser/laps")
    with pytest.raises(ValueError, match="IL_DATA is '~nosuchuser/laps'; nobody's home"):
        helpers.data_path("a.npz")


def test_a_folder_that_cannot_be_names_the_setting(data):
    data.write_text("a file", encoding="utf-8")
    for write in (
        lambda: helpers.data_path("a.npz"),
        lambda: written_whole(data / "x").__enter__(),
    ):
        with pytest.raises(OSError, match="IL_DATA names the folder") as error:
            write()
        assert str(data) in str(error.value)


def test_a_full_disk_names_the_setting(data, monkeypatch):
    path = helpers.data_path("a.npz")
    path.write_bytes(b"old")

    def full(file):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="IL_DATA names the folder") as error, written_whole(path):
        pass
    assert error.value.errno == errno.ENOSPC and "No space left" in str(error.value)
    assert path.read_bytes() == b"old" and list(data.iterdir()) == [path]


# --- files written whole


def test_threads_write_one_file_at_once(tmp_path):
    path, meet = tmp_path / "a.npz", threading.Barrier(2, timeout=30)
    whole, failed = [b"1" * 100_000, b"2" * 100_000], []

    def write(content):
        try:
            with written_whole(path) as file:
                file.write(content[:1000])
                meet.wait()  # both have a part open
                file.write(content[1000:])
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(content,)) for content in whole]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert path.read_bytes() in whole and list(tmp_path.iterdir()) == [path]


WRITER = """
import os, sys
os.getpid = lambda: 7  # as two containers may have it, on a folder that they share
from pathlib import Path
from helpers.plumbing import written_whole
with written_whole(Path(sys.argv[1])) as file:
    print("open", flush=True)
    input()
    file.write(sys.argv[2].encode() * 100_000)
"""


def test_processes_write_one_file_at_once(tmp_path):
    path = tmp_path / "a.npz"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", WRITER, str(path)]
    writers = [subprocess.Popen([*command, number], **pipes) for number in "12"]
    assert [writer.stdout.readline() for writer in writers] == ["open\n"] * 2
    for writer in writers:
        writer.communicate("go on\n", timeout=30)
    assert [writer.returncode for writer in writers] == [0, 0]
    assert path.read_bytes() in (b"1" * 100_000, b"2" * 100_000)
    assert list(tmp_path.iterdir()) == [path]


def test_a_part_is_never_shared(tmp_path, monkeypatch):
    monkeypatch.setattr("uuid.uuid4", lambda: uuid.UUID(int=7))
    with written_whole(tmp_path / "a") as file:
        with pytest.raises(FileExistsError), written_whole(tmp_path / "b"):
            pass
        file.write(b"whole")
    assert (tmp_path / "a").read_bytes() == b"whole"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_only_stale_parts_are_swept(tmp_path):
    for name, age in ((".stale.part", 3_700), (".young.part", 3_500), ("kept.part", 9_999)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    with written_whole(tmp_path / "a"):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"a", ".young.part", "kept.part"}


# --- the modules


def fake_distribution(folder, name):
    info = folder / f"{name.replace('-', '_')}-2.6.1.dist-info"
    info.mkdir()
    about = f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.6.1\n"
    (info / "METADATA").write_text(about, encoding="utf-8")


def import_helpers(folder):
    program = f"import sys; sys.path.insert(0, {str(folder)!r}); import helpers"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stderr


def test_pygame_installed_twice_is_said_once(tmp_path):
    assert import_helpers(tmp_path) == ""
    fake_distribution(tmp_path, "pygame")
    said = import_helpers(tmp_path)
    assert said.count("both pygame and pygame-ce are installed") == 1
    assert "pip uninstall -y pygame pygame-ce" in said and "pip install pygame-ce==" in said


def test_the_warning_names_the_pinned_version():
    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    (pin,) = [line.strip(' ",') for line in lines if "pygame-ce==" in line]
    assert pin in Path(helpers.__file__).read_text(encoding="utf-8")


@pytest.mark.parametrize("module", MODULES)
def test_each_module_can_be_imported_first(module):
    command = [sys.executable, "-W", "error::ImportWarning", "-c", f"import {module}"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


ORDER = ["plumbing", "worlds", "rollouts", "demonstrations", "networks", "training"]
ORDER += ["prerequisites", "show", "results", "by_hand", "tools"]
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for folder in ("helpers", "tools")
    for path in (ROOT / folder).rglob("*.py")
}


def imports(path):
    """Our modules that a file imports, within functions, too."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [name if name in FILES else node.module for name in names]
    found = [f"tools.{name}" if f"tools.{name}" in FILES else name for name in found]
    return {name for name in found if name in FILES}


def test_no_import_goes_upwards_or_round():
    graph = {name: imports(path) - {name} for name, path in FILES.items()}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, with the circle
    below = {layer: set(ORDER[: ORDER.index(layer) + 1]) for layer in ORDER}
    below["worlds"] = {"plumbing", "worlds"}
    for name, others in graph.items():
        for other in others - {"helpers"} if name != "helpers" else ():
            layer, lower = (n.removeprefix("helpers.").split(".")[0] for n in (name, other))
            assert lower in below[layer], f"{name} imports {other}"


def test_what_is_read_first_is_short():
    counts = {
        path.name: len(path.read_text(encoding="utf-8").splitlines())
        for path in (ROOT / "helpers").glob("*.py")
        if path.stem != "plumbing"
    }
    assert sum(counts.values()) <= LINES, counts
