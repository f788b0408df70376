"""The event bus: whoever listens, from whatever point, gets every event once and in order."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from openfl_like.events.bus import MOST_BYTES, PAUSE_S, RECENT, EventBus, batched
from openfl_like.federation.announcements import (
    Announced,
    Announcement,
    AssignmentSent,
    CollaboratorAdmitted,
    ExperimentEnded,
    RoundFinished,
    RoundStarted,
    UnknownAnnouncement,
    UpdateReceived,
    UpdateRefused,
)
from openfl_like.federation.reports.progress import TaskProgressed
from openfl_like.federation.status import Status
from openfl_like.federation.task import Phase

TICK = UnknownAnnouncement("tick")
ROUND_STARTED, ROUND_FINISHED = RoundStarted(1), RoundFinished(1, "d1")
ASSIGNMENT_SENT, UPDATE_RECEIVED = AssignmentSent(1, Phase.TRAIN, "a"), UpdateReceived(1, Phase.TRAIN, "a")


class History:
    """A store with as many events as were committed."""

    def __init__(self) -> None:
        self.events: list[Announced] = []
        self.reads: list[int] = []

    def commit(self, count: int = 1, announcement: Announcement = TICK) -> list[Announced]:
        start = len(self.events)
        new = [Announced(number, 0.0, announcement) for number in range(start + 1, start + 1 + count)]
        self.events += new
        return new

    def read(self, after: int) -> list[Announced]:
        self.reads.append(after)
        return self.events[after:]


class Timer:
    """Calls back when the test says so."""

    def __init__(self) -> None:
        self.waiting: list[tuple[float, Callable[[], None]]] = []

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> None:
        self.waiting.append((delay_s, callback))

    def end_pause(self) -> None:
        ((delay_s, callback),) = self.waiting
        assert delay_s == PAUSE_S
        self.waiting = []
        callback()


@pytest.fixture
def history() -> History:
    return History()


@pytest.fixture
def timer() -> Timer:
    return Timer()


@pytest.fixture
def bus(history: History, timer: Timer) -> EventBus:
    return EventBus(history.read, timer.call_later)


async def take(stream: AsyncIterator[Announced], count: int) -> list[int]:
    async with asyncio.timeout(5):
        return [(await anext(stream)).sequence for _ in range(count)]


async def rest(stream: AsyncIterator[Announced]) -> list[int]:
    async with asyncio.timeout(5):
        return [event.sequence async for event in stream]


def numbers(events: Sequence[Announced]) -> list[int]:
    return [event.sequence for event in events]


async def test_a_listener_gets_history_and_then_what_happens(history: History, bus: EventBus) -> None:
    bus.publish(history.commit(2))
    stream = bus.tail()
    assert await take(stream, 2) == [1, 2]
    waiting = asyncio.create_task(take(stream, 3))
    await asyncio.sleep(0)
    bus.publish(history.commit())
    bus.publish(history.commit(2))
    assert await waiting == [3, 4, 5]


def far(site: str, batches: int) -> TaskProgressed:
    return TaskProgressed(1, Phase.TRAIN, site, "train", batches=batches)


async def test_how_far_tasks_are_is_told_to_those_who_ask_and_only_the_newest(
    history: History, bus: EventBus, timer: Timer
) -> None:
    bus.show(far("bern", 1), 5.0)
    asking, plain = bus.tail(progress=True), bus.tail()
    bus.publish(history.commit(1))
    assert (await take(asking, 1), await take(plain, 1)) == ([1], [1])
    hearing = asyncio.create_task(take(asking, 2))
    await asyncio.sleep(0)
    for batches in (2, 3, 4):
        bus.show(far("bern", batches), 6.0)
    bus.publish(history.commit(1, UpdateRefused(1, Phase.TRAIN, "bern", "")))
    assert await hearing == [2, 0]
    bus.show(far("bern", 5), 7.0)
    bus.show(far("chur", 1), 7.0)
    timer.end_pause()
    async with asyncio.timeout(5):
        found = [await anext(asking), await anext(asking)]
    assert [event.announcement for event in found] == [far("bern", 5), far("chur", 1)]
    bus.close()
    assert (await rest(asking), await rest(plain)) == ([], [2])


async def test_whoever_listens_late_is_not_told_how_far_tasks_were(history: History, bus: EventBus) -> None:
    bus.show(far("bern", 1), 5.0)
    bus.publish(history.commit(1))
    bus.close()
    assert await rest(bus.tail(progress=True)) == [1]


async def test_a_listener_begins_where_it_wants(history: History, bus: EventBus) -> None:
    bus.publish(history.commit(5))
    bus.close()
    assert await rest(bus.tail(after=3)) == [4, 5]
    assert await rest(bus.tail(after=5)) == []


async def test_who_comes_after_a_restart_gets_what_only_the_store_has(history: History, bus: EventBus) -> None:
    history.commit(3)
    bus.publish(history.commit())
    bus.close()
    assert await rest(bus.tail()) == [1, 2, 3, 4]


async def test_what_is_committed_while_the_history_is_read_is_not_missed(history: History, timer: Timer) -> None:
    def read(after: int) -> list[Announced]:
        found = history.events[after:]
        listened_to.publish(history.commit())  # between the reading and the listening
        return found

    listened_to = EventBus(read, timer.call_later)
    history.commit(2)
    assert await take(listened_to.tail(), 3) == [1, 2, 3]


async def test_a_slow_listener_falls_back_on_the_store(history: History, bus: EventBus) -> None:
    bus.publish(history.commit())
    stream = bus.tail()
    assert await take(stream, 1) == [1]
    for _ in range(RECENT + 50):
        bus.publish(history.commit())
    bus.close()
    assert await rest(stream) == numbers(history.events)[1:]


async def test_live_events_need_no_reading(history: History, bus: EventBus) -> None:
    bus.publish(history.commit())
    stream = bus.tail()
    await take(stream, 1)
    for _ in range(20):
        bus.publish(history.commit())
        await take(stream, 1)
    assert history.reads == [0]


async def test_every_listener_gets_everything(history: History, bus: EventBus) -> None:
    listening = [asyncio.create_task(rest(bus.tail(after=start))) for start in range(4)]
    await asyncio.sleep(0)
    for count in (1, 3, 2):
        bus.publish(history.commit(count))
        await asyncio.sleep(0)
    bus.close()
    for start, listener in enumerate(listening):
        assert await listener == list(range(start + 1, 7))


async def test_close_ends_who_waits_and_who_comes(history: History, bus: EventBus) -> None:
    waiting = asyncio.create_task(rest(bus.tail()))
    await asyncio.sleep(0)
    bus.close()
    assert await waiting == []
    assert await rest(bus.tail()) == []


async def test_the_last_events_before_the_close_are_not_lost(history: History, bus: EventBus) -> None:
    waiting = asyncio.create_task(rest(bus.tail()))
    await asyncio.sleep(0)
    bus.publish(history.commit(2))
    bus.close()
    assert await waiting == [1, 2]


async def test_a_listener_that_goes_away_disturbs_nobody(history: History, bus: EventBus) -> None:
    gone, stays = asyncio.create_task(rest(bus.tail())), asyncio.create_task(rest(bus.tail()))
    await asyncio.sleep(0)
    gone.cancel()
    bus.publish(history.commit())
    bus.close()
    assert await stays == [1]


async def listen(stream: AsyncIterator[list[Announced]], tell: Callable[[list[int]], None]) -> None:
    async for events in stream:
        tell(numbers(events))


async def settle() -> None:
    """Lets listeners take what they were woken for."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
