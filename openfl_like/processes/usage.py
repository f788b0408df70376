"""What a child takes that no limit of its own holds back, seen from its parent (Linux only; elsewhere nothing is)."""

import os
import stat
from pathlib import Path

MOST_THREADS = 256
"""Of a child that runs code of a workspace; the kernel counts those of a user, and of root none."""
_BLOCK_BYTES, _PAGE_BYTES = 512, 4096
_REMOVED = b" (deleted)"


def thread_count(pid: int) -> int:
    """Return how many threads a process has; 0 if it has gone."""
    return len(_entries(Path("/proc", str(pid), "task")))


def file_bytes(found: os.stat_result) -> int:
    """Return how many bytes a file has, or takes on the disk if that is more than the rest of a page."""
    taken: int = getattr(found, "st_blocks", 0) * _BLOCK_BYTES
    return taken if taken - found.st_size > _PAGE_BYTES else found.st_size


def unnamed_bytes(pid: int) -> int:
    """Return how many bytes the files have that a process holds open, and that have no name any more."""
    total, seen = 0, set[tuple[int, int]]()
    for descriptor in _entries(Path("/proc", str(pid), "fd")):
        try:
            found = descriptor.stat()
        except OSError:
            continue
        if stat.S_ISREG(found.st_mode) and found.st_nlink == 0 and (found.st_dev, found.st_ino) not in seen:
            seen.add((found.st_dev, found.st_ino))
            total += file_bytes(found)
    return total


def maps_removed(pid: int, folder: Path) -> bool:
    """Whether a process has files of a folder in its memory that it has removed: how large they are nobody sees."""
    below = os.fsencode(folder.resolve()) + b"/"
    try:
        lines = Path("/proc", str(pid), "maps").read_bytes().splitlines()
    except OSError:
        return False
    return any(line.endswith(_REMOVED) and below in line for line in lines)


def _entries(folder: Path) -> list[Path]:
    """Return what is in a folder; nothing if it has gone."""
    try:
        return list(folder.iterdir())
    except OSError:
        return []
