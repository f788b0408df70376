"""One experiment at the Director: carries out what `federation.supervision.experiment_run` decides."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from openfl_like.errors import ConflictError, FederationError, StorageError, no_room
from openfl_like.failpoints import failpoint
from openfl_like.federation.announcements import AggregatorLost, Announced, Announcement
from openfl_like.federation.events import Announce, CancelRequested
from openfl_like.federation.failure import MAX_MESSAGE, Failure, FailureKind
from openfl_like.federation.parties import LogLines, Outcome, Waiting
from openfl_like.federation.ports import CollaboratorEnded, IssuedCertificate, Order, OrderReply, StopOrder
from openfl_like.federation.status import Status
from openfl_like.federation.supervision.experiment_run import ExperimentRun
from openfl_like.federation.supervision.restarts import Pause, PauseOver
from openfl_like.federation.supervision.run_events import (
    AggregatorExited,
    AggregatorListening,
    CancelOverdue,
    DirectorStopping,
    EnvoysThere,
    Finish,
    FollowAggregator,
    IssueCertificate,
    LimitCancel,
    NoteSiteOut,
    Postpone,
    Recovered,
    RoomMissing,
    RunCommand,
    RunEvent,
    RunFailed,
    RunWork,
    SiteAccepted,
    SiteEnded,
    SiteRefused,
    StartAggregator,
    TellAggregator,
    TellStatus,
    WaitForEnvoys,
)
from openfl_like.pki.authority import Authority, new_key_and_csr
from openfl_like.pki.files import Credentials, save_credentials
from openfl_like.pki.roles import Identity, Role
from openfl_like.plan.address import joined_address
from openfl_like.plan.digest import thaw
from openfl_like.processes.standby import Standby
from openfl_like.services.director.aggregator_process import Address, AggregatorLostError, AggregatorProcess
from openfl_like.services.director.envoys import EnvoyRoster
from openfl_like.services.director.recovery import mend
from openfl_like.services.director.settings import DirectorFile, RefereeKind
from openfl_like.services.director.trust import TrustUpkeep
from openfl_like.services.logs.sender import LogRoute, LogSender
from openfl_like.services.logs.writers import AGGREGATOR
from openfl_like.store.files import ExperimentFiles
from openfl_like.store.ports import StoredExperiment, Stores
from openfl_like.tasks import TaskOwner
from openfl_like.wire.aggregator import AggregatorClient
from openfl_like.wire.channel import backoff

log = logging.getLogger(__name__)
PORT_ATTEMPTS = 3
"""How often ports are chosen for one life of an Aggregator, if others are quicker to take them."""


@dataclass(frozen=True, slots=True)
class RunContext:
    """What every experiment needs of its Director.

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
        connect: Makes a client of an Aggregator, of its address, the experiment's id and our credentials.
        takes: Whether it may ask a site that is there.
        on_sites: Told with which sites it begins.
        ports_taken: The ports of all Aggregators.
    """

    settings: DirectorFile
    trust_upkeep: TrustUpkeep
    authority: Authority
    roster: EnvoyRoster
    on_status: Callable[[Status], None]
    on_event: Callable[[Announced], None]
    announce: Callable[[Announcement], Announced]
    history: Callable[[int], list[Announced]]
    standby: Standby
    stores: Stores
    on_log: Callable[[LogLines], None] = lambda _: None
    connect: Callable[[str, str, Credentials], AggregatorClient] = AggregatorClient
    takes: Callable[[str], bool] = lambda _: True
    on_sites: Callable[[tuple[str, ...]], None] = lambda _: None
    ports_taken: set[int] = field(default_factory=set)


def _code(settings: DirectorFile) -> tuple[str, ...]:
    """Return how an Aggregator is told to run parts of a round that a workspace brings."""
    if settings.referee is RefereeKind.OFF:
        return ("--code", "refused")
    limits = settings.referee_limits
    told = (str(limits.decision_s), str(limits.block_s), str(limits.memory_mb))
    return ("--code", "referee", "--referee-limits", *told)


class RunningExperiment:
    """Runs one experiment at the Director; made within its event loop.

    Args:
        context: What it works with.
        experiment: Which one.
        files: Its directory.

    Attributes:
        id: The experiment's id.
        files: As above.
    """

    def __init__(self, context: RunContext, experiment: StoredExperiment, files: ExperimentFiles) -> None:
        self.id, self.files = experiment.summary.id, files
        self._context, self._experiment = context, experiment
        host = context.settings.listen.rpartition(":")[0]
        self._address = Address(files.directory / "port", host, context.settings.ports, context.ports_taken)
        route = LogRoute(self.id, AGGREGATOR, context.on_log)
        self._lines = LogSender(route, files.log(AGGREGATOR), AGGREGATOR)
        self._rules = ExperimentRun()
        self._tasks, self._invitations, self._telling = TaskOwner(), TaskOwner(), TaskOwner()
        self._untold = asyncio.Event()
        self._aggregator: AggregatorProcess | None = None
        self._finished: asyncio.Future[Finish | Postpone] = asyncio.get_running_loop().create_future()

    async def run(self) -> Outcome:
        """Run the experiment and return how it ended; never raises for what an experiment can do wrong.

        An Aggregator that dies is started again and goes on from its last commit. If the Director is stopped meanwhile,
        nobody is told that the experiment ended: it goes on at the Director's next start.

        Raises:
            StorageError: If there is no room on a disk; it has not ended, and can be run again when there is.
        """
        finish: Finish | None = None
        self._begin(self._recover())
        try:
            end = await self._finished
        except asyncio.CancelledError:
            self._post(DirectorStopping())
            raise
        else:
            if isinstance(end, Postpone):
                raise StorageError(end.reason)
            finish = end
            return end.outcome
        finally:
            await self._clean_up(finish)

    # ---- what comes from outside

    def cancel(self, by: str) -> None:
        """End the experiment: its Aggregator is asked to, or its start is broken off."""
        self._post(CancelRequested(by))

    def answer(self, site: str, answer: OrderReply | CollaboratorEnded) -> None:
        """Take what an envoy reports about this experiment.

        Raises:
            CredentialError: If it asks for a certificate in a way that cannot be granted.
        """
        if isinstance(answer, CollaboratorEnded):
            self._post(SiteEnded(site, answer.exit_code, answer.reason))
        elif answer.accepted:
            self._post(SiteAccepted(site, answer.csr))
        else:
            self._post(SiteRefused(site, answer.reason, answer.failure))

    @property
    def waiting(self) -> Waiting | None:
        """For which envoys it waits; None: it does not wait for any."""
        return self._rules.waiting(self._there())

    # ---- what the rules ask for

    def _post(self, event: RunEvent) -> None:
        """Hand an event to the rules and carry out what they answer; what takes time is begun."""
        for command in self._rules.handle(event):
            if isinstance(command, StartAggregator):  # at once: whoever gathers besides finds them taken
                self._context.on_sites(command.sites)
            if isinstance(command, RunWork | LimitCancel):
                self._begin(self._work(command))
            else:
                self._perform(command)

    def _begin(self, work: Coroutine[Any, Any, RunEvent]) -> None:
        self._tasks.start(self._see_through(work))

    async def _see_through(self, work: Coroutine[Any, Any, RunEvent]) -> None:
        """Post what comes of work, or what went wrong over it or over what follows from it."""
        try:
            self._post(await work)
        except (FederationError, OSError) as error:
            self._post(_trouble(error))
        except Exception as error:  # a defect of ours: the experiment ends, and the Director goes on with its queue
            log.exception("experiment %s: the director failed", self.id)
            failure = Failure(FailureKind.DIRECTOR, str(error)[:MAX_MESSAGE], type(error).__name__)
            self._post(RunFailed(f"the director failed: {failure.said}", failure))

    async def _work(self, command: RunWork | LimitCancel) -> RunEvent:
        match command:
            case WaitForEnvoys():
                await self._context.roster.until(lambda online: command.met_by(self._takes(online)), command.timeout_s)
                there = self._there()
                return EnvoysThere(there, tuple(name for name in self._context.roster.online() if name not in there))
            case StartAggregator(sites):
                return await self._start(sites)
            case FollowAggregator():
                return await self._accompany()
            case Pause(seconds):
                self._context.standby.prepare()
                await asyncio.sleep(seconds)
                return PauseOver()
            case LimitCancel(seconds):
                await asyncio.sleep(seconds)
                if self._rules.end is None:
                    log.warning("experiment %s: its aggregator goes on %g s after the cancel", self.id, seconds)
                return CancelOverdue()

    def _perform(self, command: RunCommand) -> None:
        match command:
            case TellStatus(status):
                self._context.on_status(status)
            case Announce(announcement):
                self._announce(announcement)
            case TellAggregator():
                self._begin_telling()
            case IssueCertificate(site, csr):
                self._context.roster.send(site, IssuedCertificate(self.id, self._certify(site, csr)))
                failpoint("director.certificate.sent")
            case NoteSiteOut(site, failure):
                log.warning("experiment %s: site '%s' %s", self.id, site, failure)
            case Finish() | Postpone():
                if not self._finished.done():  # whoever stops the Director may be quicker by a turn of the loop
                    self._finished.set_result(command)

    def _announce(self, announcement: Announcement) -> None:
        if isinstance(announcement, AggregatorLost):
            log.warning("experiment %s: %s; it is started again", self.id, announcement.reason)
        self._rules.learn(self._context.announce(announcement))

    def _certify(self, site: str, csr: bytes) -> bytes:
        context = self._context
        identity = Identity(context.authority.federation, Role.COLLABORATOR, site, self.id)
        lifetime = timedelta(hours=context.settings.certificate_hours)
        known = context.trust_upkeep.following.revocations.number
        return context.authority.under(known).issue(identity, csr, lifetime=lifetime, now=datetime.now(UTC))

    # ---- its record

    async def _recover(self) -> RunEvent:
        await asyncio.to_thread(mend, self._experiment, self.files)
        admission = thaw(self.files.plan.read_bytes()).admission
        await self._catch_up()
        asked: frozenset[str] = frozenset()
        if self._rules.end is None:
            asked = await asyncio.to_thread(_asked_before, self._context.stores, self.files)
        return Recovered(admission, asked, self._there())

    async def _catch_up(self) -> list[Announced]:
        """Learn from what is in the record by now."""
        events = await asyncio.to_thread(self._context.history, self._rules.seen)
        for event in events:
            self._rules.learn(event)
        return events

    # ---- its sites

    def _there(self) -> tuple[str, ...]:
        """Names of the envoys that are there for this experiment."""
        return self._takes(self._context.roster.online())

    def _takes(self, online: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(filter(self._context.takes, online))

    async def _invite(self, sites: tuple[str, ...]) -> None:
        """Give the order to every invited envoy, and again to one that comes back."""
        roster, item = self._context.roster, self._experiment
        address = joined_address(self._context.settings.reachable_host, self._address.port)
        order = Order(self.id, item.bundle, item.signature, item.certificates, address)
        asked: set[int] = set()
        while True:
            for number, name in (await roster.arrivals(asked)).items():
                asked.add(number)
                if name in sites:
                    roster.send(name, order)
                    failpoint("director.order.sent")

    # ---- its Aggregator

    async def _start(self, sites: tuple[str, ...]) -> RunEvent:
        """Start an Aggregator; sites get ready meanwhile.

        A port that was free when it was chosen need not be so a second later: the system gives it to any program that
        connects to somewhere. Then it is chosen again.
        """
        if not self._invitations:
            failpoint("director.dispatch.gathered")
        for left in reversed(range(PORT_ATTEMPTS)):
            if self._address.claim() or not self._invitations:  # a former Director may have had the same port
                await self._invitations.close()
                self._invitations.start(self._invite(sites))
            arguments = self._arguments(sites)
            try:
                self._aggregator = await AggregatorProcess.start(self._context.standby, arguments, self._lines.add)
                break
            except AggregatorLostError as error:
                if not left or error.failure.error != ConflictError.__name__:
                    return AggregatorExited(error.failure)
                log.warning("experiment %s: %s; its aggregator is started on ports that are free now", self.id, error)
        failpoint("director.dispatch.listening")
        return AggregatorListening()

    def _arguments(self, sites: tuple[str, ...]) -> tuple[str, ...]:
        """Issue a certificate for the Aggregator's next life and return its arguments."""
        context, directory = self._context, self.files.directory
        key, csr = new_key_and_csr()
        identity = Identity.aggregator(context.authority.federation, self.id)
        lifetime = timedelta(hours=context.settings.certificate_hours)
        chain = context.authority.issue(identity, csr, lifetime=lifetime, now=datetime.now(UTC))
        failpoint("director.dispatch.certified")
        certificates = directory / "certificate"
        trust = context.trust_upkeep.credentials.trust
        save_credentials(certificates, Credentials(identity, chain, key, trust), replace=True)
        failpoint("director.dispatch.saved")
        port = self._address.data_port
        data = ["--no-data-port"] if port is None else ["--data-port", str(port)]
        return (
            "start",
            "--plan", str(self.files.plan),
            "--workspace", str(directory / "workspace"),
            "--experiment", self.id,
            "--directory", str(directory),
            "--listen", self._address.text, *data,
            "--certificates", str(certificates),
            "--revocations", str(context.trust_upkeep.following.own),
            "--with-parent", "--json", *_code(context.settings),
            *(option for name in sites for option in ("--expect", name)),
        )  # fmt: skip

    async def _accompany(self) -> RunEvent:
        """Relay the Aggregator's events as long as it lives."""
        assert self._aggregator is not None  # noqa: S101 (started before)
        await self._aggregator.live(self._relay())
        for event in await self._catch_up():  # what it had committed and could not tell any more
            self._context.on_event(event)
        return AggregatorExited(await self._aggregator.post_mortem())

    async def _relay(self) -> bool:
        """Follow the Aggregator's events; its own end is in the last one. Tell whether that came.

        When the Director's certificate was renewed it does so over a new line, which is there before the old one ends.
        """
        renewer = self._context.trust_upkeep.renewer
        line: AggregatorClient | None = self._client()
        while line is not None:
            async with line as client:
                line = await renewer.until_renewed(client, self._follow(client), self._client)
        return self._rules.end is not None

    async def _follow(self, client: AggregatorClient) -> None:
        async for event in client.watch(self._rules.seen, progress=True):
            if event.sequence:
                self._rules.learn(event)
                failpoint("director.relay.event")
            self._context.on_event(event)

    def _begin_telling(self) -> None:
        self._untold.set()
        if not self._telling:
            self._telling.start(self._tell_aggregator())

    async def _tell_aggregator(self) -> None:
        """Tell this Aggregator, or the next one, who wants it to end and who is lost, until it has heard.

        It is told what the rules know once it can be reached; one line at a time, however much happens meanwhile.
        """
        async for _ in backoff():
            try:
                while self._untold.is_set():
                    self._untold.clear()
                    await self._tell()
            except FederationError as error:
                self._untold.set()
                log.warning("experiment %s: its aggregator cannot be told, trying again: %s", self.id, error)
            else:
                return

    async def _tell(self) -> None:
        async with self._client() as client:
            if self._rules.cancelled_by:
                await client.cancel(self._rules.cancelled_by)
            for site, reason in list(self._rules.lost.items()):
                await client.report_loss(site, reason)

    def _client(self) -> AggregatorClient:
        address = self._aggregator.address if self._aggregator is not None else self._address.text
        return self._context.connect(address, self.id, self._context.trust_upkeep.renewer.current)

    # ---- its end

    async def _clean_up(self, finish: Finish | None) -> None:
        """Let go of everything, and tell the sites to stop, and how it ended; None: it has not."""
        for tasks in (self._tasks, self._invitations, self._telling):
            await tasks.close()
        if finish is not None:
            outcome = finish.outcome
            for name in finish.sites:
                self._context.roster.send(name, StopOrder(self.id, outcome.reason, outcome.status))
        if self._aggregator is not None:
            await self._aggregator.end()
        self._address.release()
        self._lines.flush()
        self._context.standby.prepare()


def _trouble(error: FederationError | OSError) -> RunEvent:
    """Return what an error means to the experiment: that there is no room, or that it cannot be run."""
    full = no_room(error)
    if full is not None:
        return RoomMissing(str(full))
    failure = Failure(FailureKind.DIRECTOR, str(error)[:MAX_MESSAGE], type(error).__name__)
    prefix = "" if isinstance(error, FederationError) else "the director could not run it: "
    return RunFailed(f"{prefix}{error}", failure)


def _asked_before(stores: Stores, files: ExperimentFiles) -> frozenset[str]:
    """Name the sites that an experiment was begun with, if a former Aggregator has begun it."""
    with closing(stores.experiment(files)) as store:
        return frozenset(str(name) for name in (store.snapshot() or {}).get("expected", ()))
