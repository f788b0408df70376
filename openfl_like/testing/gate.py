"""A gate at which the tasks of an experiment wait until a test opens it: tests steer a round, they never race it.

A task runner calls `pass_gate` when it begins an assignment. The test keeps the `Gate`: it says how far which site may
go, and is told who waits where. A site whose worker, Collaborator, Envoy or Director was killed comes to the same gate
with the same assignment; what is open stays open. No byte of a model depends on it.

    async with Gate(plan.seed, ["site-1", "site-2"]) as gate:
        gate.open(through=7)
        experiment = await submit(plan, gate.setting)
        await gate.arrived(8)                    # round 7 is done, both begin to train in round 8 and stay there
        gate.open(8, "site-1")                   # now only site-2 does
"""

import asyncio
import os
import socket
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from openfl_like.federation.seeds import assignment_seed
from openfl_like.federation.task import Phase
from openfl_like.tasks import TaskOwner

MOST_ROUNDS = 200
_IN_ROUND = (Phase.TRAIN, Phase.CROSS_EVALUATE, Phase.EVALUATE)
_OPEN = b"!"


def pass_gate(address: str, seed: int) -> None:
    """Wait until an assignment may be worked on; a task runner calls it in its ``begin``.

    Args:
        address: The gate's address, from a setting of the task runner; empty: there is none, and nobody waits.
        seed: Of the assignment, by which the gate knows round, site and phase.

    Raises:
        OSError: If nobody keeps the gate any more, or it does not know the assignment.
    """
    if not address:
        return
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(address)
        line.sendall(f"{seed} {os.getpid()}\n".encode())
        if line.recv(1) != _OPEN:
            raise ConnectionResetError(
                f"the gate at {address} is gone, or does not know this assignment: its seed, its site or its round"
            )


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A process that waits at the gate."""

    pid: int
    site: str
    place: tuple[int, int]  # the round, and the phase in it
    line: asyncio.StreamWriter


class Gate:
    """Where one experiment's sites wait; an async context manager, shut at first.

    Args:
        seed: The plan's.
        sites: Everybody who may come.
    """

    def __init__(self, seed: int, sites: Iterable[str]) -> None:
        self._sites = tuple(sites)
        self._assignments = {
            assignment_seed(seed, number, site, phase): (site, (number, place))
            for number in range(1, MOST_ROUNDS + 1)
            for site in self._sites
            for place, phase in enumerate(_IN_ROUND)
        }
        self._open = dict.fromkeys(self._sites, (0, 0))
        self._waiting: set[_Waiting] = set()
        self._tasks = TaskOwner()
        self._lines: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._news = asyncio.Event()
        self._folder = tempfile.TemporaryDirectory(prefix="fx-gate-")  # an address must be short

    @property
    def address(self) -> str:
        """Where it is: what `pass_gate` wants."""
        return str(Path(self._folder.name, "gate"))

    @property
    def setting(self) -> str:
        """The override by which a plan's task runner gets the address as its setting ``gate``."""
        return f"task_runner.settings.gate={self.address}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._connected, self.address)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for line in self._lines.values():
            line.close()
        await asyncio.gather(*self._lines, return_exceptions=True)
        self._folder.cleanup()

    def open(self, through: int, *sites: str, phase: Phase = Phase.EVALUATE) -> None:
        """Open it for good, for these sites or all, through a phase of a round."""
        for site in sites or self._sites:
            self._open[site] = max(self._open[site], (through, _IN_ROUND.index(phase)))
        for waiting in list(self._waiting):
            self._let_through(waiting)

    def open_all(self) -> None:
        """Open it for everybody and every round."""
        self.open(MOST_ROUNDS)

    async def arrived(self, number: int, *sites: str, phase: Phase = Phase.TRAIN, former: int = 0) -> dict[str, int]:
        """Wait until these sites, or all, wait at the gate in this phase of a round.

        Args:
            number: The round.
            sites: Who; nobody named: all.
            phase: The phase.
            former: A process that is not meant, because it was killed: its next one is waited for.

        Returns:
            Site -> the process that waits.
        """
        place = number, _IN_ROUND.index(phase)
        while True:
            there = {item.site: item.pid for item in self._waiting if item.place == place and item.pid != former}
            if there.keys() >= set(sites or self._sites):
                return there
            await self._news.wait()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving = self._tasks.start(self._serve(reader, writer))
        self._lines[serving] = writer
        serving.add_done_callback(self._lines.pop)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seed, pid = map(int, (await reader.readline()).split())
        if seed in self._assignments:
            waiting = _Waiting(pid, *self._assignments[seed], writer)
            self._waiting.add(waiting)
            self._let_through(waiting)
            self._news.set()
            self._news = asyncio.Event()
            with suppress(ConnectionError):
                await reader.read()  # until it was let through, or is dead
            self._waiting.discard(waiting)
        writer.close()

    def _let_through(self, waiting: _Waiting) -> None:
        if waiting.place <= self._open[waiting.site]:
            self._waiting.discard(waiting)
            waiting.line.write(_OPEN)
