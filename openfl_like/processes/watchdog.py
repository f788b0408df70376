"""What is seen of a child from outside: whether it is frozen, and whom it has started."""

import asyncio
import contextlib
import logging
from pathlib import Path

import psutil

from openfl_like.processes.child import Child
from openfl_like.processes.ownership import descendants, note_processes

log = logging.getLogger(__name__)
LOOK_S = 2.0
FROZEN_S = 12.0


async def watch_child(child: Child, notes: Path | None = None) -> None:
    """Look at a child every two seconds until it ends; one that is frozen (SIGSTOP) for twelve is killed.

    Args:
        child: Whom to look at.
        notes: File that lists it with all its descendants, for whoever comes after us.
    """
    frozen_s, family = 0.0, frozenset[int]()
    while not await child.exits_within(LOOK_S):
        stopped, found = await asyncio.to_thread(_look, child.process.pid)
        if notes is not None and found != family:
            family = found
            with contextlib.suppress(OSError):  # a full disk is for others to tell
                await asyncio.to_thread(note_processes, notes, found)
        frozen_s = frozen_s + LOOK_S if stopped else 0.0
        if frozen_s >= FROZEN_S:
            log.warning("process %d has been frozen for %g s and is killed", child.process.pid, frozen_s)
            child.frozen = True
            child.kill()


def _look(pid: int) -> tuple[bool, frozenset[int]]:
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).status() == psutil.STATUS_STOPPED, frozenset({pid, *descendants()})
    return False, frozenset({pid})
