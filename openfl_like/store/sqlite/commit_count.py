"""The mark beside a database: how many durable transactions it must have, so that a lost one is noticed.

SQLite goes on without a word where a write-ahead log is cut or damaged, or a database is empty: what was in it is gone.
The database counts its durable transactions (``user_version``), and after each one the count is written beside it.
A mark is never ahead of its database, whatever is killed; a database that is behind its mark has lost something.
"""

import logging
import os
import zlib
from contextlib import suppress
from pathlib import Path

log = logging.getLogger(__name__)


def mark_of(database: Path) -> Path:
    """Where the mark of a database is."""
    return database.with_name(f"{database.name}-mark")


def read_mark(path: Path) -> int:
    """Return the count; 0 if there is none, or none that can be read: then it protects nothing, and is written anew."""
    try:
        text = path.read_bytes()
    except OSError:
        return 0
    count, _, check = text.strip(b"\0\n").partition(b" ")
    if count.isdigit() and check == _check(count):
        return int(count)
    if text.strip(b"\0\n"):
        log.warning("%s is damaged; it is written anew", path)
    return 0


def write_mark(path: Path, count: int) -> None:
    """Write the count; a full disk is no reason against a transaction that is on disk already."""
    text = b"%020d" % count
    with suppress(OSError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(descriptor, text + b" " + _check(text) + b"\n", 0)
        finally:
            os.close(descriptor)


def _check(count: bytes) -> bytes:
    return b"%08x" % zlib.crc32(count)
