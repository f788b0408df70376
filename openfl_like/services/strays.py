"""Processes that nobody watches any more, found by a mark in their environment.

A program that starts another one in a session of its own, twice removed, is no child of anybody we know; but it has
inherited the environment.
"""

import contextlib
import logging
import os
from pathlib import Path

import psutil

log = logging.getLogger(__name__)
MARK = "OPENFL_LIKE_OWNER"
"""Environment variable of all that a daemon starts; its value is the directory that the work belongs to."""


def mark_of(directory: Path) -> dict[str, str]:
    """Gives the environment variable for processes whose work belongs to a directory."""
    return {MARK: str(directory.resolve())}


def end_marked(directory: Path) -> list[int]:
    """Kills every process whose work belongs to this directory, or one in it, and gives their numbers."""
    owner = directory.resolve()
    ours = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            mark = process.environ().get(MARK, "")
            if process.pid not in ours and mark and Path(mark).is_relative_to(owner):
                process.kill()
                found.append(process.pid)
    if found:
        log.warning("killed stray processes: %s", ", ".join(map(str, found)))
    return found
