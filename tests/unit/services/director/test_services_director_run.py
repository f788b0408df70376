"""How the Director carries out what the rules of an experiment ask for; the Aggregators here never come to listen."""

import asyncio
import errno
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import cast

import pytest

from openfl_like.errors import CredentialError, StorageError, UnreachableError
from openfl_like.federation.announcements import Announced, Announcement, ExperimentEnded
from openfl_like.federation.parties import ExperimentSummary, LogLines, Outcome, Waiting, WaitKind
from openfl_like.federation.ports import (
    CollaboratorEnded,
    EnvoyInstruction,
    IssuedCertificate,
    Order,
    OrderReply,
    StopOrder,
)
from openfl_like.federation.status import Status
from openfl_like.federation.supervision.experiment_run import OBJECTIONS, RunStep
from openfl_like.pki.authority import Authority, new_key_and_csr
from openfl_like.pki.files import save_credentials
from openfl_like.processes.child import Child
from openfl_like.processes.standby import Standby
from openfl_like.services.director import aggregator_process
from openfl_like.services.director.envoys import EnvoyRoster
from openfl_like.services.director.run import RunContext, RunningExperiment
from openfl_like.services.director.settings import DirectorFile
from openfl_like.services.director.trust import TrustUpkeep
from openfl_like.store.ports import ExperimentStore, StoredExperiment
from openfl_like.store.sqlite.stores import SQLITE
from openfl_like.tensors.manifest import file_digest
from openfl_like.testing.faults.checkpoint_moves import EXPERIMENT, OfflineDirector
from openfl_like.wire.aggregator import AggregatorClient


def stop(outcome: Outcome) -> StopOrder:
    """What sites are told of the end of their experiment."""
    return StopOrder(EXPERIMENT, outcome.reason, outcome.status)


class ChildOfNoUse:
    """An Aggregator that has ended before it listened."""

    def __init__(self, exit_code: int, error: str = "") -> None:
        self._exit_code = exit_code
        self._lines = [json.dumps({"ok": False, "error": {"name": error}})] if error else []

    async def line(self) -> str:
        return self._lines.pop() if self._lines else ""

    def last_line(self) -> str:
        return "its plan is not valid"

    async def stop(self, _: float = 0.0) -> int:
        return self._exit_code


class FakeStandby:
    """Starts Aggregators that get nowhere: they end with an exit code, or are never ready."""

    def __init__(self) -> None:
        self.exit_code: int | None = None
        self.error = ""
        self.arguments: list[Sequence[str]] = []
        self.starting = asyncio.Event()

    def prepare(self) -> None:
        return None

    async def start(self, arguments: Sequence[str], on_line: Callable[[str], None]) -> Child:
        on_line("'e-1' is FINISHED")
        self.arguments.append(arguments)
        self.starting.set()
        if self.exit_code is None:
            await asyncio.Event().wait()
        return cast("Child", ChildOfNoUse(self.exit_code or 0, self.error))


