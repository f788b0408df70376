"""The archive format of bundles and checkpoints: plain ustar with every header field but name and size fixed.

The reader accepts only that form: it builds each header anew and compares it byte by byte, so that links, devices,
extended headers, odd numbers and whatever else tar can say do not exist here. Sizes are counted as they are read.
"""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from openfl_like.errors import BundleError
from openfl_like.plan.names import MAX_ENTRIES, MAX_TOTAL_BYTES, PLAN_NAME, NameSet, rule_against

BLOCK = tarfile.BLOCKSIZE
END = b"\0" * (2 * BLOCK)
_COPY_BYTES = 1024 * 1024
_TYPES = {
    b"\0": "an old-style file",
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"5": "a directory",
    b"6": "a named pipe",
    b"7": "a contiguous file",
    b"D": "a GNU directory dump",
    b"K": "a GNU long link",
    b"L": "a GNU long name",
    b"M": "a part of a multi-volume archive",
    b"N": "an old GNU long name",
    b"S": "a sparse file",
    b"V": "a volume label",
    b"X": "an extended header",
    b"g": "a pax header",
    b"x": "a pax header",
}


def header_of(path: str, size: int) -> bytes:
    """The one header of a file: everything but name and size is fixed.

    Raises:
        ValueError: If ustar cannot hold the name (100 characters, and 155 before a slash).
    """
    info = tarfile.TarInfo(path)
    info.size = size
    info.mode = 0o644
    return info.tobuf(format=tarfile.USTAR_FORMAT, encoding="ascii", errors="strict")


@dataclass(frozen=True, slots=True)
class Kind:
    """What an archive is for.

    Attributes:
        name: What it is called in messages.
        first: The entry that must come first.
        most_bytes: The most that its files may have in all.
        most_entries: The most files that may be in it.
    """

    name: str
    first: str
    most_bytes: int
    most_entries: int = MAX_ENTRIES


BUNDLE = Kind("bundle", PLAN_NAME, MAX_TOTAL_BYTES)


class ArchiveReader:
    """Reads an archive entry by entry.

    Args:
        file: The archive, at its beginning.
        place: Its name, for messages.
        kind: What it is an archive of.
    """

    def __init__(self, file: BinaryIO, place: str, kind: Kind) -> None:
        self._file = file
        self._place = place
        self._kind = kind
        self._names = NameSet(kind.most_entries)
        self._total = 0

    def entries(self) -> Iterator[tuple[str, int]]:
        """Yield path and size of every file; the caller reads its content before the next one.

        Raises:
            BundleError: At the first thing that no bundle has; the message names entry and rule.
        """
        last = ""
        while (header := self._read(BLOCK, "the next header")) != END[:BLOCK]:
            path, size = self._checked(header)
            first = self._kind.first
            if not last and path != first:
                raise self._refusal(path, f"the first entry must be {first}")
            if last and last != first and path < last:
                raise self._refusal(path, f"it stands after '{last}', which is not the order of a {self._kind.name}")
            last = path
            yield path, size
        if not last:
            raise self._refusal("", "the archive is empty")
        if self._file.read(BLOCK + 1) != END[BLOCK:]:
            raise self._refusal("", "after the last entry come other bytes than one block of zeros")

    def content(self, path: str, size: int) -> Iterator[bytes]:
        """Yield the bytes of the entry whose header was read last."""
        left = size
        while left:
            piece = self._read(min(left, _COPY_BYTES), f"the content of '{path}'")
            left -= len(piece)
            yield piece
        padding = self._read(-size % BLOCK, f"the padding of '{path}'")
        if padding.strip(b"\0"):
            raise self._refusal(path, "the padding after it is not zero")

    def _checked(self, header: bytes) -> tuple[str, int]:
        path = _text(header[345:500], header[0:100])
        if header[257:265] != b"ustar\x0000":
            raise self._refusal(path, "it has no ustar header")
        kind = header[156:157]
        if kind != b"0":
            raise self._refusal(path, f"it is {_TYPES.get(kind, 'of an unknown type')}, not a regular file")
        rule = rule_against(path) or self._names.add(path)
        if rule:
            raise self._refusal(path, rule)
        digits = header[124:135]
        if not digits.isdigit() or b"8" in digits or b"9" in digits:
            raise self._refusal(path, "its size is not an octal number of eleven digits")
        size = int(digits, 8)
        self._total += size
        if self._total > self._kind.most_bytes:
            raise self._refusal(path, f"with it the {self._kind.name} holds more than {self._kind.most_bytes} bytes")
        if header != _expected(path, size):
            what = f"its header is not the one that a {self._kind.name} has"
            raise self._refusal(path, f"{what} (mode, owner, time, name or checksum)")
        return path, size

    def _read(self, size: int, what: str) -> bytes:
        data = self._file.read(size)
        if len(data) != size:
            raise self._refusal("", f"it ends within {what}")
        return data

    def _refusal(self, path: str, rule: str) -> BundleError:
        entry = f"the entry {path[:300]!r}" if path else f"the {self._kind.name}"
        return BundleError(f"{entry} is refused: {rule}", place=self._place)


def _text(prefix: bytes, name: bytes) -> str:
    """The path of a header, for the rules to judge; bytes beyond ASCII stay visible."""
    parts = [part.partition(b"\0")[0].decode("ascii", "backslashreplace") for part in (prefix, name)]
    return "/".join(part for part in parts if part)


def _expected(path: str, size: int) -> bytes:
    try:
        return header_of(path, size)
    except ValueError:
        return b""
