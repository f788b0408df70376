"""The event bus: live events from memory, older ones from the store, so a listener that comes late misses nothing."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from itertools import takewhile

from openfl_like.federation.announcements import (
    Announced,
    AssignmentSent,
    ModelMade,
    RoundFinished,
    RoundStarted,
    UpdateReceived,
)
from openfl_like.federation.reports.progress import TaskProgressed
from openfl_like.federation.task import DevicesWorked
from openfl_like.federation.validation.scoring import UpdatesScored

RECENT = 1024
MOST_AT_ONCE, MOST_BYTES = 256, 1 << 20
"""So many events are handed on together, and about so many bytes of them: well below what a message may have."""
PAUSE_S = 0.1
"""Listeners are woken once in so long: with short rounds, waking them for each event would cost more than the round."""
ROUTINE = frozenset(
    {RoundStarted, AssignmentSent, UpdateReceived, UpdatesScored, ModelMade, DevicesWorked, RoundFinished}
)
"""What comes round after round and may wait for the end of a pause; everything else is told at once."""

CallLater = Callable[[float, Callable[[], None]], object]


def _on_the_loop(delay_s: float, callback: Callable[[], None]) -> object:
    return asyncio.get_running_loop().call_later(delay_s, callback)


def batched(events: Sequence[Announced]) -> Iterator[list[Announced]]:
    """Cut events into lists that fit into a message; one that is larger alone has a list of its own."""
    batch, size = list[Announced](), 0
    for event in events:
        own = len(event.fields_json.encode())
        if batch and (len(batch) == MOST_AT_ONCE or size + own > MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(event)
        size += own
    if batch:
        yield batch


class EventBus:
    """Gives the events of one experiment to any number of listeners.

    Args:
        read: Gives the committed events after a sequence number; called on a thread.
        call_later: Calls back after so many seconds.
    """

    def __init__(self, read: Callable[[int], list[Announced]], call_later: CallLater = _on_the_loop) -> None:
        self._read = read
        self._call_later = call_later
        self._recent: deque[Announced] = deque(maxlen=RECENT)
        self._news = asyncio.Event()
        self._closed = False
        self._pausing = False
        self._due = False
        self._shown = 0
        self._live: dict[str, tuple[int, Announced]] = {}

    def show(self, told: TaskProgressed, now: float) -> None:
        """Tell those listeners who want progress how far a task is; of each site they get the newest, at their pace.

        It has the sequence number 0, and is gone when nobody listens.

        Args:
            told: What a site tells.
            now: Seconds since the epoch.
        """
        self._shown += 1
        self._live[told.collaborator] = self._shown, Announced(0, now, told)
        if self._pausing:
            self._due = True
        else:
            self._wake()

    def publish(self, events: Sequence[Announced]) -> None:
        """Tell listeners what the store has just committed: at once, or in a moment if they were told something."""
        self._recent.extend(events)
        if self._pausing and all(type(event.announcement) in ROUTINE for event in events):
            self._due = True
        else:
            self._wake()

    def close(self) -> None:
        """Say that there will be no more news: listeners end when they have read all."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
        self._due = False
        if not (self._pausing or self._closed):
            self._pausing = True
            self._call_later(PAUSE_S, self._end_pause)

    def _end_pause(self) -> None:
        self._pausing = False
        if self._due:
            self._wake()

    async def tail(self, after: int = 0, *, progress: bool = False) -> AsyncIterator[Announced]:
        """Yield the events after a sequence number, then new ones as they are committed, until the bus is closed.

        With ``progress`` also what is shown, see `show`.
        """
        async for events in self.batches(after, progress=progress):
            for event in events:
                yield event

    async def batches(self, after: int = 0, *, progress: bool = False) -> AsyncIterator[list[Announced]]:
        """Yield what `tail` gives, as many events at a time as there are by then, up to `MOST_AT_ONCE`."""
        for events in batched(await asyncio.to_thread(self._read, after)):
            after = events[-1].sequence
            yield events
        shown = self._shown
        while True:
            news, closed = self._news, self._closed
            for events in batched(await self._newer(after)):
                after = events[-1].sequence
                yield events
            if closed:
                return
            if progress and shown < self._shown:
                live = [event for number, event in self._live.values() if number > shown]
                shown = self._shown
                for events in batched(live):
                    yield events
                continue  # something may have happened meanwhile
            await news.wait()

    async def _newer(self, after: int) -> list[Announced]:
        if self._recent and self._recent[0].sequence > after + 1:
            return await asyncio.to_thread(self._read, after)
        newest_first = takewhile(lambda event: event.sequence > after, reversed(self._recent))
        return list(newest_first)[::-1]