class FakeRoster:
    """Envoys that are there from the beginning."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.sent: list[tuple[str, EnvoyInstruction]] = []
        self.ordered = asyncio.Event()

    def online(self) -> tuple[str, ...]:
        return self.names

    async def until(self, enough: Callable[[tuple[str, ...]], bool], _: float) -> bool:
        if not enough(self.names):
            await asyncio.Event().wait()
        return True

    async def arrivals(self, known: set[int]) -> dict[int, str]:
        if known or not self.names:
            await asyncio.Event().wait()
        return dict(enumerate(self.names))

    def send(self, name: str, instruction: EnvoyInstruction) -> None:
        self.sent.append((name, instruction))
        if len(self.sent) == len(self.names):
            self.ordered.set()

    def kinds(self) -> list[tuple[str, type]]:
        return [(name, type(instruction)) for name, instruction in self.sent]


class FakeAggregator:
    """Can be reached from the third attempt on, and writes down what it is told."""

    def __init__(self) -> None:
        self.attempts = self.lines = self.most_lines = 0
        self.told: list[str] = []
        self.heard = asyncio.Event()

    def __call__(self, *_: object) -> AggregatorClient:
        return cast("AggregatorClient", self)

    async def __aenter__(self) -> "FakeAggregator":
        self.attempts += 1
        if self.attempts < 3:
            raise UnreachableError("it starts")
        self.lines += 1
        self.most_lines = max(self.lines, self.most_lines)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.lines -= 1

    async def cancel(self, by: str) -> None:
        await asyncio.sleep(0)
        self.told.append(f"cancel by {by}")
        self.heard.set()

    async def report_loss(self, site: str, reason: str) -> None:
        await asyncio.sleep(0)
        self.told.append(f"{site}: {reason}")


class Desk:
    """One experiment at a Director, with envoys and Aggregators of our own."""

    def __init__(self, offline: OfflineDirector, store: ExperimentStore, *envoys: str) -> None:
        self.files = offline.files
        self.roster, self.standby = FakeRoster(*envoys), FakeStandby()
        self.statuses: list[Status] = []
        self.logged: list[LogLines] = []
        self.on_status: Callable[[Status], None] = self.statuses.append
        self.takes: Callable[[str], bool] = lambda _: True
        self.on_sites: Callable[[tuple[str, ...]], None] = lambda _: None
        self.waits = asyncio.Event()
        self.aggregator = FakeAggregator()
        self._store = store
        settings = DirectorFile(sample_shape=(1,), target_shape=(), state=offline.state)
        context = RunContext(
            settings,
            TrustUpkeep(settings, offline.director),
            Authority.load(offline.state.parent / "certs" / "experiment-ca"),
            cast("EnvoyRoster", self.roster),
            self._move_on,
            on_event=lambda _: None,
            announce=self.announce,
            history=store.events,
            stores=SQLITE,
            standby=cast("Standby", self.standby),
            on_log=self.logged.append,
            connect=self.aggregator,
            takes=self._may_take,
            on_sites=self._take,
        )
        summary = ExperimentSummary(EXPERIMENT, "e", Status.QUEUED, "", "ada", 1.0)
        stored = StoredExperiment(summary, file_digest(offline.files.bundle), b"", b"")
        self.experiment = RunningExperiment(context, stored, offline.files)

    def _move_on(self, status: Status) -> None:
        self.on_status(status)

    def _may_take(self, site: str) -> bool:
        return self.takes(site)

    def _take(self, sites: tuple[str, ...]) -> None:
        self.on_sites(sites)

    def announce(self, announcement: Announcement) -> Announced:
        self.waits.set()
        return self._store.announce(2.0, announcement)


@pytest.fixture
async def desk_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[..., Desk]]:
    monkeypatch.setattr(aggregator_process, "free_port", lambda _, ports: ports[0])
    offline = OfflineDirector.founded(tmp_path, "here")
    offline._furnish()
    save_credentials(offline.state / "certificate", offline.director)
    with closing(SQLITE.experiment(offline.files)) as store:
        yield lambda *envoys: Desk(offline, store, *envoys)


DeskOf = Callable[..., Desk]


async def test_the_last_lines_of_an_aggregator_are_kept_and_told(desk_of: DeskOf) -> None:
    desk = desk_of("bern")
    desk.standby.exit_code = min(OBJECTIONS)
    await desk.experiment.run()
    assert desk.files.log("aggregator").read_text() == "'e-1' is FINISHED\n"
    assert desk.logged == [LogLines(EXPERIMENT, "aggregator", ("'e-1' is FINISHED",), "aggregator")]


@pytest.mark.parametrize("later", [False, True])
async def test_between_finding_its_sites_and_taking_them_nobody_else_looks(desk_of: DeskOf, *, later: bool) -> None:
    desk, order = desk_of(*([] if later else ["bern"])), list[str]()

    def takes(_: str) -> bool:
        asyncio.get_running_loop().call_soon(order.append, "another looks")
        return True

    async def until(enough: Callable[[tuple[str, ...]], bool], _: float) -> bool:
        desk.roster.names = ("bern",)
        return enough(desk.roster.names)

    desk.takes, desk.on_sites = takes, lambda sites: order.append(f"takes {', '.join(sites)}")
    desk.roster.until = until  # type: ignore[method-assign] # the site comes while it waits
    running = asyncio.create_task(desk.experiment.run())
    await desk.standby.starting.wait()
    assert order[0] == "takes bern"
    desk.experiment.cancel("ada")
    await running


async def test_one_that_is_cancelled_before_it_began_never_begins(desk_of: DeskOf) -> None:
    desk = desk_of("bern")
    running = asyncio.create_task(desk.experiment.run())
    await asyncio.sleep(0)
    desk.experiment.cancel("ada")
    outcome = await running
    assert (outcome.status, outcome.reason, desk.statuses) == (Status.CANCELLED, "cancelled by ada", [])
    assert desk.roster.sent == []


async def test_one_that_waits_for_envoys_is_cancelled_at_once(desk_of: DeskOf) -> None:
    desk = desk_of()
    running = asyncio.create_task(desk.experiment.run())
    await desk.waits.wait()
    assert desk.experiment.waiting == Waiting(WaitKind.ENVOYS, more=1)
    desk.experiment.cancel("ada")
    assert (await running).status is Status.CANCELLED
    assert (desk.statuses, desk.standby.arguments) == ([Status.STARTING], [])


async def test_whoever_was_ordered_is_told_to_stop_when_it_is_cancelled(desk_of: DeskOf) -> None:
    desk = desk_of("bern", "zurich")
    running = asyncio.create_task(desk.experiment.run())
    await desk.roster.ordered.wait()
    await desk.standby.starting.wait()
    desk.experiment.cancel("ada")
    assert (await running).cancelled_by == "ada"
    assert desk.roster.kinds()[:2] == [("bern", Order), ("zurich", Order)]
    order = StopOrder(EXPERIMENT, "cancelled by ada", Status.CANCELLED)
    assert desk.roster.sent[2:] == [("bern", order), ("zurich", order)]


async def test_nobody_is_told_when_the_director_is_stopped(desk_of: DeskOf) -> None:
    desk = desk_of("bern", "zurich")
    running = asyncio.create_task(desk.experiment.run())
    await desk.roster.ordered.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert desk.roster.kinds() == [("bern", Order), ("zurich", Order)]


async def test_a_director_that_is_stopped_stops_even_if_somebody_cancels_meanwhile(desk_of: DeskOf) -> None:
    desk = desk_of("bern")
    running = asyncio.create_task(desk.experiment.run())
    await asyncio.sleep(0)
    desk.experiment.cancel("ada")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_an_aggregator_that_objects_is_not_started_again(desk_of: DeskOf) -> None:
    desk = desk_of("bern", "zurich")
    desk.standby.exit_code = min(OBJECTIONS)
    outcome = await desk.experiment.run()
    assert outcome.status is Status.FAILED
    assert outcome.reason.endswith("last line: its plan is not valid")
    assert [option for option in desk.standby.arguments[0] if option in {"--expect", "bern", "zurich"}] == [
        "--expect", "bern", "--expect", "zurich",
    ]  # fmt: skip
    assert len(desk.standby.arguments) == 1
    assert desk.roster.sent[-2:] == [("bern", stop(outcome)), ("zurich", stop(outcome))]


async def test_ports_that_others_were_quicker_to_take_are_chosen_again(
    desk_of: DeskOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = iter([50051, 50052, 50053, 50054, 50055, 50056, 50057, 50058])
    monkeypatch.setattr(aggregator_process, "free_port", lambda *_: next(free))
    desk = desk_of("bern")
    desk.standby.exit_code, desk.standby.error = min(OBJECTIONS), "ConflictError"
    outcome = await desk.experiment.run()
    listened = [arguments[arguments.index("--listen") + 1] for arguments in desk.standby.arguments]
    assert listened == ["localhost:50051", "localhost:50053", "localhost:50055"]
    assert outcome.status is Status.FAILED
    orders = [order for _, order in desk.roster.sent if isinstance(order, Order)]
    assert orders[-1].aggregator_address.endswith(":50055")


async def test_without_room_it_waits_and_nobody_is_told(desk_of: DeskOf) -> None:
    desk = desk_of("bern")

    def full(_: Status) -> None:
        raise OSError(errno.ENOSPC, "no space left on device", "state.db")

    desk.on_status = full
    with pytest.raises(StorageError, match=r"state\.db: there is no room on the disk"):
        await desk.experiment.run()
    assert desk.roster.sent == []


async def test_a_defect_ends_the_experiment_alone(desk_of: DeskOf, caplog: pytest.LogCaptureFixture) -> None:
    desk = desk_of("bern")

    def broken(status: Status) -> None:
        if status is Status.STARTING:
            raise ZeroDivisionError("no envoy")

    desk.on_status = broken
    outcome = await desk.experiment.run()
    assert (outcome.status, outcome.reason) == (Status.FAILED, "the director failed: ZeroDivisionError: no envoy")
    assert "Traceback" in caplog.text
    assert desk.roster.sent == [("bern", stop(outcome))]


async def test_what_is_wrong_with_a_request_is_told_to_its_site_alone(desk_of: DeskOf) -> None:
    desk = desk_of("bern", "zurich")
    running = asyncio.create_task(desk.experiment.run())
    await desk.roster.ordered.wait()
    with pytest.raises(CredentialError):
        desk.experiment.answer("bern", OrderReply(EXPERIMENT, accepted=True, csr=b"nonsense"))
    desk.experiment.answer("zurich", OrderReply(EXPERIMENT, accepted=True, csr=new_key_and_csr()[1]))
    desk.experiment.answer("bern", CollaboratorEnded(EXPERIMENT, 0))
    desk.experiment.answer("bern", OrderReply(EXPERIMENT, accepted=False, reason="it is busy"))
    assert desk.roster.kinds()[2:] == [("zurich", IssuedCertificate)]
    assert not running.done()
    desk.experiment.cancel("ada")
    await running


async def test_an_aggregator_is_told_until_it_has_heard_over_one_line_however_much_there_is_to_tell(
    desk_of: DeskOf,
) -> None:
    desk = desk_of("bern", "zurich")
    rules = desk.experiment._rules
    rules.step, rules.invited, rules.joined = RunStep.RUNNING, frozenset({"bern", "zurich"}), {"bern", "zurich"}
    for number in range(50):
        desk.experiment.answer("bern", CollaboratorEnded(EXPERIMENT, -9, f"killed for the {number}. time"))
    desk.experiment.cancel("ada")
    await asyncio.wait_for(desk.aggregator.heard.wait(), 5)
    await desk.experiment._telling.wait(5)
    assert desk.aggregator.told == ["cancel by ada", "bern: its collaborator ended: killed for the 49. time"]
    assert (desk.aggregator.attempts, desk.aggregator.most_lines) == (3, 1)


async def test_a_recorded_end_counts_although_the_rest_of_the_record_is_damaged(desk_of: DeskOf) -> None:
    desk = desk_of("bern")
    desk.announce(ExperimentEnded(Status.FINISHED, "all rounds"))
    desk.experiment._context.stores.experiment(desk.files).close()
    with closing(sqlite3.connect(desk.files.directory / "experiment.db")) as connection, connection:
        connection.execute("UPDATE snapshot SET state = 'nonsense'")
    assert (await desk.experiment.run()).status is Status.FINISHED
