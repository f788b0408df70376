"""The queue at work: what runs at once, what goes on when something ends, fails or is stopped; nothing is a process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from openfl_like.errors import ConflictError, FederationError, StorageError
from openfl_like.federation.parties import (
    EnvoyRecord,
    ExperimentSummary,
    Outcome,
    ShardFacts,
    Waiting,
    WaitKind,
)
from openfl_like.federation.status import Status
from openfl_like.federation.supervision.scheduler import Scheduler
from openfl_like.plan.digest import freeze
from openfl_like.plan.schema import Admission
from openfl_like.services.director.disk_space import DiskSpace
from openfl_like.services.director.dispatch import Dispatcher
from openfl_like.services.director.run import RunningExperiment
from openfl_like.store.director_files import DirectorFiles
from openfl_like.store.ports import StoredExperiment
from openfl_like.tasks import background
from openfl_like.testing.faults.checkpoint_moves import PLAN
from openfl_like.testing.stores import MemoryDirectorStore, memory_stores

FINE = Outcome(Status.FINISHED, "all rounds")


class FakeRun:
    """An experiment that ends when the test says how."""

    waiting = Waiting(WaitKind.ENVOYS, envoys=("bern",), more=1)

    def __init__(self) -> None:
        self.end: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    async def run(self) -> Outcome:
        return await self.end


class FakeRoster:
    """Sites that are there from the beginning."""

    def __init__(self, *names: str) -> None:
        self.names, self.recounts, self.interface = names, 0, ""

    def records(self) -> list[EnvoyRecord]:
        shard = ShardFacts((1,), (), interface=self.interface)
        return [EnvoyRecord(name, online=True, last_seen=1.0, shard=shard) for name in self.names]

    async def recount(self) -> None:
        self.recounts += 1


class RoomAgain(DiskSpace):
    """A disk that has room again at once."""

    async def wait(self) -> None:
        await asyncio.sleep(0)


class FakeDirector:
    """Carries experiments out in the head."""

    def __init__(self, directory: Path, places: int, *sites: str) -> None:
        self.files = DirectorFiles(directory)
        self.store = MemoryDirectorStore()
        self.roster = FakeRoster(*sites)
        self.runs: dict[str, FakeRun] = {}
        self.prepared: list[str] = []
        self.refuses: list[Exception] = []
        self.dispatcher = Dispatcher(
            self.store,
            memory_stores(),
            self.files.experiment,
            lambda experiment: experiment[0],
            self.roster,
            RoomAgain(list),
            self,
            Scheduler(places),
        )

    def prepare(self, summary: ExperimentSummary) -> RunningExperiment:
        self.prepared.append(summary.id)
        self.dispatcher.tell()
        if self.refuses:
            raise self.refuses.pop(0)
        self.store.set_status(summary.id, Status.RUNNING, "", 2.0)
        self.runs[summary.id] = FakeRun()
        return cast("RunningExperiment", self.runs[summary.id])

    async def finish(self, experiment: str, outcome: Outcome) -> ExperimentSummary:
        summary = self.store.set_status(experiment, outcome.status, outcome.reason, 3.0)
        self.dispatcher.wake()
        return summary

    def submit(self, name: str, *sites: str, status: Status = Status.QUEUED, interface: str | None = None) -> None:
        plan = PLAN.model_copy(update={"admission": Admission(collaborators=sites), "interface": interface})
        files = self.files.experiment(name)
        files.prepare()
        files.plan.write_bytes(freeze(plan))
        summary = ExperimentSummary(name, "digits", status, "", name[0], 1.0)
        self.store.add(name, StoredExperiment(summary, "cd" * 32, b"", b""))
        self.dispatcher.wake()

    async def until(self, *running: str) -> None:
        """Waits until these experiments run, and no others."""
        async with asyncio.timeout(5):
            while {name for name, run in self.runs.items() if not run.end.done()} != set(running):
                await self.dispatcher.news().wait()

    def waiting(self, name: str) -> Waiting | None:
        return self.dispatcher.described(self.store.experiment(name).summary)

    def status(self, name: str) -> Status:
        return self.store.experiment(name).summary.status


@asynccontextmanager
async def working(director: FakeDirector) -> AsyncIterator[FakeDirector]:
    async with background(director.dispatcher.work()):
        yield director


async def test_what_suits_runs_at_once_and_the_next_one_when_there_is_room(tmp_path: Path) -> None:
    director = FakeDirector(tmp_path, 2, "bern", "oslo", "rome")
    director.submit("ada-1", "bern", "oslo")
    director.submit("ada-2", "oslo")
    director.submit("bob-1", "rome")
    async with working(director):
        await director.until("ada-1", "bob-1")
        recounts = director.roster.recounts
        assert director.waiting("ada-2") == Waiting(WaitKind.PLACE, running=2, places=2)
        assert director.waiting("ada-1") is None
        director.runs["bob-1"].end.set_result(FINE)
        async with asyncio.timeout(5):
            while director.waiting("ada-2") != Waiting(WaitKind.SITE, "oslo", "ada-1"):
                await director.dispatcher.news().wait()
        director.runs["ada-1"].end.set_result(FINE)
        await director.until("ada-2")
        assert director.roster.recounts == recounts + 2
    assert director.status("ada-2") is Status.RUNNING  # the Director was stopped, which ends nothing


async def test_one_that_has_its_turn_and_waits_for_envoys_says_so_until_it_runs(tmp_path: Path) -> None:
    async with working(FakeDirector(tmp_path, 1)) as director:
        director.submit("ada-1", "bern")
        await director.until("ada-1")
        found = [
            director.dispatcher.described(director.store.set_status("ada-1", status, "", 2.0))
            for status in (Status.STARTING, Status.RUNNING)
        ]
        assert found == [FakeRun.waiting, None]


async def test_those_that_had_begun_come_first(tmp_path: Path) -> None:
    director = FakeDirector(tmp_path, 2, "bern", "oslo")
    director.submit("ada-1", "bern")
    director.submit("bob-1", "oslo", status=Status.STARTING)
    director.submit("cleo-1", "bern", status=Status.RUNNING)
    async with working(director):
        await director.until("bob-1", "cleo-1")


async def test_one_that_was_cancelled_in_the_queue_is_forgotten(tmp_path: Path) -> None:
    director = FakeDirector(tmp_path, 1, "bern")
    for name in ("ada-1", "ada-2", "ada-3"):
        director.submit(name)
    async with working(director):
        await director.until("ada-1")
        await director.finish("ada-2", Outcome(Status.CANCELLED, "cancelled by ada"))
        director.runs["ada-1"].end.set_result(FINE)
        await director.until("ada-3")
    assert director.prepared == ["ada-1", "ada-3"]


@pytest.mark.parametrize("error", [StorageError("no room"), None])
async def test_one_that_finds_no_room_keeps_its_place_and_goes_on_when_there_is(
    tmp_path: Path, error: StorageError | None
) -> None:
    director = FakeDirector(tmp_path, 1, "bern")
    director.refuses = [] if error is None else [error]
    director.submit("ada-1")
    director.submit("bob-1")
    async with working(director):
        await director.until("ada-1")
        if error is None:
            director.runs["ada-1"].end.set_exception(StorageError("no room"))
            async with asyncio.timeout(5):
                while director.prepared != ["ada-1", "ada-1"]:
                    await director.dispatcher.news().wait()
    assert director.prepared == ["ada-1", "ada-1"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConflictError("of a newer version"), "the director cannot read its record: of a newer version"),
        (None, "the director cannot run it: no ports"),
    ],
)
async def test_one_that_cannot_be_run_fails_and_the_queue_goes_on(
    tmp_path: Path, error: FederationError | None, reason: str
) -> None:
    director = FakeDirector(tmp_path, 1, "bern")
    director.refuses = [] if error is None else [error]
    director.submit("ada-1")
    director.submit("bob-1")
    async with working(director):
        if error is None:
            await director.until("ada-1")
            director.runs["ada-1"].end.set_exception(FederationError("no ports"))
        await director.until("bob-1")
    failed = director.store.experiment("ada-1").summary
    assert (failed.status, failed.reason) == (Status.FAILED, reason)


async def test_a_defect_ends_the_director_instead_of_losing_an_experiment(tmp_path: Path) -> None:
    director = FakeDirector(tmp_path, 1, "bern")
    director.refuses = [RuntimeError("a defect")]
    director.submit("ada-1")
    async with asyncio.timeout(5):
        with pytest.raises(RuntimeError, match="a defect"):
            await director.dispatcher.work()
    assert director.status("ada-1") is Status.QUEUED


async def test_a_plan_that_cannot_be_read_holds_up_nothing(tmp_path: Path) -> None:
    director = FakeDirector(tmp_path, 1, "bern")
    director.submit("ada-1", "bern")
    director.files.experiment("ada-1").plan.unlink()
    async with working(director):
        await director.until("ada-1")  # whoever runs it finds out


async def test_a_site_that_comes_to_bear_more_is_used(tmp_path: Path) -> None:
    director = FakeDirector(tmp_path, 2, "bern")
    director.submit("ada-1", "bern")
    director.submit("bob-1", "bern")
    async with working(director):
        await director.until("ada-1")
        more = [replace(one, shard=replace(one.shard, experiments_at_once=2)) for one in director.roster.records()]
        director.roster.records = lambda: more  # type: ignore[method-assign] # the site has connected again
        director.dispatcher.wake()
        await director.until("ada-1", "bob-1")


async def test_one_that_was_removed_while_it_waited_for_room_has_gone_and_the_queue_goes_on(tmp_path: Path) -> None:
    director, full, room = FakeDirector(tmp_path, 1, "bern"), asyncio.Event(), asyncio.Event()

    class Full(DiskSpace):
        async def wait(self) -> None:
            full.set()
            await room.wait()

    director.dispatcher.disk_space = Full(list)
    director.refuses = [StorageError("no room")]
    director.submit("ada-1")
    director.submit("bob-1")
    async with working(director):
        await full.wait()
        await director.finish("ada-1", Outcome(Status.CANCELLED, "cancelled by ada"))
        director.store.remove("ada-1")
        room.set()
        await director.until("bob-1")
    assert director.prepared == ["ada-1", "bob-1"]


async def test_one_that_is_removed_while_it_is_queued_is_never_run(tmp_path: Path) -> None:
    director = FakeDirector(tmp_path, 2, "bern")

    def owner(experiment: str) -> str:
        if experiment == "ada-1":  # meanwhile
            director.store.set_status("ada-1", Status.CANCELLED, "cancelled by ada", 2.0)
            director.store.remove("ada-1")
        director.store.require(experiment)
        return experiment[0]

    director.dispatcher.owner = owner
    director.submit("ada-1")
    director.submit("bob-1")
    async with working(director):
        await director.until("bob-1")
    assert director.prepared == ["bob-1"]


async def test_whoever_gathers_looks_again_when_the_queue_knows_what_a_new_site_has(tmp_path: Path) -> None:
    director = FakeDirector(tmp_path, 1)
    director.submit("ada-1", interface="tables")
    async with working(director):
        await director.until("ada-1")
        director.roster.interface, director.roster.names = "tables", ("bern",)
        takes, told = list[bool](), asyncio.Event()

        async def recount() -> None:
            takes.append(director.dispatcher.scheduler.takes("ada-1", "bern"))
            told.set()

        director.roster.recount = recount  # type: ignore[method-assign] # whoever gathers would look now
        director.dispatcher.wake()
        async with asyncio.timeout(5):
            await told.wait()
    assert takes == [True]
