"""The package: its two settings, its warning, and modules that can be imported in any order."""

import subprocess
import sys
from pathlib import Path

import pytest

import helpers

MODULES = sorted(p.stem for p in Path(helpers.__file__).parent.glob("[a-z]*.py"))


def test_sized(monkeypatch):
    monkeypatch.delenv("IL_SIZE", raising=False)
    assert helpers.sized(30, small=4) == 30
    monkeypatch.setenv("IL_SIZE", "small")
    assert helpers.sized(30, small=4) == 4
    monkeypatch.setenv("IL_SIZE", "tiny")
    with pytest.raises(ValueError, match="'tiny'; set it to 'small' or 'full'"):
        helpers.sized(30, small=4)


def test_data_path(tmp_path, monkeypatch):
    monkeypatch.setenv("IL_DATA", str(tmp_path))
    path = helpers.data_path("runs", "a.npz")
    assert path == tmp_path / "runs" / "a.npz" and path.parent.is_dir()
    monkeypatch.delenv("IL_DATA")
    assert helpers.data_path("x") == Path(helpers.__file__).resolve().parents[1] / "data" / "x"


def fake_distribution(folder, name):
    info = folder / f"{name.replace('-', '_')}-2.6.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.6.1\n")


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
    root = Path(__file__).parents[1]
    pin = next(line for line in (root / "pyproject.toml").read_text().splitlines()
               if "pygame-ce==" in line)  # fmt: skip
    assert pin.strip(' ",') in Path(helpers.__file__).read_text()


@pytest.mark.parametrize("module", MODULES)
def test_each_module_can_be_imported_first(module):
    run = subprocess.run([sys.executable, "-W", "error::ImportWarning", "-c",
                          f"import helpers.{module}"], capture_output=True, text=True)  # fmt: skip
    assert run.returncode == 0, run.stderr
