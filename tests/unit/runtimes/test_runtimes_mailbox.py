"""Sessions of collaborators: who is let in, what is sent again, and how they are dismissed."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest

from openfl_like.errors import ConflictError, RoundClosedError, UnreachableError, UpdateRefusedError
from openfl_like.federation.deliveries import Deliveries, Receipt, UpdateStatus
from openfl_like.federation.events import (
    CollaboratorJoined,
    CollaboratorLeft,
    Event,
    ExperimentStarted,
    FinishExperiment,
    SendAssignment,
    TaskFailed,
    UncountedUpdateArrived,
    UpdateCommitted,
    WithdrawAssignment,
)
from openfl_like.federation.experiment import Experiment
from openfl_like.federation.failure import Failure, FailureKind
from openfl_like.federation.parties import Validity
from openfl_like.federation.ports import (
    AggregatorInstruction,
    CollaboratorReport,
    Dismissal,
    Ready,
    TaskFailure,
    Withdrawal,
)
from openfl_like.federation.reports.progress import TaskProgress, TaskProgressed
from openfl_like.federation.status import Status
from openfl_like.federation.task import Assignment, Phase, Update
from openfl_like.plan.schema import Plan
from openfl_like.runtimes.mailbox import MailboxRuntime
from openfl_like.testing.sessions import FakeSession

PLAN = "ab" * 32
TRAIN = Assignment(1, Phase.TRAIN, "bern", (), "aa", 5)
EVALUATE = Assignment(1, Phase.EVALUATE, "bern", (), "bb", 5)
TRAINED = Update(1, Phase.TRAIN, "bern", "cc", 10)
EVALUATED = Update(1, Phase.EVALUATE, "bern", "", 10, {"validate": {"accuracy": 0.5}})
FINISH = FinishExperiment(Status.FINISHED, "all rounds")

Session = FakeSession[CollaboratorReport, AggregatorInstruction]


class Aggregator:
    """A mailbox runtime, what it posted, and the sessions it holds."""

    def __init__(self) -> None:
        self.shown: list[TaskProgressed] = []
        self.runtime = MailboxRuntime(PLAN, show=self.shown.append)
        self.posted: asyncio.Queue[Event] = asyncio.Queue()
        self.held: dict[str, asyncio.Task[None]] = {}

    async def connect(self, name: str, *reports: CollaboratorReport) -> Session:
        """Opens a session; everything it can do at once is done when this returns."""
        session = Session(Ready(PLAN), *reports)
        self.held[name] = asyncio.create_task(self.runtime.participate(name, session.reports, session.send))
        assert await self.next() == CollaboratorJoined(name)
        return session

    def post(self, *events: Event) -> None:
        for event in events:
            self.posted.put_nowait(event)

    async def next(self) -> Event:
        async with asyncio.timeout(5):
            return await self.posted.get()


@pytest.fixture
async def aggregator() -> AsyncIterator[Aggregator]:
    found = Aggregator()
    async with found.runtime.running(found.post):
        yield found
    for task in found.held.values():
        task.cancel()
    await asyncio.gather(*found.held.values(), return_exceptions=True)


async def test_an_assignment_goes_to_its_collaborator_only(aggregator: Aggregator) -> None:
    bern, zurich = await aggregator.connect("bern"), await aggregator.connect("zurich")
    await aggregator.runtime.perform(SendAssignment(TRAIN))
    assert await bern.instruction() == TRAIN
    assert zurich.unread == 0


async def test_what_is_told_of_awaited_tasks_is_shown_and_not_too_often(aggregator: Aggregator) -> None:
    await aggregator.runtime.perform(SendAssignment(TRAIN))
    far = TaskProgress(1, Phase.TRAIN, "train", batches=7)
    reports = [far, replace(far, batches=8), replace(far, round=2), replace(far, phase=Phase.EVALUATE)]
    await aggregator.connect("bern", *reports, TaskFailure(1, Phase.TRAIN, Failure(FailureKind.TASK, "no")))
    assert isinstance(await aggregator.next(), TaskFailed)
    await aggregator.connect("zurich", far, TaskFailure(1, Phase.TRAIN, Failure(FailureKind.TASK, "no")))
    assert isinstance(await aggregator.next(), TaskFailed)
    assert aggregator.shown == [TaskProgressed(1, Phase.TRAIN, "bern", "train", batches=7)]


async def test_a_collaborator_joins_with_the_certificate_that_it_has_shown(aggregator: Aggregator) -> None:
    session = Session(Ready(PLAN))
    joining = aggregator.runtime.participate("bern", session.reports, session.send, Validity(0.0, 1.0, 7))
    aggregator.held["bern"] = asyncio.create_task(joining)
    assert await aggregator.next() == CollaboratorJoined("bern", 7)


async def test_an_assignment_for_somebody_absent_is_kept_open(aggregator: Aggregator) -> None:
    await aggregator.runtime.perform(SendAssignment(TRAIN))
    aggregator.runtime.expects(TRAINED)


async def test_a_withdrawal_closes_the_assignment(aggregator: Aggregator) -> None:
    bern = await aggregator.connect("bern")
    await aggregator.runtime.perform(SendAssignment(TRAIN))
    await aggregator.runtime.perform(WithdrawAssignment(1, Phase.TRAIN, "bern", "the deadline passed"))
    assert await bern.instruction() == TRAIN
    assert await bern.instruction() == Withdrawal(1, Phase.TRAIN, "the deadline passed")
    with pytest.raises(RoundClosedError, match="round 1 does not wait for an update of 'bern'"):
        aggregator.runtime.expects(TRAINED)
    assert await aggregator.next() == UncountedUpdateArrived("bern", UpdateStatus.LATE)


@pytest.mark.parametrize(
    "offered",
    [
        Update(2, Phase.TRAIN, "bern", "cc", 10),
        Update(1, Phase.EVALUATE, "bern", "cc", 10),
        Update(1, Phase.TRAIN, "zurich", "cc", 10),
    ],
    ids=["another round", "another phase", "another site"],
)
async def test_only_what_was_asked_for_is_expected(aggregator: Aggregator, offered: Update) -> None:
    await aggregator.runtime.perform(SendAssignment(TRAIN))
    with pytest.raises(RoundClosedError):
        aggregator.runtime.expects(offered)
    assert await aggregator.next() == UncountedUpdateArrived(offered.collaborator, UpdateStatus.UNASKED)


async def test_an_update_counts_once(aggregator: Aggregator) -> None:
    await aggregator.runtime.perform(SendAssignment(TRAIN))
    aggregator.runtime.committed(TRAINED)
    assert await aggregator.next() == UpdateCommitted(TRAINED)
    assert aggregator.runtime.expects(TRAINED) is None
    assert await aggregator.next() == UncountedUpdateArrived("bern", UpdateStatus.REPEATED)


async def test_another_update_for_a_filled_slot_is_refused(aggregator: Aggregator) -> None:
    await aggregator.runtime.perform(SendAssignment(TRAIN))
    aggregator.runtime.committed(TRAINED)
    await aggregator.runtime.perform(SendAssignment(TRAIN))  # sent again before the experiment had heard of the update
    with pytest.raises(UpdateRefusedError, match="another update of 'bern' was taken for round 1"):
        aggregator.runtime.expects(replace(TRAINED, digest="dd"))
    assert [await aggregator.next() for _ in range(2)] == [
        UpdateCommitted(TRAINED),
        UncountedUpdateArrived("bern", UpdateStatus.CONFLICTING),
    ]


async def test_what_was_taken_before_a_restart_is_acknowledged_again() -> None:
    runtime = MailboxRuntime(PLAN, Deliveries([Receipt(1, Phase.TRAIN, "bern", "cc")], newest=2))
    assert runtime.expects(TRAINED) is None
    with pytest.raises(RoundClosedError):
        runtime.expects(replace(TRAINED, round=0))


async def test_an_evaluation_is_reported(aggregator: Aggregator) -> None:
    bern = await aggregator.connect("bern")
    await aggregator.runtime.perform(SendAssignment(EVALUATE))
    bern.report(EVALUATED)
    assert await aggregator.next() == UpdateCommitted(EVALUATED)
    bern.report(EVALUATED)
    assert await aggregator.next() == UncountedUpdateArrived("bern", UpdateStatus.REPEATED)
    bern.report(replace(EVALUATED, round=7))
    assert await aggregator.next() == UncountedUpdateArrived("bern", UpdateStatus.UNASKED)


async def test_a_model_cannot_be_reported_without_its_bytes(aggregator: Aggregator) -> None:
    bern = await aggregator.connect("bern")
    await aggregator.runtime.perform(SendAssignment(TRAIN))
    bern.report(TRAINED)
    with pytest.raises(UpdateRefusedError, match="a model is uploaded, not reported"):
        await aggregator.held["bern"]
    assert await aggregator.next() == CollaboratorLeft("bern", "its connection was lost")


async def test_a_failure_is_reported_and_closes_the_assignment(aggregator: Aggregator) -> None:
    bern = await aggregator.connect("bern")
    await aggregator.runtime.perform(SendAssignment(TRAIN))
    failure = Failure(FailureKind.TASK, "no data", "ValueError", task="train")
    bern.report(TaskFailure(1, Phase.TRAIN, failure))
    assert await aggregator.next() == TaskFailed(1, Phase.TRAIN, "bern", failure)
    with pytest.raises(RoundClosedError):
        aggregator.runtime.expects(TRAINED)


async def test_a_session_begins_with_ready(aggregator: Aggregator) -> None:
    for session in (Session(EVALUATED), Session()):
        session.hang_up()
        with pytest.raises(UpdateRefusedError, match="a session begins with 'ready'"):
            await aggregator.runtime.participate("bern", session.reports, session.send)
    assert aggregator.posted.empty()


async def test_another_plan_is_refused_with_both_digests(aggregator: Aggregator) -> None:
    session = Session(Ready("cd" * 32))
    with pytest.raises(
        ConflictError, match="'bern' has the plan cdcdcdcdcdcd, this experiment has abababababab"
    ) as caught:
        await aggregator.runtime.participate("bern", session.reports, session.send)
    assert caught.value.cure == "give both sides the same plan file"
    assert aggregator.posted.empty()


async def test_a_second_session_of_the_same_name_is_refused_and_the_first_goes_on(aggregator: Aggregator) -> None:
    first = await aggregator.connect("bern")
    second = Session(Ready(PLAN))
    with pytest.raises(ConflictError, match=r"'bern' is already connected .*its key was copied"):
        await aggregator.runtime.participate("bern", second.reports, second.send)
    await aggregator.runtime.perform(SendAssignment(TRAIN))
    assert await first.instruction() == TRAIN
    assert aggregator.posted.empty()


async def test_two_sessions_at_the_same_moment_are_not_both_taken(aggregator: Aggregator) -> None:
    sessions = [Session(Ready(PLAN)) for _ in range(5)]
    tasks = [
        asyncio.create_task(aggregator.runtime.participate("bern", session.reports, session.send))
        for session in sessions
    ]
    assert await aggregator.next() == CollaboratorJoined("bern")
    await aggregator.runtime.perform(FINISH)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["NameTakenError"] * 4 + ["NoneType"]


async def test_a_lost_connection_is_told_and_the_name_is_free_again(aggregator: Aggregator) -> None:
    bern = await aggregator.connect("bern")
    bern.hang_up()
    assert await aggregator.next() == CollaboratorLeft("bern", "its connection was lost")
    await aggregator.held["bern"]
    await aggregator.connect("bern")


async def test_a_peer_that_cannot_be_written_to_has_left(aggregator: Aggregator) -> None:
    bern = await aggregator.connect("bern")
    bern.refuse(UnreachableError("gone"))
    await aggregator.runtime.perform(SendAssignment(TRAIN))
    assert await aggregator.next() == CollaboratorLeft("bern", "its connection was lost")
    with pytest.raises(UnreachableError):
        await aggregator.held["bern"]


async def test_the_end_dismisses_everybody_and_then_nobody_is_left(aggregator: Aggregator) -> None:
    sessions = [await aggregator.connect(name) for name in ("bern", "zurich")]
    await aggregator.runtime.perform(SendAssignment(TRAIN))
    await aggregator.runtime.perform(FINISH)
    async with asyncio.timeout(5):
        await aggregator.runtime.drained()
    assert await sessions[0].instruction() == TRAIN
    for session in sessions:
        assert await session.instruction() == Dismissal("FINISHED", "all rounds")
    assert aggregator.posted.empty()  # to be dismissed is not to leave
    with pytest.raises(RoundClosedError):
        aggregator.runtime.expects(TRAINED)


async def test_who_comes_after_the_end_is_dismissed(aggregator: Aggregator) -> None:
    await aggregator.runtime.perform(FINISH)
    late = await aggregator.connect("late")
    assert await late.instruction() == Dismissal("FINISHED", "all rounds")
    await aggregator.held["late"]


async def test_without_sessions_there_is_nothing_to_drain(aggregator: Aggregator) -> None:
    async with asyncio.timeout(5):
        await aggregator.runtime.drained()


async def test_who_comes_back_is_sent_the_same_assignment_again(plan_with: Callable[..., Plan]) -> None:
    aggregator = Aggregator()
    experiment = Experiment("e1", plan_with(), ("bern",), "aa")

    async def post_all() -> None:
        """What the loop does between two waits."""
        while not aggregator.posted.empty():
            for command in experiment.handle(aggregator.posted.get_nowait(), 0.0):
                if isinstance(command, SendAssignment | WithdrawAssignment | FinishExperiment):
                    await aggregator.runtime.perform(command)

    async with aggregator.runtime.running(aggregator.post):
        aggregator.posted.put_nowait(ExperimentStarted())
        given = []
        for _ in range(2):
            session = Session(Ready(PLAN))
            held = asyncio.create_task(aggregator.runtime.participate("bern", session.reports, session.send))
            while session.unread == 0:
                await post_all()
                await asyncio.sleep(0)
            given.append(await session.instruction())
            session.hang_up()
            await held
        await post_all()
        assert given[0] == given[1]
        assert isinstance(given[0], Assignment)
        aggregator.runtime.expects(Update(1, Phase.TRAIN, "bern", "cc", 10))
