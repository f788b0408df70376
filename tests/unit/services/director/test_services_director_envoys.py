"""The roster: who is let in, who is there, and when somebody is given up."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from openfl_like.errors import ConflictError, NotFoundError, ShardMismatchError, UnreachableError, UsageError
from openfl_like.federation.parties import (
    DataProblem,
    DeviceStatistics,
    ExperimentSummary,
    Interface,
    LogLines,
    ShardFacts,
    Validity,
)
from openfl_like.federation.ports import (
    CollaboratorEnded,
    EnvoyInstruction,
    EnvoyReport,
    Heartbeat,
    Hello,
    LeaveOrder,
    Order,
    OrderReply,
    StopOrder,
    Welcome,
)
from openfl_like.federation.status import Status
from openfl_like.services.director import envoys as roster
from openfl_like.services.director.envoys import EnvoyRoster
from openfl_like.services.director.settings import DirectorFile, LeaveSection
from openfl_like.store.ports import StoredExperiment
from openfl_like.testing.sessions import FakeSession
from openfl_like.testing.stores import MemoryDirectorStore

FACTS = ShardFacts((8, 8), (), "digits")
HELLO = Hello(FACTS, "0.1.0")
SETTINGS = DirectorFile(sample_shape=(8, 8), target_shape=(), heartbeat_s=3600, state=Path("unused"))

Session = FakeSession[EnvoyReport, EnvoyInstruction]


class Director:
    """A roster, what it passed on, and the sessions it holds."""

    def __init__(self, settings: DirectorFile = SETTINGS) -> None:
        self.store = MemoryDirectorStore()
        self.answers: asyncio.Queue[object] = asyncio.Queue()
        self.roster = EnvoyRoster(settings, self.store, self.take, self.answers.put_nowait)
        self.held: dict[str, asyncio.Task[None]] = {}

    async def take(self, site: str, answer: OrderReply | CollaboratorEnded) -> None:
        self.answers.put_nowait((site, answer))

    async def connect(self, name: str) -> Session:
        session = Session(HELLO)
        self.held[name] = asyncio.create_task(self.roster.attend(name, session.reports, session.send))
        assert await session.instruction() == Welcome(self.roster.settings.heartbeat_s)
        return session

    async def next(self) -> object:
        async with asyncio.timeout(5):
            return await self.answers.get()

    async def close(self) -> None:
        for task in self.held.values():
            task.cancel()
        await asyncio.gather(*self.held.values(), return_exceptions=True)
        self.store.close()


@pytest.fixture
async def director() -> AsyncIterator[Director]:
    found = Director()
    yield found
    await found.close()


async def refused(director: Director, name: str, hello: EnvoyReport) -> Exception:
    session = Session(hello)
    with pytest.raises((ShardMismatchError, ConflictError, UsageError)) as caught:
        await director.roster.attend(name, session.reports, session.send)
    assert session.unread == 0
    return caught.value


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        (
            replace(FACTS, sample_shape=(13,)),
            "the shard of 'bern' has the sample shape [13], this federation's is [8, 8] "
            "(change the shard descriptor, or sample_shape in director.yaml)",
        ),
        (
            replace(FACTS, target_shape=(2,)),
            "the shard of 'bern' has the target shape [2], this federation's is [] "
            "(change the shard descriptor, or target_shape in director.yaml)",
        ),
    ],
    ids=["sample", "target"],
)
async def test_another_shape_is_refused_with_both_shapes(director: Director, facts: ShardFacts, message: str) -> None:
    error = await refused(director, "bern", Hello(facts, "0.1.0"))
    assert isinstance(error, ShardMismatchError)
    assert str(error) == message
    assert director.roster.online() == ()
    assert await director.roster.envoys() == []


async def test_a_second_envoy_of_the_same_name_is_refused_and_the_first_stays(director: Director) -> None:
    first = await director.connect("bern")
    refusing = asyncio.create_task(refused(director, "bern", HELLO))
    assert await first.instruction() == Welcome(3600)  # it is asked whether it is still there
    first.report(Heartbeat(DeviceStatistics()))
    error = await refusing
    assert isinstance(error, ConflictError)
    assert "an envoy named 'bern' is already connected" in str(error)
    assert "its key was copied" in str(error)
    director.roster.send("bern", StopOrder("e1", "end"))
    assert await first.instruction() == StopOrder("e1", "end")


async def test_a_session_that_does_not_answer_any_more_makes_room_for_the_next_one(director: Director) -> None:
    director.roster.probe_s = 0.01
    await director.connect("bern")
    former = director.held["bern"]
    second = await director.connect("bern")
    with pytest.raises(ConflictError, match="'bern' has connected again"):
        await former
    assert director.roster.online() == ("bern",)
    director.roster.send("bern", StopOrder("e1", "end"))
    assert await second.instruction() == StopOrder("e1", "end")


async def test_a_site_is_told_to_stop_what_is_not_wanted_any_more(director: Director) -> None:
    order = StopOrder("e1", "no sites", Status.FAILED)
    director.roster.stop_order = lambda experiment: order if experiment == "e1" else None
    session = await director.connect("bern")
    session.report(Heartbeat(DeviceStatistics(), ("e1", "e2")))
    session.report(Heartbeat(DeviceStatistics(), ("e2",)))
    assert await session.instruction() == order
    session.report(OrderReply("e2", accepted=True))
    assert await director.next() == ("bern", OrderReply("e2", accepted=True))
    assert session.unread == 0


async def test_a_session_begins_with_hello(director: Director) -> None:
    assert isinstance(await refused(director, "bern", Heartbeat(DeviceStatistics())), UsageError)


async def test_who_is_there_is_seen_and_who_was_there_is_remembered(director: Director) -> None:
    bern, _ = await director.connect("bern"), await director.connect("zurich")
    assert director.roster.online() == ("bern", "zurich")
    bern.hang_up()
    await director.held["bern"]
    assert director.roster.online() == ("zurich",)
    assert [(record.name, record.online) for record in await director.roster.envoys()] == [
        ("bern", False),
        ("zurich", True),
    ]
    await director.connect("bern")
    assert director.roster.online() == ("bern", "zurich")


async def test_an_envoy_that_is_lost_while_it_is_welcomed_can_come_back(director: Director) -> None:
    session = Session(HELLO)
    session.refuse(UnreachableError("gone"))
    with pytest.raises(UnreachableError):
        await director.roster.attend("bern", session.reports, session.send)
    assert director.roster.online() == ()
    await director.connect("bern")


async def test_data_that_has_changed_is_in_the_roster_and_in_memory_and_the_session_goes_on(director: Director) -> None:
    told: list[str] = []
    director.roster.on_arrival = lambda: told.append("look at the queue")
    bern = await director.connect("bern")
    grown = replace(FACTS, description="more digits", schema={"counts": {"train": 7}}, experiments_at_once=2)
    bern.report(Hello(grown, "0.1.0"))
    bern.report(OrderReply("e1", accepted=True))
    await director.next()
    (record,) = await director.roster.envoys()
    assert (record.shard, record.online) == (grown, True)
    assert told == ["look at the queue"] * 2  # the site has come, and bears more
    assert [envoy.shard for envoy in director.store.envoys()] == [grown]
    bern.report(Hello(replace(FACTS, sample_shape=(13,)), "0.1.0"))
    with pytest.raises(ShardMismatchError):
        await director.held["bern"]


async def test_code_goes_to_those_who_were_asked_to_run_it_and_to_nobody_who_knows_its_id(director: Director) -> None:
    summary = ExperimentSummary("e1", "digits", Status.QUEUED, "", "ada", 1.0)
    director.store.add("00ff", StoredExperiment(summary, "ab" * 32, b"", b""))
    bern, _ = await director.connect("bern"), await director.connect("zurich")
    order = Order("e1", "ab" * 32, b"", b"", "localhost:1")
    with pytest.raises(NotFoundError):
        await director.roster.bundle_file("bern", "e1")
    director.roster.send("bern", order)
    assert await bern.instruction() == order
    assert (await director.roster.bundle_file("bern", "e1")).parent.name == "e1"
    for name, experiment in (("zurich", "e1"), ("bern", "e2")):
        with pytest.raises(NotFoundError, match=f"there is no experiment '{experiment}'"):
            await director.roster.bundle_file(name, experiment)
    director.roster.forget("e1")  # it was removed, and its id may be taken by another one
    assert not director.roster.was_asked("bern", "e1")
    with pytest.raises(NotFoundError):
        await director.roster.bundle_file("bern", "e1")


async def test_a_heartbeat_brings_the_state_of_the_machine(director: Director) -> None:
    bern = await director.connect("bern")
    devices = DeviceStatistics(cpu_percent=50.0, cpu_count=2)
    bern.report(Heartbeat(devices, ("e1",)))
    bern.report(OrderReply("e1", accepted=True))
    await director.next()
    (record,) = await director.roster.envoys()
    assert (record.devices, record.running, record.online) == (devices, ("e1",), True)


async def test_one_envoy_is_told_with_its_certificate_and_what_its_machine_was(director: Director) -> None:
    now = 1_800_000_000.0
    director.roster.now = lambda: now
    session = Session(HELLO)
    certificate = Validity(1_700_000_000.0, 1_900_000_000.0)
    held = asyncio.create_task(director.roster.attend("bern", session.reports, session.send, certificate))
    await session.instruction()
    assert (await director.roster.envoy("bern")).history == ()
    for percent in (10.0, 20.0):
        now += 30
        session.report(Heartbeat(DeviceStatistics(cpu_percent=percent), ("e1",)))
        session.report(OrderReply("e1", accepted=True))
        await director.next()
    found = await director.roster.envoy("bern")
    assert (found.record.online_since, found.record.certificate_ends) == (1_800_000_000.0, 1_900_000_000.0)
    assert found.record.version == HELLO.version
    assert (found.record.last_seen, found.record.running) == (now, ("e1",))
    hour, day = found.history
    assert (hour.times, hour.values) == ((now - 30, now), {"cpu_percent": (10.0, 20.0)})
    assert day.values == {"cpu_percent": (15.0,)}
    session.hang_up()
    await held
    gone = await director.roster.envoy("bern")
    assert (gone.record.online, gone.record.online_since, gone.record.certificate_ends) == (False, None, None)
    assert gone.record.version == ""
    assert gone.history == found.history  # what is known of it stays while the Director runs


async def test_a_site_that_was_revoked_is_told_until_it_comes_with_a_newer_certificate(director: Director) -> None:
    lists: dict[str, int] = {}
    director.roster.falls = lambda name, number: number < lists.get(name, 0)

    async def attend(number: int) -> list[bool]:
        session = Session(HELLO)
        certificate = Validity(0.0, 1_900_000_000.0, number)
        held = asyncio.create_task(director.roster.attend("bern", session.reports, session.send, certificate))
        await session.instruction()
        there = await director.roster.envoys()
        session.hang_up()
        await held
        return [one.revoked for one in (*there, *await director.roster.envoys())]

    await director.connect("zurich")
    assert await attend(2) == [False, False, False, False]
    lists["bern"] = 3
    assert [one.revoked for one in await director.roster.envoys()] == [True, False]
    assert (await director.roster.envoy("bern")).record.revoked
    assert await attend(3) == [False, False, False, False]


async def test_why_a_site_refuses_orders_is_in_the_roster_while_it_lasts(
    director: Director, caplog: pytest.LogCaptureFixture
) -> None:
    bern = await director.connect("bern")
    problem = DataProblem(Interface("", (8, 8), ()), Interface("", (13,), ()))
    found = []
    for told in (problem, None):
        bern.report(Hello(FACTS, "0.1.0", problem=told))
        bern.report(OrderReply("e1", accepted=True))
        await director.next()
        found += [record.problem for record in await director.roster.envoys()]
    assert found == [problem, None]
    (warning,) = [item.getMessage() for item in caplog.records if item.levelname == "WARNING"]
    assert warning == f"envoy 'bern' refuses orders: {problem}"


async def test_certificates_of_envoys_that_end_soon_are_told_the_next_one_first(director: Director) -> None:
    now, day = 1_800_000_000.0, 86_400.0
    director.roster.now = lambda: now

    async def attend(name: str, lasted_days: float, left_days: float) -> None:
        session = Session(HELLO)
        certificate = Validity(now - lasted_days * day, now + left_days * day)
        director.held[name] = asyncio.create_task(
            director.roster.attend(name, session.reports, session.send, certificate)
        )
        await session.instruction()

    await director.connect("unknown")
    await attend("new", 10, 300)
    await attend("brief", 0.1, 0.9)  # of a day: it is renewed in time
    await attend("late", 350, 13)
    await attend("last", 360, 0.5)
    assert director.roster.warnings() == (
        "the certificate of envoy 'last' ends on 2027-01-15 20:00 UTC: renew it at the site",
        "the certificate of envoy 'late' ends on 2027-01-28 08:00 UTC: renew it at the site",
    )
    for number in range(roster.MOST_NAMES):
        await attend(f"site-{number}", 360, 5)
    assert director.roster.warnings()[-1] == "the certificates of 2 more envoys end soon"
    assert len(director.roster.warnings()) == roster.MOST_NAMES + 1


async def test_an_envoy_that_never_was_is_told_with_those_that_were(director: Director) -> None:
    with pytest.raises(NotFoundError, match=r"there is no envoy 'bern' \(known: none yet\)"):
        await director.roster.envoy("bern")
    for name in ("bern", "basel", "zurich"):
        await director.connect(name)
    with pytest.raises(NotFoundError, match=r"'oslo' \(known: basel, bern, zurich\)"):
        await director.roster.envoy("oslo")
    with pytest.raises(NotFoundError, match=r"\(did you mean 'bern'\? known: basel, bern, zurich\)"):
        await director.roster.envoy("berne")
    director.roster.most_names = 2
    with pytest.raises(NotFoundError, match=r"\(known: basel, bern and 1 more\)"):
        await director.roster.envoy("oslo")


async def test_missed_heartbeats_end_the_session() -> None:
    director = Director(SETTINGS.model_copy(update={"heartbeat_s": 0.025}))
    session = Session(HELLO)
    with pytest.raises(ConflictError, match=r"no heartbeat came from 'bern' for 0\.1 s"):
        await director.roster.attend("bern", session.reports, session.send)
    assert director.roster.online() == ()
    await director.close()


async def test_each_envoy_sends_fewer_heartbeats_when_there_are_many(director: Director) -> None:
    usual = SETTINGS.heartbeat_s
    director.roster.heartbeats_per_s = 4 / usual
    first, *_ = [await director.connect(f"site-{number}") for number in range(4)]
    assert first.unread == 0
    fifth = Session(HELLO)
    director.held["fifth"] = asyncio.create_task(director.roster.attend("fifth", fifth.reports, fifth.send))
    assert await first.instruction() == await fifth.instruction() == Welcome(2 * usual)
    for number in range(4):
        director.held[f"site-{number}"].cancel()
    async with asyncio.timeout(5):
        while (found := await fifth.instruction()) != Welcome(usual):
            assert found == Welcome(2 * usual)


async def test_answers_and_lines_are_passed_on_with_the_name_of_the_certificate(director: Director) -> None:
    bern = await director.connect("bern")
    bern.report(CollaboratorEnded("e1", 1, "exit code 1"))
    assert await director.next() == ("bern", CollaboratorEnded("e1", 1, "exit code 1"))
    bern.report(LogLines("e1", "zurich", ("not by zurich",)))
    assert await director.next() == LogLines("e1", "bern", ("not by zurich",))


async def test_who_has_an_order_works_until_it_says_that_it_has_done(director: Director) -> None:
    changes: list[list[str]] = []
    director.roster.on_change = lambda: changes.append(director.roster.working("e1"))
    bern, zurich = await director.connect("bern"), await director.connect("zurich")
    director.roster.send("bern", Order("e1", "", b"", b"", ""))
    assert director.roster.working("e1") == ["bern"]
    zurich.report(OrderReply("e1", accepted=True))
    assert await director.next() == ("zurich", OrderReply("e1", accepted=True))
    assert director.roster.working("e1") == ["bern", "zurich"]
    bern.report(OrderReply("e1", accepted=False, reason="no"))
    await director.next()
    zurich.report(CollaboratorEnded("e1", 0))
    await director.next()
    assert changes == [["zurich"], []]
    bern.report(Heartbeat(DeviceStatistics(), ("e1",)))
    bern.report(LogLines("e1", "bern", ("still here",)))
    await director.next()
    assert director.roster.working("e1") == ["bern"]
    director.held["bern"].cancel()
    await asyncio.gather(director.held["bern"], return_exceptions=True)
    assert changes == [["zurich"], [], []]


async def test_an_instruction_for_somebody_absent_is_lost(director: Director) -> None:
    director.roster.send("bern", StopOrder("e1", "end"))
    bern = await director.connect("bern")
    assert bern.unread == 0


async def test_waiting_for_enough(director: Director) -> None:
    waiting = asyncio.create_task(director.roster.until(lambda names: len(names) == 2, 5.0))
    await director.connect("bern")
    assert not waiting.done()
    await director.connect("zurich")
    assert await waiting


async def test_waiting_ends_with_the_time(director: Director) -> None:
    assert not await director.roster.until(lambda _: False, 0.0)


async def test_those_who_come_later_are_noticed(director: Director) -> None:
    await director.connect("bern")
    arriving = asyncio.create_task(director.roster.arrivals({1}))
    await asyncio.sleep(0)
    await director.connect("zurich")
    async with asyncio.timeout(5):
        assert await arriving == {2: "zurich"}


async def test_whoever_stops_the_server_waits_until_every_session_is_remembered(director: Director) -> None:
    async with director.roster.outlasting():
        await director.connect("bern")
        director.held["bern"].cancel()  # as the server does with its calls, which end a moment later
    assert not (await director.roster.envoys())[0].online


async def test_envoys_are_told_when_to_come_back_and_their_sessions_end(director: Director) -> None:
    settings = SETTINGS.model_copy(update={"leave": LeaveSection(retry_after_s=600, message="new disks")})
    async with asyncio.timeout(5), director.roster.outlasting(settings.leave_order):
        sessions = [await director.connect(name) for name in ("bern", "chur")]
    assert [await session.instruction() for session in sessions] == [LeaveOrder("new disks", 600.0)] * 2
    assert director.roster.online() == ()


def test_nobody_is_told_to_leave_unless_the_settings_say_so() -> None:
    assert SETTINGS.leave_order is None
