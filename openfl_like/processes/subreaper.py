"""Processes that our children leave behind come to us, and are ended with the child.

A program may start another one twice removed, in a session of its own, with another environment: no process group and
no mark finds it. But the kernel gives an orphan to the nearest ancestor that asked for it (Linux only; elsewhere
nothing is done here).
"""

import asyncio
import contextlib
import ctypes
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psutil

from openfl_like.tasks import TaskOwner

log = logging.getLogger(__name__)
PR_SET_CHILD_SUBREAPER = 36
PASSES = 50
PASS_S = 0.2


class Subreaper:
    """The orphans of this process; one that has not asked for them gets none and ends none.

    Children that were started before it asked are known as its own, too.
    """

    def __init__(self) -> None:
        self._ours: set[int] = set()
        self._lock: asyncio.Lock | None = None
        self._reaping = TaskOwner()

    def open(self) -> None:
        """Have the kernel give us the orphans among our descendants."""
        prctl = getattr(ctypes.CDLL(None), "prctl", None)
        if prctl is not None and prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0:
            self._lock = asyncio.Lock()

    @asynccontextmanager
    async def spawning(self) -> AsyncIterator[set[int]]:
        """While a child is started nobody is looked for: it is not known yet. Its number goes into the set."""
        async with self._lock or contextlib.nullcontext():
            yield self._ours

    async def reap(self, ended: int, level: int = logging.WARNING) -> None:
        """End whatever a child that has ended left behind.

        Args:
            ended: Number of the child.
            level: Of the line in the log that tells of it.
        """
        self._ours.discard(ended)
        if self._lock is None:
            return
        reaping = self._reaping.start(self._reap(self._lock, ended, level))
        await asyncio.shield(reaping)  # its thread cannot be stopped, and no child may be born meanwhile

    async def _reap(self, lock: asyncio.Lock, ended: int, level: int) -> None:
        async with lock:
            found = await asyncio.to_thread(self._end_all)
        if found:
            log.log(level, "killed what process %d left behind: %s", ended, ", ".join(map(str, sorted(found))))

    def _end_all(self) -> set[int]:
        """End orphans, and those that come to us when their parents end."""
        found: set[int] = set()
        for _ in range(PASSES):
            orphans = self._orphans()
            if not orphans:
                break
            for orphan in orphans:
                found.add(orphan.pid)
                _kill_tree(orphan)
            psutil.wait_procs(orphans, timeout=PASS_S)
        return found

    def _orphans(self) -> list[psutil.Process]:
        """Children that we have not started: ours are known, or share our session as tools that we call do."""
        session = os.getsid(0)
        found = []
        for child in psutil.Process().children():
            with contextlib.suppress(OSError):
                if child.pid not in self._ours and os.getsid(child.pid) != session:
                    found.append(child)
        return found


def _kill_tree(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.Error):
        tree = [*process.children(recursive=True), process]
        for one in tree:
            with contextlib.suppress(psutil.Error):
                one.kill()


SUBREAPER = Subreaper()
