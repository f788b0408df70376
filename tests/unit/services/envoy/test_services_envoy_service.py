"""The Envoy: what it tells the Director of the experiments that it works for."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from offline_site import EXPERIMENT, OBEDIENT, SITE, FakeDirector, FakeStandby

from openfl_like.errors import UnreachableError
from openfl_like.federation.history.site import PartEnd
from openfl_like.federation.parties import DataProblem, ShardFacts
from openfl_like.federation.ports import (
    CollaboratorEnded,
    EnvoyReport,
    Heartbeat,
    Hello,
    IssuedCertificate,
    LeaveOrder,
    OrderReply,
    StopOrder,
    Welcome,
)
from openfl_like.federation.status import Status
from openfl_like.services.devices.monitors import Monitors
from openfl_like.services.envoy.record import SiteRecord
from openfl_like.services.envoy.service import MOST_ENDING, Envoy, EnvoySettings, EnvoySite
from openfl_like.services.envoy.shard_watch import signature
from openfl_like.tasks import background
from openfl_like.testing.stores import memory_stores

OFTEN_S = 0.01


async def test_an_experiment_that_is_being_stopped_is_one_that_the_site_works_for(tmp_path: Path) -> None:
    director, standby = FakeDirector(tmp_path), FakeStandby()
    shard, home = OBEDIENT / "shards" / "site-1.yaml", tmp_path / "site"
    home.mkdir()
    settings = EnvoySettings(SITE, "localhost:1", shard, director.envoy, home)
    facts = (ShardFacts((1,), ()),)
    record = SiteRecord(memory_stores().site(settings.files), settings.files)
    site = EnvoySite(facts, signature([shard]), Monitors([], home), record)
    envoy = Envoy(settings, site, lambda: None, director.connect, standby.as_standby)

    async def running() -> tuple[str, ...]:
        """What the site says next that it works for."""
        while director.reports.qsize():  # what was said before
            director.reports.get_nowait()
        beat = await director.hears(Heartbeat, heartbeats=True)
        assert isinstance(beat, Heartbeat)
        return beat.running

    async with asyncio.timeout(20), background(envoy.run()):
        await director.hears(Hello)
        director.instructions.put_nowait(Welcome(OFTEN_S))
        director.instructions.put_nowait(director.order)
        reply = await director.hears(OrderReply)
        assert isinstance(reply, OrderReply)
        director.instructions.put_nowait(IssuedCertificate(EXPERIMENT, director.certify(reply.csr)))
        await standby.started.wait()
        assert await running() == (EXPERIMENT,)
        director.instructions.put_nowait(StopOrder(EXPERIMENT, "cancelled by ada", Status.CANCELLED))
        await standby.child.stopping.wait()
        assert await running() == (EXPERIMENT,)
        standby.child.exit(0)
        await director.hears(CollaboratorEnded)
        assert await running() == ()
    (part,) = record.store.parts()
    assert (part.end, part.reason) == (PartEnd.CANCELLED, "cancelled by ada")


async def test_a_site_takes_no_more_orders_than_it_bears_and_a_few_that_are_about_to_end(tmp_path: Path) -> None:
    director, standby = FakeDirector(tmp_path), FakeStandby()
    shard, home = OBEDIENT / "shards" / "site-1.yaml", tmp_path / "site"
    home.mkdir()
    settings = EnvoySettings(SITE, "localhost:1", shard, director.envoy, home)
    record = SiteRecord(memory_stores().site(settings.files), settings.files)
    facts = (replace(ShardFacts((1,), ()), experiments_at_once=2),)
    site = EnvoySite(facts, signature([shard]), Monitors([], home), record)
    envoy = Envoy(settings, site, lambda: None, director.connect, standby.as_standby)
    most = 2 + MOST_ENDING
    async with asyncio.timeout(20), background(envoy.run()):
        await director.hears(Hello)
        director.instructions.put_nowait(Welcome(3600.0))
        for number in range(most + 1):
            director.instructions.put_nowait(replace(director.order, experiment=f"obedient-{number:08x}"))
        replies = [await director.hears(OrderReply) for _ in range(most + 1)]
    assert [isinstance(reply, OrderReply) and reply.accepted for reply in replies] == [True] * most + [False]
    last = replies[-1]
    assert isinstance(last, OrderReply)
    assert last.reason.startswith(f"this site works for {most} experiments already, and bears 2")
    assert not (home / f"obedient-{most:08x}").exists()


class OneEnvoy:
    """An Envoy whose data changes when the test says so.

    Args:
        directory: Where it works.
        director: Whom it attends.
    """

    def __init__(self, directory: Path, director: FakeDirector) -> None:
        shard, home = OBEDIENT / "shards" / "site-1.yaml", directory / "site"
        home.mkdir()
        settings = EnvoySettings(SITE, "localhost:1", shard, director.envoy, home)
        record = SiteRecord(memory_stores().site(settings.files), settings.files)
        site = EnvoySite((described("one"),), signature([shard]), Monitors([], home), record)
        self.envoy = Envoy(settings, site, lambda: None, director.connect, FakeStandby().as_standby)

    def changes(self, description: str) -> None:
        """Notices that the data is another."""
        watch = self.envoy._shards
        watch.facts = (described(description),)
        watch.changed()

    def finds(self, problem: DataProblem | None) -> None:
        """Notices that nobody can work on the data, or that it is as it was."""
        watch = self.envoy._shards
        watch.problem = problem
        watch.changed()


def described(description: str) -> ShardFacts:
    return ShardFacts((1,), (), description)


async def hears_of(director: FakeDirector) -> str:
    hello = await director.hears(Hello)
    assert isinstance(hello, Hello)
    return hello.shard.description


async def test_data_that_changes_before_the_director_has_answered_is_told_after_it_has(tmp_path: Path) -> None:
    director = FakeDirector(tmp_path)
    site = OneEnvoy(tmp_path, director)
    async with asyncio.timeout(20), background(site.envoy.run()):
        assert await hears_of(director) == "one"
        site.changes("two")
        director.instructions.put_nowait(Welcome(3600.0))
        assert await hears_of(director) == "two"


class DeafDirector(FakeDirector):
    """Its line takes no heartbeat until the test says so, and an Envoy's sender ends over that."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.deaf, self.missed = True, asyncio.Event()

    async def report(self, value: EnvoyReport) -> None:
        if self.deaf and isinstance(value, Heartbeat):
            self.missed.set()
            raise UnreachableError("the line is broken")
        await super().report(value)


