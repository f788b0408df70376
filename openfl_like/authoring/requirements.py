"""Making ``requirements.lock`` of a workspace on its author's machine: pip resolves, nothing is installed or built."""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Collection
from pathlib import Path

from openfl_like.errors import RequirementsError
from openfl_like.plan.lock import LOCK_NAME, write_lock

SOURCE_NAME = "requirements.txt"
_LAST_LINES = 5


def lock_requirements(workspace: Path, wheelhouse: Path | None = None, leave_out: Collection[str] = ()) -> int:
    """Write ``requirements.lock`` from ``requirements.txt``: every package that is needed, as one exact wheel.

    Args:
        workspace: Where both are.
        wheelhouse: Directory with the only wheels to choose from; none: the index that pip is configured for.
        leave_out: Packages that the sites have, with which nothing is installed.

    Returns:
        How many packages are in it.

    Raises:
        RequirementsError: If a line names anything but a package of an index, or pip finds no wheels that go together;
            with its last lines.
    """
    source = workspace / SOURCE_NAME
    if not source.is_file():
        raise RequirementsError("there is no such file", place=str(source), cure="list what the code needs in it")
    _only_names(source)
    places = ["--no-index", "--find-links", str(wheelhouse.resolve())] if wheelhouse is not None else []
    with tempfile.TemporaryDirectory(prefix="fx-lock-") as scratch:
        report = Path(scratch) / "report.json"
        command = [
            sys.executable, "-P", "-m", "pip", "--no-input", "--disable-pip-version-check",
            "install", "--dry-run", "--quiet", "--ignore-installed", "--only-binary", ":all:",
            *places, "--report", str(report), "-r", SOURCE_NAME,
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=workspace)
        if done.returncode:
            last = [line for line in done.stderr.splitlines() if line.strip()][-_LAST_LINES:]
            raise RequirementsError(f"they cannot be resolved: {' | '.join(last)}", place=str(source))
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
    without = {_plain(name) for name in leave_out}
    wheels = [
        {
            "name": item["metadata"]["name"],
            "version": item["metadata"]["version"],
            "sha256": item["download_info"]["archive_info"]["hashes"]["sha256"],
        }
        for item in found
        if _plain(item["metadata"]["name"]) not in without
    ]
    (workspace / LOCK_NAME).write_text(write_lock(wheels), encoding="ascii")
    return len(wheels)


def _only_names(source: Path) -> None:
    """Refuse folders, addresses and options: pip would build what it finds there, on this machine."""
    for number, line in enumerate(source.read_text(encoding="utf-8").splitlines(), 1):
        text = line.split("#", 1)[0].strip()
        if text and (text[0] in "-./\\" or "@" in text or "://" in text):
            raise RequirementsError(
                f"'{text}' is not a package that an index offers",
                place=f"{source}:{number}",
                cure="name the package and its versions; for a wheel of your own give --wheelhouse FOLDER",
            )


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
