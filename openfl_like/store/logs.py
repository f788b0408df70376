"""Log files that stay small: one that is full becomes the former one, and neither takes the last room of a disk."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TextIO

LIMIT_BYTES = 8 << 20
"""Of a file; there is one former file beside it."""
SPARE_PART = 16
"""Of a disk, this part is left to what matters more."""


class LogFile:
    """Appends lines; what cannot be written is dropped, and it is said how much as soon as there is room again.

    Args:
        path: Where the newest lines are; those before are in ``<path>.1``.
        limit_bytes: How large one file may become.
    """

    def __init__(self, path: Path, limit_bytes: int = LIMIT_BYTES) -> None:
        self._path, self._limit = path, limit_bytes
        self._file: TextIO | None = None
        self._dropped = 0

    def write(self, lines: Iterable[str]) -> None:
        """Appends lines; never fails for want of room."""
        texts = list(lines)
        try:
            self._append(texts)
        except OSError:
            self._dropped += len(texts)
            self.close()

    def close(self) -> None:
        """Closes the file; the next line opens it again."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._file = None

    def _append(self, texts: list[str]) -> None:
        if crowded(self._path.parent):
            self._dropped += len(texts)
            return
        if self._file is None:
            self._file = self._path.open("a", encoding="utf-8")
        if self._file.tell() >= self._limit:
            self.close()
            self._path.replace(former_of(self._path))
            self._file = self._path.open("a", encoding="utf-8")
        if self._dropped:
            texts = [f"({self._dropped} lines are missing here: there was no room on the disk)", *texts]
        self._file.writelines(f"{text}\n" for text in texts)
        self._file.flush()
        self._dropped = 0


def former_of(path: Path) -> Path:
    """Where the lines before those of a log are."""
    return path.with_name(f"{path.name}.1")


def crowded(directory: Path) -> bool:
    """Whether a disk has so little room that logs must not have it."""
    found = os.statvfs(directory)
    return found.f_bavail * SPARE_PART < found.f_blocks and found.f_bavail * found.f_frsize < SPARE_PART * LIMIT_BYTES


def read_log(path: Path) -> str:
    """Gives what is left of a log, the former file first."""
    there = [one for one in (former_of(path), path) if one.exists()]
    return "".join(one.read_text(encoding="utf-8", errors="replace") for one in there)
