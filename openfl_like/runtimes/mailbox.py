"""The real federation: assignments wait in each collaborator's mailbox and are pushed down its session."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from openfl_like.errors import ConflictError, NameTakenError, RoundClosedError, UpdateRefusedError
from openfl_like.failpoints import failpoint
from openfl_like.federation.deliveries import Deliveries, UpdateStatus
from openfl_like.federation.events import (
    CollaboratorJoined,
    CollaboratorLeft,
    FinishExperiment,
    SendAssignment,
    TaskFailed,
    UncountedUpdateArrived,
    UpdateCommitted,
    WithdrawAssignment,
)
from openfl_like.federation.parties import Validity
from openfl_like.federation.ports import (
    AggregatorInstruction,
    CollaboratorReport,
    Dismissal,
    Ready,
    TaskFailure,
    Withdrawal,
)
from openfl_like.federation.reports.machine import MachineFacts
from openfl_like.federation.reports.progress import TaskProgress, TaskProgressed
from openfl_like.federation.task import Update
from openfl_like.runtimes.loop import Outward, Post
from openfl_like.runtimes.session import converse

Mailbox = asyncio.Queue[AggregatorInstruction]
PROGRESS_EACH_S = 0.25
"""Of each site, at most one progress in so many seconds is shown; an honest one says it half as often."""


class MailboxRuntime:
    """Connects sessions of collaborators with the loop.

    Args:
        plan_digest: A collaborator must have the plan with this digest.
        deliveries: What was taken before a restart.
        show: Is told how far the tasks of sites are; None: nobody is.
    """

    def __init__(
        self,
        plan_digest: str,
        deliveries: Deliveries | None = None,
        show: Callable[[TaskProgressed], None] | None = None,
    ) -> None:
        self._plan_digest = plan_digest
        self._show = show or _show_nobody
        self._post: Post | None = None
        self._sessions: dict[str, Mailbox] = {}
        self._deliveries = deliveries or Deliveries()
        self._dismissal: Dismissal | None = None
        self._empty = asyncio.Event()
        self._empty.set()

    @asynccontextmanager
    async def running(self, post: Post) -> AsyncIterator[None]:
        """Post what sessions report; those that are open after the block only wait for their dismissal."""
        self._post = post
        try:
            yield
        finally:
            self._post = None

    async def perform(self, *commands: Outward) -> None:
        """Put each command into the mailbox of its collaborator."""
        for command in commands:
            self._perform(command)

    def _perform(self, command: Outward) -> None:
        match command:
            case SendAssignment(assignment):
                self._deliveries.ask(assignment)
                self._deliver(assignment.collaborator, assignment)
                failpoint("aggregator.assignment.sent")
            case WithdrawAssignment(round_number, phase, collaborator, reason):
                self._deliveries.withdraw(round_number, phase, collaborator)
                self._deliver(collaborator, Withdrawal(round_number, phase, reason))
            case FinishExperiment(status, reason):
                self._dismissal = Dismissal(status.value, reason)
                self._deliveries.withdraw_all()
                for mailbox in self._sessions.values():
                    mailbox.put_nowait(self._dismissal)

    async def drained(self) -> None:
        """Wait until every session has ended."""
        await self._empty.wait()

    def expects(self, update: Update) -> str | None:
        """Return the digest of the model that an awaited update starts from; None if it was taken before.

        Raises:
            UpdateRefusedError: If another update was taken in its place.
            RoundClosedError: If its round does not wait for it.
        """
        name, standing = update.collaborator, self._deliveries.standing(update)
        if standing is UpdateStatus.AWAITED:
            return self._deliveries.model(update)
        self._tell(UncountedUpdateArrived(name, standing))
        if standing is UpdateStatus.REPEATED:
            return None
        if standing is UpdateStatus.CONFLICTING:
            raise UpdateRefusedError(f"another update of '{name}' was taken for round {update.round}")
        raise RoundClosedError(f"round {update.round} does not wait for an update of '{name}'")

    def asked(self, update: Update) -> frozenset[str]:
        """Return who was asked for an update like this one, its own collaborator among them."""
        return self._deliveries.asked(update.round, update.phase)

    def has_given(self, collaborator: str, model: str) -> bool:
        """Whether a collaborator is at work on this model."""
        return self._deliveries.has_given(collaborator, model)

    def committed(self, update: Update) -> None:
        """Take a complete update into the loop."""
        self._deliveries.take(update)
        self._tell(UpdateCommitted(update))

    async def participate(
        self,
        collaborator: str,
        reports: AsyncIterator[CollaboratorReport],
        send: Callable[[AggregatorInstruction], Awaitable[None]],
        certificate: Validity | None = None,
    ) -> None:
        """Hold a collaborator's session until it is dismissed or breaks.

        Args:
            collaborator: Its name.
            reports: What it says.
            send: Sends it an instruction.
            certificate: The one that it has shown.

        Raises:
            ConflictError: If this collaborator already has a session, or another plan.
            UpdateRefusedError: If it says something that has no place in a session.
        """
        facts = await self._admit(collaborator, reports)
        mailbox: Mailbox = asyncio.Queue()
        self._sessions[collaborator] = mailbox
        self._empty.clear()
        try:
            failpoint("aggregator.joined")
            certified = certificate.list_number if certificate is not None else None
            self._tell(CollaboratorJoined(collaborator, certified, facts))
            if self._dismissal is not None:
                mailbox.put_nowait(self._dismissal)
            await converse(mailbox, self._read(collaborator, reports), send, lambda item: isinstance(item, Dismissal))
        finally:
            del self._sessions[collaborator]
            if self._dismissal is None:
                self._tell(CollaboratorLeft(collaborator, "its connection was lost"))
            if not self._sessions:
                self._empty.set()

    async def _admit(self, collaborator: str, reports: AsyncIterator[CollaboratorReport]) -> MachineFacts:
        """Look at what a session begins with; return what is told of the machine."""
        first = await anext(reports, None)
        if not isinstance(first, Ready):
            raise UpdateRefusedError("a session begins with 'ready'")
        if first.plan_digest != self._plan_digest:
            raise ConflictError(
                f"'{collaborator}' has the plan {first.plan_digest[:12]}, this experiment has {self._plan_digest[:12]}",
                cure="give both sides the same plan file",
            )
        if collaborator in self._sessions:
            raise NameTakenError(
                f"a collaborator named '{collaborator}' is already connected",
                cure="stop the other one; if there is none of yours, its key was copied",
            )
        return first.facts

    async def _read(self, collaborator: str, reports: AsyncIterator[CollaboratorReport]) -> None:
        due = 0.0
        async for report in reports:
            if isinstance(report, TaskProgress):
                now = asyncio.get_running_loop().time()
                if now >= due and self._deliveries.awaits(report.round, report.phase, collaborator):
                    due = now + PROGRESS_EACH_S
                    self._show(TaskProgressed.of(collaborator, report))
                continue
            if isinstance(report, TaskFailure):
                self._deliveries.withdraw(report.round, report.phase, collaborator)
                self._tell(TaskFailed(report.round, report.phase, collaborator, report.failure))
            elif isinstance(report, Update):
                if report.phase.returns_model:
                    raise UpdateRefusedError(
                        "the result of an evaluation is reported; a model is uploaded, not reported"
                    )
                self._take(report)

    def _take(self, evaluation: Update) -> None:
        standing = self._deliveries.standing(evaluation)
        if standing is UpdateStatus.AWAITED:
            self.committed(evaluation)
        else:
            self._tell(UncountedUpdateArrived(evaluation.collaborator, standing))

    def _deliver(self, collaborator: str, instruction: AggregatorInstruction) -> None:
        if collaborator in self._sessions:
            self._sessions[collaborator].put_nowait(instruction)

    def _tell(
        self, event: CollaboratorJoined | CollaboratorLeft | UncountedUpdateArrived | TaskFailed | UpdateCommitted
    ) -> None:
        if self._post is not None:
            self._post(event)


def _show_nobody(_: TaskProgressed) -> None:
    """Nobody looks on."""
