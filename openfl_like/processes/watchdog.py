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


async def watch_child(
    child: Child, notes: Path | None = None, *, look_s: float = LOOK_S, frozen_s: float = FROZEN_S
) -> None:
    """Look at a child again and again until it ends; one that is frozen (SIGSTOP) for too long is killed.

    Args:
        child: Whom to look at.
        notes: File that lists it with all its descendants, for whoever comes after us.
        look_s: Seconds between two looks.
        frozen_s: Seconds that it may be frozen.
    """
    stopped_s, family = 0.0, frozenset[int]()
    while not await child.exits_within(look_s):
        stopped, found = await asyncio.to_thread(_look, child.process.pid)
        if notes is not None and found != family:
            family = found
            with contextlib.suppress(OSError):  # a full disk is for others to tell
                await asyncio.to_thread(note_processes, notes, found)
        stopped_s = stopped_s + look_s if stopped else 0.0
        if stopped_s >= frozen_s:
            log.warning("process %d has been frozen for %g s and is killed", child.process.pid, stopped_s)
            child.frozen = True
            child.kill()


async def note_descendants(notes: Path, *, look_s: float = LOOK_S) -> None:
    """List all who descend from this process in a file, again and again, for whoever comes after us."""
    family = frozenset[int]()
    while True:
        found = frozenset(await asyncio.to_thread(descendants))
        if found != family:
            family = found
            with contextlib.suppress(OSError):  # a full disk is for others to tell
                await asyncio.to_thread(note_processes, notes, found)
        await asyncio.sleep(look_s)


def _look(pid: int) -> tuple[bool, frozenset[int]]:
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).status() == psutil.STATUS_STOPPED, frozenset({pid, *descendants()})
    return False, frozenset({pid})