async def test_what_the_data_was_like_in_a_lost_session_is_not_told_after_what_it_is_like_now(tmp_path: Path) -> None:
    director = DeafDirector(tmp_path)
    site = OneEnvoy(tmp_path, director)
    async with asyncio.timeout(20), background(site.envoy.run()):
        assert await hears_of(director) == "one"
        director.instructions.put_nowait(Welcome(OFTEN_S))
        await director.missed.wait()
        site.changes("two")
        site.changes("three")
        director.deaf = False
        director.ends_the_session()
        assert await hears_of(director) == "three"
        director.instructions.put_nowait(Welcome(OFTEN_S))
        for _ in range(3):
            assert isinstance(await director.reports.get(), Heartbeat)


async def test_what_is_wrong_with_the_data_is_told_in_every_session(tmp_path: Path) -> None:
    director = FakeDirector(tmp_path)
    site = OneEnvoy(tmp_path, director)
    async with asyncio.timeout(20), background(site.envoy.run()):
        assert await hears_of(director) == "one"
        site.finds(DataProblem())
        director.ends_the_session()
        hello = await director.hears(Hello)
    assert isinstance(hello, Hello)
    assert hello.problem == DataProblem()


async def test_no_order_is_taken_for_data_that_is_not_what_it_was_said_to_be(tmp_path: Path) -> None:
    director = FakeDirector(tmp_path)
    site = OneEnvoy(tmp_path, director)
    async with asyncio.timeout(20), background(site.envoy.run()):
        await director.hears(Hello)
        director.instructions.put_nowait(Welcome(3600.0))
        site.finds(DataProblem())
        told = await director.hears(Hello)
        director.instructions.put_nowait(director.order)
        refused = await director.hears(OrderReply)
        site.finds(None)
        mended = await director.hears(Hello)
        director.instructions.put_nowait(director.order)
        taken = await director.hears(OrderReply)
    assert isinstance(refused, OrderReply)
    assert isinstance(taken, OrderReply)
    assert (refused.accepted, taken.accepted) == (False, True)
    assert refused.reason == f"{DataProblem()} (ask whoever runs this site)"
    assert isinstance(told, Hello)
    assert isinstance(mended, Hello)
    assert (told.problem, mended.problem) == (DataProblem(), None)


async def test_an_envoy_that_is_told_to_leave_says_why_stays_away_and_comes_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    director, standby = FakeDirector(tmp_path), FakeStandby()
    shard, home = OBEDIENT / "shards" / "site-1.yaml", tmp_path / "site"
    home.mkdir()
    settings = EnvoySettings(SITE, "localhost:1", shard, director.envoy, home)
    record = SiteRecord(memory_stores().site(settings.files), settings.files)
    site = EnvoySite((ShardFacts((1,), ()),), signature([shard]), Monitors([], home), record)
    envoy = Envoy(settings, site, lambda: None, director.connect, standby.as_standby)
    async with asyncio.timeout(20), background(envoy.run()):
        await director.hears(Hello)
        director.instructions.put_nowait(Welcome(OFTEN_S))
        await director.hears(Heartbeat, heartbeats=True)
        began = asyncio.get_running_loop().time()
        director.instructions.put_nowait(LeaveOrder("new \x1b[31mdisks", 0.3))
        while director.reports.qsize():
            director.reports.get_nowait()
        await director.hears(Hello)
        assert asyncio.get_running_loop().time() - began >= 0.3
    (told,) = [record.getMessage() for record in caplog.records if "leave" in record.getMessage()]
    assert told.startswith("the director has us leave for 0.3 s: new ")
    assert "\x1b" not in told
    assert "connecting again" not in caplog.text
