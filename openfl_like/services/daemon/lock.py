"""One daemon per directory."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from openfl_like.errors import ConflictError


def holder(directory: Path) -> int | None:
    """Return the process number of the daemon that works in a directory; None: none does."""
    with contextlib.suppress(FileNotFoundError), (directory / "lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            number = lock.read()
            return int(number) if number.isdecimal() else 0
    return None


@contextlib.contextmanager
def only_one(directory: Path, what: str) -> Iterator[None]:
    """Make a daemon's directory and hold its lock, which ends with the process, however that ends.

    Args:
        directory: The directory.
        what: What the daemon is called.

    Raises:
        ConflictError: If another one has it.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (directory / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            cure = "end that one first, or name another directory"
            raise ConflictError(f"another {what} uses this directory", place=str(directory), cure=cure) from None
        lock.write(str(os.getpid()))
        lock.flush()
        yield
