"""Long-lived sessions without a network: what a peer reports, and what it is told."""

import asyncio
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

Report = TypeVar("Report")
Instruction = TypeVar("Instruction")


class FakeSession(Generic[Report, Instruction]):
    """Both ends of a session, for whoever holds one: `MailboxRuntime.participate`, `Roster.attend`.

    ``reports`` and ``send`` go to the holder; the test is the peer: it says `report` and reads `instruction`.
    """

    def __init__(self, *first: Report) -> None:
        self._up: asyncio.Queue[Report | None] = asyncio.Queue()
        self._down: asyncio.Queue[Instruction] = asyncio.Queue()
        self._broken: Exception | None = None
        for value in first:
            self.report(value)

    def report(self, value: Report) -> None:
        """The peer reports something."""
        self._up.put_nowait(value)

    def hang_up(self) -> None:
        """The peer has nothing more to report: its connection is gone."""
        self._up.put_nowait(None)

    def refuse(self, error: Exception) -> None:
        """From now on ``send`` raises this error, as it does when the peer is gone."""
        self._broken = error

    async def instruction(self) -> Instruction:
        """Wait for the next instruction that the peer is sent."""
        return await self._down.get()

    @property
    def unread(self) -> int:
        """How many instructions the peer has not read yet."""
        return self._down.qsize()

    @property
    def reports(self) -> AsyncIterator[Report]:
        """What the holder reads."""
        return self._reports()

    async def send(self, value: Instruction) -> None:
        """What the holder sends with."""
        if self._broken is not None:
            raise self._broken
        self._down.put_nowait(value)

    async def _reports(self) -> AsyncIterator[Report]:
        while (value := await self._up.get()) is not None:
            yield value
