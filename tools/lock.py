"""Writes lock.txt: the version of everything that pyproject.toml brings along (``make lock``).

pip resolves what it would install, without installing it. What only Windows or macOS need is found
from the packages' own lists, since pip resolves for the system that it runs on.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

ROOT = Path(__file__).resolve().parent.parent
PROJECT = "imitation-learning-notebooks"
# torch names its CUDA packages itself, and each venv has its own pip
LEFT_OUT = re.compile(rf"(nvidia|cuda|triton)\b.*|pip|{PROJECT}")
OTHER_SYSTEMS = {
    "win_amd64": {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt"},
    "macosx_14_0_arm64": {"sys_platform": "darwin", "platform_system": "Darwin"},
}
HEADER = """\
# Made by `make lock`: renew it with that after a change in pyproject.toml, or for newer versions.
# pip reads it as constraints: it says which version of a package, never that one is installed.
"""


def pip(*arguments: str) -> None:
    # stdout is for people: the installer's own notes go to stderr
    subprocess.run([sys.executable, "-m", "pip", "--quiet", *arguments], check=True, cwd=ROOT)


def resolve() -> list[dict[str, Any]]:
    """The metadata of all that pip would install in an empty environment."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        options = ["--dry-run", "--ignore-installed", "--report", str(report)]
        pip("install", *options, "-e", ".[test]")
        return [entry["metadata"] for entry in json.loads(report.read_text())["install"]]


def elsewhere(packages: list[dict[str, Any]]) -> dict[str, str]:
    """Name to version of what these packages need on other systems only."""
    known = {canonicalize_name(package["name"]) for package in packages}
    versions: dict[str, str] = {}
    for platform, marks in OTHER_SYSTEMS.items():
        for line in (line for package in packages for line in package.get("requires_dist", [])):
            needed = Requirement(line)
            name = canonicalize_name(needed.name)
            wanted = needed.marker is not None and needed.marker.evaluate({**marks, "extra": ""})
            if not wanted or name in known or name in versions or LEFT_OUT.fullmatch(name):
                continue
            with tempfile.TemporaryDirectory() as folder:
                options = ["--no-deps", "--only-binary=:all:", "--platform", platform]
                pip("download", *options, "-d", folder, name)
                _, version, _, _ = parse_wheel_filename(next(Path(folder).iterdir()).name)
            versions[name] = str(version)
    return versions


def main() -> None:
    packages = resolve()
    versions = {str(canonicalize_name(p["name"])): p["version"] for p in packages}
    versions |= elsewhere(packages)
    lines = [
        f"{name}=={version.split('+')[0]}\n"  # 2.13.0, for any build of it: 2.13.0+cpu too
        for name, version in sorted(versions.items())
        if not LEFT_OUT.fullmatch(name)
    ]
    (ROOT / "lock.txt").write_text(HEADER + "".join(lines))
    print(f"lock.txt: {len(lines)} versions")


if __name__ == "__main__":
    main()
