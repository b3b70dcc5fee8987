"""The set-up: its files agree, and make never trusts an environment that is half made.

make is tried with a stand-in for Python that writes down what it is asked to do, so no package is
installed here. Where uv has to find a Python, the uv is real, and so is the Python; its pip is not.
"""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONDA = (ROOT / "environment.yml").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
LOCK = [
    Requirement(line)
    for line in (ROOT / "lock.txt").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
]
WORKFLOW = (ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8")


def listed() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"].values()
    return [Requirement(text) for texts in [PROJECT["dependencies"], *extras] for text in texts]


SYSTEMS = {
    "linux": {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"},
    "macos": {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix"},
    "windows": {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt"},
}


def locked(system: str, python: str) -> dict[str, Version]:
    """Name to version of what lock.txt pins there; no name has two."""
    full = {"python_version": python, "python_full_version": f"{python}.9"}
    versions: dict[str, Version] = {}
    for pin in LOCK:
        if pin.marker is None or pin.marker.evaluate({**SYSTEMS[system], **full}):
            assert pin.name == canonicalize_name(pin.name)
            assert pin.name not in versions, f"{pin.name} has two versions"
            (exactly,) = pin.specifier
            versions[pin.name] = Version(exactly.version)
    return versions


# --- the files agree


def test_conda_makes_the_same_environment() -> None:
    items = [line.strip(" -") for line in CONDA.splitlines() if line.strip().startswith("- ")]
    assert items == [
        "conda-forge",
        "python=3.11",
        "pip",
        "pip:",
        "constraint lock.txt",
        "e .[test]",
    ]
    assert "3.11" in SpecifierSet(PROJECT["requires-python"])
    assert "test" in PROJECT["optional-dependencies"]


def test_make_and_ci_take_the_same_pythons() -> None:
    low, high = re.search(r"\((\d, \d+)\) <= sys.version_info < \((\d, \d+)\)", MAKEFILE).groups()
    bounds = f">={low},<{high}".replace(", ", ".")
    assert SpecifierSet(bounds) == SpecifierSet(PROJECT["requires-python"])
    for version in re.findall(r'python(?:-version)?: "([\d.]+)"', WORKFLOW):
        assert version in SpecifierSet(PROJECT["requires-python"])
    too_new = re.search(r"container: python:([\d.]+)", WORKFLOW)[1]
    assert too_new not in SpecifierSet(PROJECT["requires-python"])


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("system", SYSTEMS)
def test_the_lock_holds_every_listed_package(system: str, python: str) -> None:
    versions = locked(system, python)
    assert len(versions) > 100
    for requirement in listed():
        name = canonicalize_name(requirement.name)
        assert name in versions, f"{name}: run `make lock`"
        assert versions[name] in requirement.specifier, f"{requirement}: run `make lock`"


def test_the_lock_is_for_everyone() -> None:
    for name, version in locked("linux", "3.11").items():
        assert version.local is None, f"{name}=={version} names one build"
    names = {pin.name for pin in LOCK}
    assert not [name for name in names if name.startswith(("nvidia", "cuda", "triton"))]
    assert "colorama" in locked("windows", "3.12") and "appnope" in locked("macos", "3.12")
    assert "pygame" not in names  # it overwrites pygame-ce


@pytest.mark.skipif(sys.platform != "linux", reason="what is installed here, beside Linux's pins")
def test_the_lock_holds_what_the_listed_packages_bring_along() -> None:
    """Walk what is installed here: each package has a pin, and torch's builds have none."""
    versions, found = locked("linux", "{}.{}".format(*sys.version_info)), set()
    # make course installs nbgrader, which would add its menu to every reader's JupyterLab
    left = [(r.name, r.extras) for r in listed() if r.name != "nbgrader"]
    while left:
        name, extras = left.pop()
        if (name, *sorted(extras)) in found or name.startswith(("nvidia", "cuda", "triton")):
            continue
        found.add((name, *sorted(extras)))
        assert canonicalize_name(name) in versions, f"{name}: run `make lock`"
        for text in metadata.requires(name) or []:
            needed = Requirement(text)
            wanted = [{"extra": extra} for extra in (extras or {""})]
            if needed.marker is None or any(needed.marker.evaluate(extra) for extra in wanted):
                left.append((needed.name, needed.extras))
    assert len(found) > 100


def test_versions_stand_in_one_place() -> None:
    torch = next(str(r) for r in listed() if r.name == "torch")
    for text in (CONDA, MAKEFILE):
        assert not re.search(r"\w==\d", text)
    assert set(re.findall(r"torch==[\d.]+", WORKFLOW)) == {torch}


def test_help_names_every_target() -> None:
    targets = re.search(r"^\.PHONY: (.*)", MAKEFILE, re.M)[1].split()
    described = re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.M)
    assert described == [target for target in targets if target != "FORCE"]


# --- make

STAND_IN = """#!/bin/sh
# A Python that can be asked its version, makes a .venv of itself, and "installs".
for last; do :; done
case "$*" in
    *version_info*) exit {unsuitable} ;;
    *'import venv'*) exit {without_venv} ;;
    *'print(open('*) cat .venv/installed 2>/dev/null; exit 0 ;;
    *'-m venv'*)
        echo venv >>calls
        case "$*" in *--clear*) rm -rf "$last" ;; esac
        mkdir -p "$last/bin"
        [ "$0" = "$last/bin/python" ] || cp "$0" "$last/bin/python" ;;
    *'pip install'*uv) echo "pip $*" >>calls; ln -s "$REAL_UV" .uv/bin/uv ;;
    *'pip install'*) echo "pip $*" >>calls; [ ! -e broken ] ;;
    *jupyterlab*) echo lab >>calls ;;
esac
"""


class Project:
    """A folder with our Makefile, and a stand-in for Python that make is given or finds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("Makefile", "pyproject.toml", "lock.txt"):
            shutil.copy(ROOT / name, folder)
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "UV_"))}
        self.env.pop("TORCH_INDEX", None)
        self.stand_in("python")
        self.named = True

    def stand_in(self, name: str, unsuitable: int = 0, without_venv: int = 0) -> None:
        path = self.folder / name
        text = STAND_IN.format(unsuitable=unsuitable, without_venv=without_venv)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)

    def make(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """What make says; ``calls`` is emptied before."""
        (self.folder / "calls").write_text("", encoding="utf-8")
        python = [f"PYTHON={self.folder / 'python'}"] if self.named else []
        command = [shutil.which("make"), *python, *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=self.env, capture_output=True, text=True
        )

    @property
    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text(encoding="utf-8").splitlines()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    if shutil.which("make") is None or os.name == "nt":
        pytest.skip("needs make and a POSIX shell")
    (tmp_path / "here").mkdir()
    return Project(tmp_path / "here")


def test_make_sets_up_once(project: Project) -> None:
    first = project.make("lab")
    assert first.returncode == 0, first.stderr
    assert [call.split()[0] for call in project.calls] == ["venv", "pip", "pip", "lab"]
    assert "-c lock.txt torch==" in project.calls[1]
    assert "-c lock.txt -e .[test]" in project.calls[2]
    assert re.findall(r"^\d/3", first.stdout, re.M) == ["1/3", "2/3", "3/3"]
    project.make("lab")
    assert project.calls == ["lab"]


def test_a_failed_install_is_not_trusted(project: Project) -> None:
    (project.folder / "broken").touch()
    assert project.make("lab").returncode != 0
    assert "lab" not in project.calls
    half_made = project.folder / ".venv" / "half-made"
    half_made.touch()
    (project.folder / "broken").unlink()
    assert project.make("lab").returncode == 0
    assert [call.split()[0] for call in project.calls] == ["venv", "pip", "pip", "lab"]
    assert not half_made.exists()


def test_a_change_of_the_versions_is_installed(project: Project) -> None:
    project.make("install")
    later = (project.folder / ".venv" / "installed").stat().st_mtime + 10
    os.utime(project.folder / "lock.txt", (later, later))
    (project.folder / "broken").touch()
    assert project.make("lab").returncode != 0
    assert [call.split()[0] for call in project.calls] == ["pip"]
    (project.folder / "broken").unlink()
    assert project.make("lab").returncode == 0
    assert [call.split()[0] for call in project.calls] == ["venv", "pip", "pip", "lab"]


def test_a_moved_environment_is_made_anew(project: Project) -> None:
    project.make("install")
    project.folder = project.folder.rename(project.folder.with_name("moved"))
    project.make("lab")
    assert project.calls[0] == "venv"


def test_an_unsuitable_python_is_named(project: Project) -> None:
    project.stand_in("python", unsuitable=1)
    result = project.make("lab")
    assert result.returncode != 0
    assert "Python 3.11, 3.12 or 3.13" in result.stderr
    assert str(project.folder / "python") in result.stderr
    assert "make PYTHON=python3.12 lab" in result.stderr
    assert project.calls == []


def test_only_torch_comes_from_another_index(project: Project) -> None:
    project.make("TORCH_INDEX=cpu", "install")
    torch, rest = project.calls[1:]
    assert "--index-url" in torch and torch.split("--index-url ")[1].split()[0].endswith("/cpu")
    assert "index" not in rest
    project.make("install", "--always-make")
    assert not [call for call in project.calls if "index" in call]


def test_lint_stops_the_tests(project: Project) -> None:
    """`make test` ends with pytest, and gets there only past ruff and mypy."""
    project.make("install")
    steps = [line for line in project.make("-n", "test").stdout.splitlines() if "python -m" in line]
    assert [line.split("python -m ")[1].split()[0] for line in steps] == [
        "ruff",
        "ruff",
        "mypy",
        "pytest",
    ]
    assert not [line for line in steps if line.lstrip().startswith("-") or "||" in line]


# --- make, where no Python suits


@pytest.fixture
def bare(project: Project) -> Project:
    """A machine that has what the Makefile calls, and neither Python nor uv on its PATH."""
    project.named = False
    (project.folder / "bin").mkdir()
    for name in ("sh", "sed", "rm", "mkdir", "cp", "cat", "ln", "id", "echo"):
        (project.folder / "bin" / name).symlink_to(shutil.which(name))
    project.env |= {"PATH": str(project.folder / "bin"), "HOME": str(project.folder / "home")}
    return project


def seed(folder: Path, name: str, main: str) -> None:
    """A wheel with one file, which ``python -m name`` runs."""
    about = f"{name}-1.dist-info"
    files = {
        f"{name}/__main__.py": main,
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{about}/RECORD"] = "".join(f"{file},,\n" for file in [*files, f"{about}/RECORD"])
    with zipfile.ZipFile(folder / f"{name}-1-py3-none-any.whl", "w") as wheel:
        for file, text in files.items():
            wheel.writestr(file, text)


@pytest.mark.parametrize("from_pypi", [False, True])
def test_uv_makes_the_environment_where_python_is_too_new(bare: Project, from_pypi: bool) -> None:
    """A real uv, which finds the Python of these tests and needs no network; pip is a stand-in."""
    bare.stand_in("bin/python3", unsuitable=1)
    uv = pytest.importorskip("uv").find_uv_bin()
    if not from_pypi:
        (bare.folder / "bin" / "uv").symlink_to(uv)
    seed(bare.folder, "pip", "import sys\nprint('pip', *sys.argv[1:], file=open('calls', 'a'))")
    seed(bare.folder, "setuptools", "")
    seed(bare.folder, "wheel", "")
    places = [bare.env["PATH"], str(Path(sys.base_prefix, "bin"))]
    bare.env |= {
        "REAL_UV": uv,
        "UV_PYTHON_SEARCH_PATH": os.pathsep.join(places),
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_OFFLINE": "1",
        "UV_FIND_LINKS": str(bare.folder),
        "UV_NO_CONFIG": "1",
    }
    result = bare.make("install")
    assert result.returncode == 0, result.stderr
    assert ("getting uv (18 MB) from PyPI" in result.stdout) == from_pypi
    assert "making .venv with uv" in result.stdout and "35 MB" in result.stdout
    torch, rest = bare.calls[-2:]
    assert "-c lock.txt torch==" in torch and "-c lock.txt -e .[test]" in rest
    ours = subprocess.check_output([bare.folder / ".venv/bin/python", "-V"], text=True)
    assert ours.split()[1] in SpecifierSet(PROJECT["requires-python"])
    bare.make("install")
    assert bare.calls == []


@pytest.mark.parametrize("python", ["none", "without venv"])
def test_where_there_is_nothing_to_begin_with_make_says_what_to_install(
    bare: Project, python: str
) -> None:
    if python == "without venv":
        bare.stand_in("bin/python3", unsuitable=1, without_venv=1)
    result = bare.make("lab")
    assert result.returncode != 0
    for words in ("python3-venv", "make PYTHON=", "astral.sh/uv/install.sh", "brew", "winget"):
        assert words in result.stderr
    assert bare.calls == []


def test_uv_waits_where_a_python_suits(bare: Project) -> None:
    bare.stand_in("bin/python3.12")
    uv = bare.folder / "bin" / "uv"
    uv.write_text("#!/bin/sh\necho uv >>calls\n", encoding="utf-8")
    uv.chmod(0o755)
    result = bare.make("lab")
    assert result.returncode == 0, result.stderr
    assert "making .venv with python3.12" in result.stdout
    assert [call.split()[0] for call in bare.calls] == ["venv", "pip", "pip", "lab"]
