"""Log files that stay small: one that is full becomes the former one, and neither takes the last room of a disk.

A place in a log is counted in bytes since the log began, so that it stays right when files go: the first line of a file
that follows on another says how many bytes there were before it.
"""

import os
import re
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO, TextIO

from openfl_like.printable import printable_line

LIMIT_BYTES = 8 << 20
"""Of a file; there is one former file beside it."""
SPARE_PART = 16
"""Of a disk, this part is left to what matters more."""


MOST_AT_ONCE = 1 << 16
"""Bytes that are read at a time."""
_BEGINS_AT = re.compile(rb"\(this log goes on from byte (\d+)\)\n")
_LINES = re.compile(rb"[^\n]*\n|[^\n]+")
_HEAD_BYTES = 64


class LogFile:
    """Appends lines; what cannot be written is dropped, and it is said how much as soon as there is room again.

    What could steer a terminal is written out, see `printable_line`: one line stays one line, whoever wrote it.

    Args:
        path: Where the newest lines are; those before are in ``<path>.1``.
        limit_bytes: How large one file may become.
    """

    def __init__(self, path: Path, limit_bytes: int = LIMIT_BYTES) -> None:
        self._path, self._limit = path, limit_bytes
        self._file: TextIO | None = None
        self._dropped = 0

    def write(self, lines: Iterable[str]) -> None:
        """Append lines; never fails for want of room."""
        texts = [printable_line(line) for line in lines]
        try:
            self._append(texts)
        except OSError:
            self._dropped += len(texts)
            self.close()

    def close(self) -> None:
        """Close the file; the next line opens it again."""
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
        if self._file.tell() == 0:
            self._begin(self._file)
        if self._dropped:
            texts = [f"({self._dropped} lines are missing here: there was no room on the disk)", *texts]
        self._file.writelines(f"{text}\n" for text in texts)
        self._file.flush()
        self._dropped = 0

    def _begin(self, file: TextIO) -> None:
        with ExitStack() as stack:
            former = _opened(stack, former_of(self._path), 0)
            if former is not None:
                file.write(f"(this log goes on from byte {former.begin + former.size})\n")


def former_of(path: Path) -> Path:
    """Where the lines before those of a log are."""
    return path.with_name(f"{path.name}.1")


def crowded(directory: Path) -> bool:
    """Whether a disk has so little room that logs must not have it."""
    found = os.statvfs(directory)
    return found.f_bavail * SPARE_PART < found.f_blocks and found.f_bavail * found.f_frsize < SPARE_PART * LIMIT_BYTES


@dataclass(frozen=True, slots=True)
class LogPiece:
    """A part of a log.

    Attributes:
        lines: Whole lines.
        ends: Where each of them ends: from there one can read on.
        missing_bytes: How much was wanted before them that is not kept any more.
    """

    lines: tuple[str, ...] = ()
    ends: tuple[int, ...] = ()
    missing_bytes: int = 0


def read_log(path: Path, position: int = 0, most_bytes: int = MOST_AT_ONCE) -> LogPiece:
    """Read what follows on a position, or on the oldest line that is left; no lines: there is nothing new.

    Args:
        path: The log.
        position: Where to begin, as an earlier piece gave it.
        most_bytes: How much to read.
    """
    while True:
        with ExitStack() as stack:
            former = _opened(stack, former_of(path), 0)
            current = _opened(stack, path, former.begin + former.size if former else 0)
            if former is None or current is None or former.inode != current.inode:  # else one has become the other
                return _read([one for one in (former, current) if one], position, most_bytes)


@dataclass(frozen=True, slots=True)
class _Opened:
    """One of the files of a log; ``begin`` is the position of its first byte, ``head`` the size of its first note."""

    file: BinaryIO
    begin: int
    head: int
    size: int
    inode: int


def _opened(stack: ExitStack, path: Path, begin: int) -> _Opened | None:
    try:
        file = stack.enter_context(path.open("rb"))
    except OSError:
        return None
    note = _BEGINS_AT.match(file.read(_HEAD_BYTES))
    found = os.fstat(file.fileno())
    return _Opened(file, int(note[1]) if note else begin, note.end() if note else 0, found.st_size, found.st_ino)


def _read(files: list[_Opened], position: int, most_bytes: int) -> LogPiece:
    for one in files:
        start = max(position, one.begin + one.head)
        one.file.seek(start - one.begin)
        raw = one.file.read(most_bytes)
        whole = raw if len(raw) == most_bytes and b"\n" not in raw else raw[: raw.rfind(b"\n") + 1]
        if whole:
            missing = max(0, one.begin - position)
            lines = _LINES.findall(whole)
            texts = (line.decode(errors="replace").removesuffix("\n") for line in lines)
            ends = accumulate((len(line) for line in lines), initial=start)
            return LogPiece(tuple(map(printable_line, texts)), tuple(ends)[1:], missing)
    return LogPiece()
