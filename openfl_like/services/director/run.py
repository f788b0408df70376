"""One experiment from the head of the queue to its end: an Aggregator is started, envoys are given orders."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from openfl_like.errors import FederationError, StorageError, UnreachableError, no_room
from openfl_like.failpoints import failpoint
from openfl_like.federation.announcements import (
    AggregatorLost,
    Announced,
    Announcement,
    CollaboratorAdmitted,
    ExperimentBegun,
    ExperimentEnded,
    ExperimentQueued,
    ExperimentResumed,
    ExperimentWaiting,
    RoundFinished,
)
from openfl_like.federation.failure import MAX_MESSAGE, CannotGoOnError, Failure, FailureKind
from openfl_like.federation.parties import LogLines, Outcome
from openfl_like.federation.ports import CollaboratorEnded, IssuedCertificate, Order, OrderReply, StopOrder
from openfl_like.federation.status import Status
from openfl_like.federation.supervision.restarts import Restarts
from openfl_like.pki.authority import Authority, new_key_and_csr
from openfl_like.pki.files import Credentials, save_credentials
from openfl_like.pki.roles import Identity, Role
from openfl_like.plan.digest import thaw
from openfl_like.plan.schema import Plan
from openfl_like.processes.standby import Standby
from openfl_like.services.director.aggregator_process import (
    NO_ROOM_EXIT,
    Address,
    AggregatorLostError,
    AggregatorProcess,
)
from openfl_like.services.director.envoys import EnvoyRoster
from openfl_like.services.director.recovery import mend
from openfl_like.services.director.settings import DirectorFile
from openfl_like.services.director.trust import TrustUpkeep
from openfl_like.services.logs.sender import LogRoute, LogSender
from openfl_like.services.logs.writers import AGGREGATOR
from openfl_like.store.files import ExperimentFiles
from openfl_like.store.ports import StoredExperiment, Stores
from openfl_like.tasks import TaskOwner, first_of
from openfl_like.wire.aggregator import AggregatorClient

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunContext:
    """What every dispatch needs of its Director.

    Attributes:
        settings: director.yaml.
        trust_upkeep: The Director's certificate and revocation list.
        authority: The experiment authority.
        roster: The envoys.
        on_status: Told when an experiment moves on.
        on_event: Gets each event of its Aggregator, for watchers.
        announce: Adds to its history while it has no Aggregator, and gives the event.
        history: Gives its events after a sequence number.
        standby: Starts Aggregators.
        stores: Opens its record.
        on_log: Told of lines that its Aggregator has logged.
    """

    settings: DirectorFile
    trust_upkeep: TrustUpkeep
    authority: Authority
    roster: EnvoyRoster
    on_status: Callable[[Status, str], None]
    on_event: Callable[[Announced], None]
    announce: Callable[[Announcement], Announced]
    history: Callable[[int], list[Announced]]
    standby: Standby
    stores: Stores
    on_log: Callable[[LogLines], None] = lambda _: None


@dataclass(slots=True)
class ExperimentRun:
    """The life of one experiment at the Director.

    Args:
        desk: The Director's parts.
        experiment: Which one.
        files: Its directory.
    """

    context: RunContext
    experiment: StoredExperiment
    files: ExperimentFiles
    _aggregator: AggregatorProcess | None = None
    _address: Address = field(init=False)
    _lines: LogSender = field(init=False)
    _restarts: Restarts = field(default_factory=Restarts)
    _seen: int = 0
    _invited: set[str] = field(default_factory=set)
    _out: dict[str, Failure] = field(default_factory=dict)
    _lost: dict[str, str] = field(default_factory=dict)
    _joined: set[str] = field(default_factory=set)
    _cancelled_by: str = ""
    _end: Outcome | None = None
    _refused: asyncio.Event = field(default_factory=asyncio.Event)
    _connected: asyncio.Event = field(default_factory=asyncio.Event)
    _starting: asyncio.Task[None] | None = None
    _tasks: TaskOwner = field(default_factory=TaskOwner)
    _invitations: TaskOwner = field(default_factory=TaskOwner)
    _leaving: bool = False
    _resumed: bool = False

    def __post_init__(self) -> None:
        host = self.context.settings.listen.rpartition(":")[0]
        self._address = Address(self.files.directory / "port", host, self.context.settings.ports)
        route = LogRoute(self.id, AGGREGATOR, self.context.on_log)
        self._lines = LogSender(route, self.files.log(AGGREGATOR), AGGREGATOR)

    @property
    def id(self) -> str:
        """The experiment's id."""
        return self.experiment.summary.id

    async def run(self) -> Outcome:
        """Run the experiment and return how it ended; never raises for what an experiment can do wrong.

        An Aggregator that dies is started again and goes on from its last commit. If the Director is stopped meanwhile,
        nobody is told that the experiment ended: it goes on at the Director's next start.

        Raises:
            StorageError: If there is no room on a disk; it has not ended, and can be run again when there is.
        """
        try:
            await asyncio.to_thread(mend, self.experiment, self.files)
            plan = thaw(self.files.plan.read_bytes())
            await self._catch_up()
            if self._end is not None:  # the Director died before it could note that
                return self._end
            if self._cancelled_by:
                return self._cancelled()
            self.context.on_status(Status.STARTING, "")
            self._starting = self._tasks.start(self._prepare(plan))
            await self._starting
            self.context.on_status(Status.RUNNING, "")
            return await self._oversee(plan)
        except (FederationError, OSError) as error:
            return self._ended_by(error)
        except asyncio.CancelledError:
            if not self._cancelled_by:
                self._leaving = True
                raise
            return self._cancelled()
        finally:
            await self._clean_up()

    def _ended_by(self, error: FederationError | OSError) -> Outcome:
        """Return the end that an error means; raises StorageError if it is none, but has to wait for room on a disk."""
        if self._cancelled_by:
            return self._cancelled()
        full = no_room(error)
        if full is not None:
            self._leaving = True  # as if the Director were stopped: the sites go on with what they do
            raise full from error
        failure = error.failure if isinstance(error, CannotGoOnError) else None
        failure = failure or Failure(FailureKind.DIRECTOR, str(error)[:MAX_MESSAGE], type(error).__name__)
        prefix = "" if isinstance(error, FederationError) else "the director could not run it: "
        return Outcome(Status.FAILED, f"{prefix}{error}", failure=failure)

    def _cancelled(self) -> Outcome:
        return Outcome(Status.CANCELLED, f"cancelled by {self._cancelled_by}", cancelled_by=self._cancelled_by)

    async def cancel(self, by: str) -> None:
        """End the experiment: its Aggregator is asked to, or its start is broken off."""
        self._cancelled_by = by
        if self._starting is not None and not self._starting.done():
            self._starting.cancel()
        if not self._connected.is_set():
            return  # the relay looks whether it was cancelled as soon as it is connected
        with contextlib.suppress(UnreachableError):
            async with self._client() as client:
                await client.cancel(self._cancelled_by)

    async def answer(self, site: str, answer: OrderReply | CollaboratorEnded) -> None:
        """Take what an envoy reports about this experiment."""
        if isinstance(answer, CollaboratorEnded):
            await self._collaborator_ended(site, answer)
        elif answer.accepted:
            self._lost.pop(site, None)  # what ended before it took the order was a former collaborator
            self.context.roster.send(site, IssuedCertificate(self.id, self._certify(site, answer.csr)))
            failpoint("director.certificate.sent")
        else:
            self._lose(site, _refusal(site, answer))

    async def _collaborator_ended(self, site: str, answer: CollaboratorEnded) -> None:
        if answer.exit_code == 0 or not answer.reason:  # an envoy gives no reason for one that it was told to stop
            return
        if site not in self._joined:
            reason = answer.reason[:MAX_MESSAGE]
            self._lose(site, Failure(FailureKind.NOT_JOINED, reason, site=site, exit_code=answer.exit_code))
            return
        self._lost[site] = f"its collaborator ended: {answer.reason}"[:MAX_MESSAGE]
        with contextlib.suppress(UnreachableError):  # the next Aggregator is told, if there is one
            async with self._client() as client:
                await self._report_losses(client)

    async def _report_losses(self, client: AggregatorClient) -> None:
        for site, reason in list(self._lost.items()):  # others may be lost, or come back, while one is told
            await client.report_loss(site, reason)

    def _lose(self, site: str, failure: Failure) -> None:
        log.warning("experiment %s: site '%s' %s", self.id, site, failure)
        self._out[site] = failure
        self._refused.set()

    def _certify(self, site: str, csr: bytes) -> bytes:
        identity = Identity(self.context.authority.federation, Role.COLLABORATOR, site, self.id)
        lifetime = timedelta(hours=self.context.settings.certificate_hours)
        known = self.context.trust_upkeep.following.revocations.number
        return self.context.authority.under(known).issue(identity, csr, lifetime=lifetime, now=datetime.now(UTC))

    async def _prepare(self, plan: Plan) -> None:
        asked = await asyncio.to_thread(_asked_before, self.context.stores, self.files)
        if not asked or self._resumed:
            await self._gather(plan, asked or set(plan.admission.collaborators))
        self._invited = asked or self._invited
        failpoint("director.dispatch.gathered")
        await self._start()

    async def _gather(self, plan: Plan, wanted: set[str]) -> None:
        """Wait until enough of the envoys that are wanted (none: any) are there, and fix whom to ask."""
        least = _least(plan)

        def enough(online: tuple[str, ...]) -> bool:
            return len(wanted & set(online) if wanted else online) >= (len(wanted) or least)

        online = self.context.roster.online()
        if not enough(online):
            missing = tuple(sorted(wanted - set(online)))
            self._announce(ExperimentWaiting(online, missing, len(wanted) or least, plan.admission.timeout_s))
        everybody = await self.context.roster.until(enough, plan.admission.timeout_s)
        there = set(self.context.roster.online())
        self._invited = wanted & there if wanted else there
        if not everybody and len(self._invited) < least:
            absent = f"; missing: {', '.join(sorted(wanted - there))}" if wanted - there else ""
            text = f"{len(self._invited)} of {least} envoys were there within {plan.admission.timeout_s:g} s{absent}"
            first = "".join(sorted(wanted - there)[:1])
            raise CannotGoOnError(text, Failure(FailureKind.TOO_FEW, text[:MAX_MESSAGE], site=first))

    async def _start(self) -> None:
        """Start the Aggregator, and again if it dies over it; sites get ready meanwhile."""
        while True:
            if self._address.claim() or not self._invitations:  # a former Director may have had the same port
                await self._invitations.close()
                self._invitations.start(self._invite())
            try:
                arguments = self._arguments()
                self._aggregator = await AggregatorProcess.start(self.context.standby, arguments, self._lines.add)
                failpoint("director.dispatch.listening")
            except AggregatorLostError as error:
                await self._pause(error.failure)
            else:
                return

    def _arguments(self) -> tuple[str, ...]:
        """Issue a certificate for the Aggregator's next life and return its arguments."""
        key, csr = new_key_and_csr()
        identity = Identity.aggregator(self.context.authority.federation, self.id)
        lifetime = timedelta(hours=self.context.settings.certificate_hours)
        chain = self.context.authority.issue(identity, csr, lifetime=lifetime, now=datetime.now(UTC))
        failpoint("director.dispatch.certified")
        certificates = self.files.directory / "certificate"
        save_credentials(
            certificates, Credentials(identity, chain, key, self.context.trust_upkeep.credentials.trust), replace=True
        )
        failpoint("director.dispatch.saved")
        expected = [option for name in sorted(self._invited) for option in ("--expect", name)]
        port = self._address.data_port
        data = ["--no-data-port"] if port is None else ["--data-port", str(port)]
        return (
            "start",
            "--plan", str(self.files.plan),
            "--workspace", str(self.files.directory / "workspace"),
            "--experiment", self.id,
            "--directory", str(self.files.directory),
            "--listen", self._address.text, *data,
            "--certificates", str(certificates),
            "--revocations", str(self.context.trust_upkeep.following.own),
            "--with-parent", "--json",
            *expected,
        )  # fmt: skip

    async def _pause(self, failure: Failure) -> None:
        """Wait before the Aggregator is started again.

        Raises:
            CannotGoOnError: If it has died too often.
        """
        if self._restarts.exhausted:
            times = f"{self._restarts.count + 1} times without a finished round"
            raise CannotGoOnError(f"{failure}; it ended {times}", failure)
        log.warning("experiment %s: %s; it is started again", self.id, failure)
        self._announce(AggregatorLost(str(failure), self._restarts.count + 1, failure))
        self.context.standby.prepare()
        await asyncio.sleep(self._restarts.next_pause_s())

    async def _oversee(self, plan: Plan) -> Outcome:
        """Relay the Aggregator's events until the experiment has ended, or cannot go on."""
        ended = await first_of(refusals=self._watch_refusals(plan), living=self._keep_alive())
        outcome: Outcome = next(iter(ended.values()))
        return outcome

    async def _keep_alive(self) -> Outcome:
        while True:
            assert self._aggregator is not None  # noqa: S101 (started before)
            await self._aggregator.live(self._relay())
            self._connected.clear()
            for event in await self._catch_up():  # what it had committed and could not tell any more
                self.context.on_event(event)
            if self._end is not None:
                return self._end
            failure = await self._aggregator.post_mortem()
            if failure.exit_code == NO_ROOM_EXIT:
                raise StorageError(str(failure))
            await self._pause(failure)
            await self._start()

    async def _relay(self) -> bool:
        """Follow the Aggregator's events; its own end is in the last one. Tell whether that came.

        When the Director's certificate was renewed it does so over a new line, which is there before the old one ends.
        """
        line: AggregatorClient | None = self._client()
        greeted = False
        while line is not None:
            async with line as client:
                if not greeted:
                    await self._greet(client)
                greeted = True
                line = await self.context.trust_upkeep.renewer.until_renewed(client, self._follow(client), self._client)
        return self._end is not None

    async def _greet(self, client: AggregatorClient) -> None:
        """Tell an Aggregator what it could not be told before it was there."""
        self._connected.set()
        if self._cancelled_by:
            await client.cancel(self._cancelled_by)
        await self._report_losses(client)

    async def _follow(self, client: AggregatorClient) -> None:
        async for event in client.watch(self._seen):
            self._take(event)
            failpoint("director.relay.event")
            self.context.on_event(event)

    def _announce(self, announcement: Announcement) -> None:
        self._take(self.context.announce(announcement))

    async def _catch_up(self) -> list[Announced]:
        """Learn from what is in the record by now."""
        events = await asyncio.to_thread(self.context.history, self._seen)
        for event in events:
            self._take(event)
        return events

    def _take(self, event: Announced) -> None:
        """Learn from an event."""
        self._seen = event.sequence
        match event.announcement:
            case ExperimentQueued() | ExperimentBegun() | ExperimentResumed() as begins:
                self._end, self._resumed = None, isinstance(begins, ExperimentResumed)
            case CollaboratorAdmitted(name):
                self._joined.add(name)
                self._lost.pop(name, None)
            case RoundFinished():
                self._restarts.progressed()
            case ExperimentEnded(status, reason, _, shortfalls, failure, by):
                self._end = Outcome(status, reason, shortfalls, failure, by)
            case _:
                pass

    async def _invite(self) -> None:
        """Give the order to every invited envoy, and again to one that comes back."""
        address = f"{self.context.settings.reachable_host}:{self._address.port}"
        item = self.experiment
        order = Order(self.id, item.bundle, item.signature, item.certificates, address)
        asked: set[int] = set()
        while True:
            for number, name in (await self.context.roster.arrivals(asked)).items():
                asked.add(number)
                if name in self._invited:
                    self.context.roster.send(name, order)
                    failpoint("director.order.sent")

    async def _watch_refusals(self, plan: Plan) -> Outcome:
        """End when so many sites are out that the experiment cannot start any more."""
        least = plan.admission.min_collaborators or len(self._invited)
        while True:
            await self._refused.wait()
            self._refused.clear()
            if len(self._invited - set(self._out)) < least and not self._joined >= self._invited:
                reasons = "; ".join(f"site '{site}' {reason}" for site, reason in sorted(self._out.items()))
                text = f"{least} collaborators are needed: {reasons}"
                return Outcome(Status.FAILED, text, failure=next(iter(self._out.values()), None))

    def _client(self) -> AggregatorClient:
        address = self._aggregator.address if self._aggregator is not None else self._address.text
        return AggregatorClient(address, self.id, self.context.trust_upkeep.renewer.current)

    async def _clean_up(self) -> None:
        await self._invitations.close()
        if not self._leaving:
            for name in self._invited:
                self.context.roster.send(name, StopOrder(self.id, "the experiment has ended"))
        if self._aggregator is not None:
            await self._aggregator.end()
        self._lines.flush()
        self.context.standby.prepare()


def _refusal(site: str, reply: OrderReply) -> Failure:
    """Return why a site refused an order, in which a site may say nothing of others."""
    told = reply.failure or Failure(FailureKind.ORDER, reply.reason[:MAX_MESSAGE])
    kind = FailureKind.ENVIRONMENT if told.kind is FailureKind.ENVIRONMENT else FailureKind.ORDER
    return Failure(kind, told.message, told.error, site=site)


def _least(plan: Plan) -> int:
    """How many sites the plan needs at the least."""
    return plan.admission.min_collaborators or len(plan.admission.collaborators) or 1


def _asked_before(stores: Stores, files: ExperimentFiles) -> set[str]:
    """Name the sites that an experiment was begun with, if a former Aggregator has begun it."""
    with contextlib.closing(stores.experiment(files)) as store:
        return {str(name) for name in (store.snapshot() or {}).get("expected", ())}
