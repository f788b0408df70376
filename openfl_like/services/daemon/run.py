"""The life of a daemon: it runs until its work ends or it is asked to stop, and its parts fall together."""

import asyncio
import contextlib
import ctypes
import gc
import resource
import signal
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

from openfl_like.processes.subreaper import SUBREAPER
from openfl_like.tasks import TaskOwner, first_of

Result = TypeVar("Result")
OPEN_FILES = 65_536
MALLOC = {-8: 1, -3: 16 << 20, -1: 64 << 20}
"""M_ARENA_MAX: pools; M_MMAP_THRESHOLD: what is always given back; M_TRIM_THRESHOLD: how much is kept at most."""


def allow_many_connections() -> None:
    """Raise the limit of open files as far as we may: each connection is one, and many systems begin with 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def keep_freed_memory() -> None:
    """Have the C library keep what was freed for the next frame, in one pool instead of one per thread.

    Frames of a MiB pass through many threads. Left alone, the library gives most of them back to the kernel and gets
    them again, cleared; that is a tenth of the work of a transfer, and more memory.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc only
    if mallopt is not None:
        for parameter, value in MALLOC.items():
            mallopt(parameter, value)


async def until_signalled(work: Coroutine[Any, Any, Result]) -> Result | None:
    """Run the work; SIGTERM or SIGINT cancels it, and then None is returned."""
    task = TaskOwner().start(work)
    stopped = asyncio.Event()

    def stop() -> None:
        stopped.set()
        task.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        return await task
    except asyncio.CancelledError:
        if stopped.is_set():
            return None
        raise
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def parent_gone() -> None:
    """Wait until the parent process has closed our standard input, as it does when it dies."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.read(4096):
        pass


async def live(work: Coroutine[Any, Any, Result], *, parent: bool) -> Result | None:
    """Run a daemon's work until it ends, a signal comes or, with ``parent``, the parent process dies."""
    gc.freeze()  # what was imported stays: the collector need not look through it again and again
    keep_freed_memory()
    SUBREAPER.open()
    return await until_signalled(with_parent(work) if parent else work)


async def with_parent(work: Coroutine[Any, Any, Result]) -> Result | None:
    """Run the work; the death of the parent process cancels it, and then None is returned."""
    ended: dict[str, Result | None] = await first_of(work=work, parent=parent_gone())
    return ended.get("work")
