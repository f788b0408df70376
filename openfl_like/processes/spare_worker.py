"""A worker that waits with its imports done, child of a Collaborator that itself still waits for its arguments.

Before its Collaborator has an experiment, the spare worker knows the names of the frameworks that the last experiment
at the site used, and its number of threads; it has no data and no code but our own. It is given to one experiment, or
is ended: never to another one. It is not used when the experiment wants another interpreter, a GPU (whose driver reads
the environment when it is first touched), another number of threads, or does not name what was imported.
"""

import asyncio
import json
import os
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from openfl_like.federation.devices.placement import CPU, environment_for
from openfl_like.processes.child import Child, clean_environment, spawn
from openfl_like.processes.worker import SPARE
from openfl_like.processes.worker_walls import worker_command

WARM = frozenset({"torch", "tensorflow", "sklearn"})
APART = frozenset({"torch", "tensorflow"})  # never both in one process that may not need both


@dataclass(frozen=True, slots=True)
class WarmUp:
    """What a spare worker does ahead.

    Attributes:
        frameworks: What it imports.
        threads: Threads that numeric libraries may use.
    """

    frameworks: frozenset[str] = frozenset()
    threads: int = 1

    @classmethod
    def of(cls, frameworks: Collection[str], threads: int) -> "WarmUp":
        """Return what suits the next experiment if it is like one that names these frameworks."""
        named = WARM.intersection(frameworks)
        return cls(named - APART if named >= APART else named, threads)

    @classmethod
    def read(cls, text: str) -> "WarmUp":
        """Read what `text` wrote; anything else is no reason to fail: then nothing of a framework is imported."""
        try:
            value = json.loads(text)
            return cls.of(
                [str(name) for name in value["frameworks"]], min(max(1, int(value["threads"])), os.cpu_count() or 1)
            )
        except (ValueError, TypeError, KeyError):
            return cls()

    def text(self) -> str:
        """Write it as a line of JSON."""
        return json.dumps({"frameworks": sorted(self.frameworks), "threads": self.threads})


def thread_limits(threads: int) -> dict[str, str]:
    """Return the environment variables that limit the threads of numeric libraries."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return dict.fromkeys(names, str(threads))


def environment_of(threads: int, extra: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a worker."""
    return clean_environment({**thread_limits(threads), **extra})


class SpareWorker:
    """The spare worker of this process, and the event loop that it was started in."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._child: Child | None = None
        self._warm_up = WarmUp()

    def start(self, warm_up: WarmUp, environment: Mapping[str, str]) -> None:
        """Start the worker; nothing else runs yet in this process.

        Args:
            warm_up: What it does ahead.
            environment: What it gets besides the environment of any worker on the CPU.
        """
        self._loop, self._warm_up = asyncio.new_event_loop(), warm_up
        command = worker_command(sys.executable, SPARE, *sorted(warm_up.frameworks))
        environment = environment_of(warm_up.threads, {**environment_for(CPU), **environment})
        self._child = self._loop.run_until_complete(spawn(command, environment=environment))

    def loop(self) -> asyncio.AbstractEventLoop:
        """Return the event loop to go on with: that in which the worker was started, else a new one."""
        return self._loop or asyncio.new_event_loop()

    async def take(self, named: Collection[str], threads: int) -> Child | None:
        """Return the worker if it suits; one that does not is ended.

        Args:
            named: Frameworks that the experiment names.
            threads: Threads that it wants.
        """
        child, self._child = self._child, None
        if child is None:
            return None
        warm_up = self._warm_up
        if child.process.returncode is None and warm_up.threads == threads and warm_up.frameworks <= {*named}:
            return child
        await child.stop(grace_s=0.0)
        return None


SPARE_WORKER = SpareWorker()


def moved(directory: Path, owner: Path) -> dict[str, object]:
    """Return the part of an order by which a worker that waited elsewhere comes to its experiment."""
    return {"directory": str(directory.resolve()), "owner": str(owner.resolve())}
