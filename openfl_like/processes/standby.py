"""A process that has done the imports of the next child and waits for its arguments."""

import asyncio
import contextlib
import json
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from openfl_like.processes.child import Child, clean_environment, spawn
from openfl_like.processes.ownership import owner_tag
from openfl_like.tasks import TaskOwner


class Standby:
    """Keeps a child at hand that has the imports of a command behind it and waits for its arguments.

    Python needs up to a second for them, and an experiment would wait for that at its Director and again at every site.

    Args:
        noun: The ``fx`` command to be run: ``aggregator`` or ``collaborator``.
        owner: The directory of the daemon that starts it, by which its next one finds what was left behind.
    """

    def __init__(self, noun: str, owner: Path | None = None) -> None:
        self._command = [sys.executable, "-P", "-m", "openfl_like.cli.standby", noun]
        self._environment = clean_environment(owner_tag(owner) if owner is not None else None)
        self._tasks = TaskOwner()
        self._spare: asyncio.Task[Child] | None = None

    def prepare(self, *ahead: str) -> None:
        """Start the next child if there is none at hand.

        Args:
            ahead: What it is told to do besides its imports while it waits.
        """
        if self._spare is None:
            self._spare = self._tasks.start(spawn([*self._command, *ahead], environment=self._environment))

    async def start(self, arguments: Sequence[str], on_line: Callable[[str], None]) -> Child:
        """Have the child at hand, or a new one, run its command.

        Args:
            arguments: What follows the noun.
            on_line: Gets every line of its stderr.
        """
        self.prepare()
        child = await self._take()
        if child.process.returncode is not None:  # somebody has ended it meanwhile
            self.prepare()
            child = await self._take()
        child.on_line = on_line
        assert child.process.stdin is not None  # noqa: S101 (always piped)
        with contextlib.suppress(ConnectionError):  # its end shows when it is waited for
            child.process.stdin.write(json.dumps(arguments).encode() + b"\n")
            await child.process.stdin.drain()
        return child

    async def close(self) -> None:
        """End the child at hand."""
        if self._spare is not None:
            spare = await self._take()
            spare.orphans = logging.DEBUG  # the worker that it has at hand, which has run nothing of anybody
            await spare.stop(grace_s=0.0)

    async def _take(self) -> Child:
        assert self._spare is not None  # noqa: S101 (prepared before)
        spare, self._spare = self._spare, None
        return await spare
