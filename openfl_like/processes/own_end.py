"""The end of this very process while submitted code works in it: it is ours, or exit code 0 would mean nothing."""

import os
import posix
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

_WAYS = ("_exit", "execv", "execve")
"""What every other function of `os` that ends or replaces a process comes down to; `posix` has the same by itself."""


class EndOfProcessError(RuntimeError):
    """Code would have ended the process in which it is a guest."""


@contextmanager
def ended_by_us_alone() -> Iterator[None]:
    """Have `os._exit` and `os.exec…` raise in this process while the block is open; processes forked from it may."""
    ours = os.getpid()
    before = [(module, way, getattr(module, way)) for module in (os, posix) for way in _WAYS]
    for module, way, original in before:
        setattr(module, way, _refusing(way, original, ours))
    try:
        yield
    finally:
        for module, way, original in before:
            setattr(module, way, original)


@contextmanager
def terminated_like_interrupted() -> Iterator[None]:
    """Have SIGTERM raise KeyboardInterrupt while the block is open, so that what has to be tidied up is."""
    if threading.current_thread() is not threading.main_thread():  # where no handler can be set
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _refusing(way: str, original: Callable[..., NoReturn], ours: int) -> Callable[..., NoReturn]:
    def refuse(*arguments: object) -> NoReturn:
        if os.getpid() == ours:
            raise EndOfProcessError(f"os.{way} would have ended the whole simulation: all sites work in one process")
        original(*arguments)

    return refuse
