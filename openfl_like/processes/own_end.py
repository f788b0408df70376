"""The end of this very process while submitted code works in it: it is ours, or exit code 0 would mean nothing."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

_WAYS = ("_exit", "execv", "execve")
"""What every other function of `os` that ends or replaces a process comes down to."""


class EndOfProcessError(RuntimeError):
    """Code would have ended the process in which it is a guest."""


@contextmanager
def ended_by_us_alone() -> Iterator[None]:
    """Have `os._exit` and `os.exec…` raise in this process while the block is open; processes forked from it may."""
    ours, before = os.getpid(), {way: getattr(os, way) for way in _WAYS}
    for way, original in before.items():
        setattr(os, way, _refusing(way, original, ours))
    try:
        yield
    finally:
        for way, original in before.items():
            setattr(os, way, original)


def _refusing(way: str, original: Callable[..., NoReturn], ours: int) -> Callable[..., NoReturn]:
    def refuse(*arguments: object) -> NoReturn:
        if os.getpid() == ours:
            raise EndOfProcessError(f"os.{way} would have ended the whole simulation: all sites work in one process")
        original(*arguments)

    return refuse