async def heard(bus: EventBus, history: History) -> AsyncIterator[list[list[int]]]:
    """What a listener was told so far, a list for each time."""
    told: list[list[int]] = []
    history.commit()
    stream = bus.batches()
    assert numbers(await anext(stream)) == [1]
    listener = asyncio.create_task(listen(stream, told.append))
    await settle()
    yield told
    bus.close()
    await listener


async def test_the_first_of_many_events_is_told_at_once_and_the_others_together_in_a_moment(
    history: History, bus: EventBus, timer: Timer, heard: list[list[int]]
) -> None:
    for announcement in (ROUND_STARTED, ASSIGNMENT_SENT, UPDATE_RECEIVED):
        bus.publish(history.commit(1, announcement))
        await settle()
    assert heard == [[2]]
    timer.end_pause()
    await settle()
    assert heard == [[2], [3, 4]]


async def test_who_was_told_something_late_waits_again_for_what_comes_then(
    history: History, bus: EventBus, timer: Timer, heard: list[list[int]]
) -> None:
    for _ in range(3):
        bus.publish(history.commit(2, UPDATE_RECEIVED))
        await settle()
        bus.publish(history.commit(1, ROUND_FINISHED))
        await settle()
        timer.end_pause()
        await settle()
    assert heard == [[2, 3], [4], [5, 6, 7], [8, 9, 10]]


async def test_after_a_quiet_pause_an_event_is_told_at_once(
    history: History, bus: EventBus, timer: Timer, heard: list[list[int]]
) -> None:
    for expected in ([[2]], [[2], [3]]):
        bus.publish(history.commit(1, ROUND_FINISHED))
        await settle()
        assert heard == expected
        timer.end_pause()


@pytest.mark.parametrize(
    "announcement",
    [CollaboratorAdmitted("a"), UpdateRefused(1, Phase.TRAIN, "a", "late"), ExperimentEnded(Status.FINISHED)],
    ids=lambda announcement: announcement.kind,
)
async def test_what_is_not_routine_does_not_wait_and_takes_with_it_what_waits(
    history: History, bus: EventBus, timer: Timer, heard: list[list[int]], announcement: Announcement
) -> None:
    bus.publish(history.commit(1, ROUND_STARTED))
    await settle()
    bus.publish(history.commit(1, ASSIGNMENT_SENT))
    bus.publish(history.commit(1, announcement))
    await settle()
    assert heard == [[2], [3, 4]]
    timer.end_pause()
    await settle()
    assert heard == [[2], [3, 4]]
    assert timer.waiting == []


async def test_the_end_does_not_wait_for_a_pause(
    history: History, bus: EventBus, timer: Timer, heard: list[list[int]]
) -> None:
    bus.publish(history.commit(1, ROUND_STARTED))
    await settle()
    bus.publish(history.commit(2, ROUND_FINISHED))
    bus.close()
    await settle()
    assert heard == [[2], [3, 4]]
    timer.end_pause()  # nobody listens any more


def test_events_are_cut_by_their_bytes_so_that_each_list_fits_into_a_message() -> None:
    large = UnknownAnnouncement("tick", {"text": "x" * (MOST_BYTES // 3)})
    events = History().commit(8, large)
    found = list(batched(events))
    assert [event for batch in found for event in batch] == events
    assert [len(batch) for batch in found] == [2, 2, 2, 2]


def test_an_event_that_is_larger_than_a_list_may_be_is_alone() -> None:
    history = History()
    history.commit(1)
    history.commit(1, UnknownAnnouncement("tick", {"text": "x" * (2 * MOST_BYTES)}))
    history.commit(1)
    assert [len(batch) for batch in batched(history.events)] == [1, 1, 1]
