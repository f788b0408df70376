"""Processes that nobody watches any more, found by a mark in their environment.

A program that starts another one in a session of its own, twice removed, is no child of anybody we know; but it has
inherited the environment. One that has cleared that, too, is known by number and start time, if it was noted.
"""

import contextlib
import logging
import os
from collections.abc import Collection
from pathlib import Path

import psutil

log = logging.getLogger(__name__)
MARK = "OPENFL_LIKE_OWNER"
"""Environment variable of all that a daemon starts; its value is the directory that the work belongs to."""


def owner_tag(directory: Path) -> dict[str, str]:
    """Return the environment variable for processes whose work belongs to a directory."""
    return {MARK: str(directory.resolve())}


def kill_owned(directory: Path) -> list[int]:
    """Kill every process whose work belongs to this directory, or one in it, and return their numbers."""
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


def descendants() -> set[int]:
    """Return the numbers of all who descend from this process, those included whose parents have died (Linux only)."""
    found: set[int] = set()
    waiting = [os.getpid()]
    while waiting:
        for path in Path("/proc", str(waiting.pop()), "task").glob("*/children"):
            with contextlib.suppress(OSError):
                new = {int(word) for word in path.read_text(encoding="ascii").split()} - found
                found |= new
                waiting += new
    return found


def note_processes(notes: Path, numbers: Collection[int]) -> None:
    """Write down processes, so that whoever comes after us can tell them from later ones with their numbers."""
    known = ((number, _started(number)) for number in sorted(numbers))
    notes.write_text("".join(f"{number} {started}\n" for number, started in known if started), encoding="ascii")


def kill_listed(notes: Path) -> list[int]:
    """Kill what is noted in a file and still there, remove the file, and return the numbers."""
    found = []
    with contextlib.suppress(OSError, ValueError):
        for line in notes.read_text(encoding="ascii").splitlines():
            number, _, started = line.partition(" ")
            if started and _started(int(number)) == started:
                with contextlib.suppress(psutil.Error):
                    psutil.Process(int(number)).kill()
                    found.append(int(number))
    notes.unlink(missing_ok=True)
    if found:
        log.warning("killed stray processes that were noted: %s", ", ".join(map(str, found)))
    return found


def _started(number: int) -> str:
    """Which boot of the machine, and how many ticks after it; empty where that cannot be told."""
    with contextlib.suppress(OSError, IndexError):
        after_name = Path("/proc", str(number), "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2]
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {after_name.split()[19]}"
    return ""
