"""The Envoy: a site's standing presence. It owns the site's key and shard and decides what runs here."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from openfl_like import __version__
from openfl_like.errors import (
    ConflictError,
    DamagedError,
    FederationError,
    InternalError,
    NotAllowedError,
    ShardMismatchError,
    StorageError,
    TransferError,
    UnreachableError,
)
from openfl_like.failpoints import failpoint
from openfl_like.federation.history.site import PartEnd
from openfl_like.federation.parties import ShardFacts
from openfl_like.federation.ports import (
    EnvoyInstruction,
    EnvoyReport,
    Heartbeat,
    Hello,
    IssuedCertificate,
    LeaveOrder,
    Order,
    OrderReply,
    StopOrder,
    Welcome,
)
from openfl_like.pki.files import Credentials
from openfl_like.printable import printable_line
from openfl_like.processes.ownership import kill_listed, kill_owned
from openfl_like.processes.standby import Standby
from openfl_like.services.daemon.liveness import LivenessFile
from openfl_like.services.daemon.lock import only_one
from openfl_like.services.daemon.repeated_warning import RepeatedWarning
from openfl_like.services.devices.monitors import Monitors
from openfl_like.services.devices.placement import monitors_of
from openfl_like.services.envoy.environments import Environments
from openfl_like.services.envoy.logs import SiteLogs
from openfl_like.services.envoy.readiness import Readiness
from openfl_like.services.envoy.record import SiteRecord
from openfl_like.services.envoy.shard_watch import ShardWatch, Signature, signature
from openfl_like.services.envoy.shards import describe_shards, load_shards
from openfl_like.services.envoy.site_experiment import SiteContext, SiteExperiment
from openfl_like.services.identity.renewal import CertificateRenewer
from openfl_like.store.ports import Stores
from openfl_like.store.site_files import SiteFiles
from openfl_like.tasks import TaskOwner, background, first_of
from openfl_like.wire.attendance import EnvoyClient, EnvoySession
from openfl_like.wire.channel import RETURN_SPREAD_S, backoff, spread

log = logging.getLogger(__name__)
STALE_SESSION_S = 30.0
MOST_ENDING = 4
LATE_PART = 0.1
"""Up to this part later than it is told to, an envoy comes back: many are told the same."""
"""So many experiments beyond what a site bears may be there: the Director knows of an end before all has gone."""
RETRY_S = 0.5  # there may be hundreds of us, and none of them is in a hurry: its collaborators work on


@dataclass(frozen=True, slots=True)
class EnvoySettings:
    """What an Envoy is started with.

    Attributes:
        name: The site's name; its certificate must have it.
        director: ``host:port``.
        shard: The site's shard.yaml, which also says what monitors there are.
        credentials: Certificate and key of the role envoy.
        directory: Where workspaces and logs go.
        certificates: Folder of the credentials, where they are renewed; None: they are not.
        spare_worker: Whether a worker waits with its imports done.
        more_shards: Further ones, each of another data interface.
        keep: So many experiments that have ended are kept on record and disk; None: all.
    """

    name: str
    director: str
    shard: Path
    credentials: Credentials
    directory: Path
    certificates: Path | None = None
    spare_worker: bool = True
    more_shards: tuple[Path, ...] = ()
    keep: int | None = None

    @property
    def shards(self) -> tuple[Path, ...]:
        """All shard files, the first one first."""
        return self.shard, *self.more_shards

    @property
    def files(self) -> SiteFiles:
        """Names of what is kept here."""
        return SiteFiles(self.directory)


@dataclass(frozen=True, slots=True)
class EnvoySite:
    """What an Envoy has of its site.

    Attributes:
        facts: What the Director is told of the shards, in the order of the settings.
        described: How the files of the shards were before they were described.
        monitors: What reads the state of this machine.
        record: What the site took part in.
    """

    facts: tuple[ShardFacts, ...]
    described: Signature
    monitors: Monitors
    record: SiteRecord


@dataclass(slots=True)
class _Attendance:
    """How the Envoy stands with its Director.

    Attributes:
        number: Of its session, from 1.
        welcomed: Whether the Director has taken it in.
        heartbeat_s: Time between heartbeats.
        told: What the Director was told when the session began.
        conflict_since: When the Director first said that this name is connected already; 0: it does not.
        heard: Set when the Director wants a heartbeat now.
        leaving: Set when another line is there to go on with.
        away_s: How long the Director wants us to stay away; None: it has not said so.
    """

    number: int = 0
    welcomed: bool = False
    heartbeat_s: float = 0.0
    told: Hello | None = None
    conflict_since: float = 0.0
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    leaving: asyncio.Event = field(default_factory=asyncio.Event)
    away_s: float | None = None


class Envoy:
    """Keeps a session with the Director and carries out its orders.

    Args:
        settings: Who we are.
        site: What we have of it.
        on_welcome: Called each time the Director has welcomed us.
        connect: Makes a line to the Director, of its address and our credentials.
        standby: Starts Collaborators; None: one of its own.
    """

    def __init__(
        self,
        settings: EnvoySettings,
        site: EnvoySite,
        on_welcome: Callable[[], None],
        connect: Callable[[str, Credentials], EnvoyClient] = EnvoyClient,
        standby: Standby | None = None,
    ) -> None:
        self._settings, self._site, self._on_welcome = settings, site, on_welcome
        self._shards = ShardWatch(
            settings.shards, site.facts, site.described, settings.files.description, self._tell_shards
        )
        self._connect_to = connect
        self._attendance = _Attendance()
        self._experiments: dict[str, SiteExperiment] = {}
        self._ending = TaskOwner()
        self._outbox: asyncio.Queue[EnvoyReport | None] = asyncio.Queue()
        self._renewer = CertificateRenewer(settings.credentials, settings.certificates)
        self._standby = standby or Standby("collaborator", settings.directory)
        self._readiness = Readiness(self._standby, settings.files, spare_worker=settings.spare_worker)
        self._environments = Environments(settings.files.environments)
        self._logs = SiteLogs(settings.name, settings.shard, self._outbox)
        self._context = SiteContext(
            settings.credentials,
            dict(zip((shard.interface for shard in site.facts), settings.shards, strict=True)),
            site.monitors,
            self._standby,
            self._environments,
            self._logs,
            site.record,
            report=self._outbox.put_nowait,
            session=lambda: self._attendance.number,
            devices_in_use=lambda: self._placed().values(),
            get_ready=self._readiness.prepare,
            ended=self._ended,
        )

    async def run(self) -> None:
        """Attend until cancelled; a lost Director is looked for again and again.

        Raises:
            ShardMismatchError: If the shard does not fit the federation.
            UnauthenticatedError: If the Director does not accept the certificate.
            VersionError: If the Director is of another version.
        """
        try:
            liveness = LivenessFile(self._settings.directory, "envoy", lambda: self._attendance.welcomed)
            async with background(self._renewer.keep(), liveness.beat(), self._shards.keep()):
                await self._run()
        finally:
            for experiment in list(self._experiments.values()):
                await experiment.stop("the envoy ends")
            await self._ending.close()
            await self._environments.close()
            await self._standby.close()

    async def _run(self) -> None:
        trying_again = RepeatedWarning(log)
        while True:
            async for _ in backoff(RETRY_S):
                self._attendance.welcomed = False
                try:
                    await self._stay()
                    if self._attendance.away_s is None:
                        log.warning("the director ended the session; connecting again")
                except (
                    UnreachableError,
                    StorageError,
                    DamagedError,
                    InternalError,
                    TransferError,
                ) as error:  # not ours
                    trying_again.say(f"{error}; trying again")
                except ConflictError as error:
                    # a session that we lost may live on at the Director until it has found out
                    if not self._may_be_our_own():
                        raise
                    trying_again.say(f"{error}; trying again")
                if self._attendance.welcomed:
                    trying_again.over()
                    await self._stay_away()
                    break  # the next attempt is the first one of another outage

    async def _stay_away(self) -> None:
        """Wait before the next attempt: as long as the Director wants and up to a tenth more, or a moment."""
        away_s, self._attendance.away_s = self._attendance.away_s, None
        self._attendance.welcomed = False
        if away_s is None:
            await spread()
        else:
            await asyncio.sleep(away_s)
            await spread(max(RETURN_SPREAD_S, away_s * LATE_PART))

    def _connect(self) -> EnvoyClient:
        return self._connect_to(self._settings.director, self._renewer.current)

    async def _stay(self) -> None:
        """Attend, over a new line whenever the certificate was renewed, until the Director ends the session."""
        client: EnvoyClient | None = self._connect()
        while client is not None:
            async with client:
                leaving = self._attendance.leaving
                leaving.clear()
                client = await self._renewer.until_renewed(client, self._attend(client), self._connect, leaving.set)

    def _may_be_our_own(self) -> bool:
        now = asyncio.get_running_loop().time()
        self._attendance.conflict_since = self._attendance.conflict_since or now
        return now - self._attendance.conflict_since < STALE_SESSION_S

    async def _attend(self, client: EnvoyClient) -> None:
        tasks, began = TaskOwner(), False
        async with client.attend() as session:
            self._attendance.told = self._hello()
            await session.report(self._attendance.told)
            failpoint("envoy.hello.sent")
            try:
                while (instruction := await self._next(session)) is not None:
                    if isinstance(instruction, LeaveOrder):
                        self._attendance.away_s = instruction.retry_after_s
                        told = printable_line(instruction.message) or "no reason is given"
                        log.warning("the director has us leave for %g s: %s", instruction.retry_after_s, told)
                        return
                    if isinstance(instruction, Welcome):
                        # a later one changes the period, or asks for a heartbeat
                        self._attendance.heartbeat_s = instruction.heartbeat_s
                        self._attendance.heard.set()
                        self._outbox.put_nowait(None)  # wakes the sender
                        if not began:
                            self._begin()
                            tasks.start(self._send(session))
                        began = True
                    else:
                        await self._obey(client, instruction)
            finally:
                await tasks.close()

    async def _obey(self, client: EnvoyClient, instruction: EnvoyInstruction) -> None:
        match instruction:
            case Order():
                await self._take(client, instruction)
            case IssuedCertificate(experiment, chain):
                if experiment in self._experiments:
                    await self._experiments[experiment].receive_certificate(chain)
            case StopOrder(experiment, reason, ended):
                if experiment in self._experiments:
                    end = PartEnd.STOPPED if ended is None else PartEnd(ended.value)
                    await self._experiments[experiment].stop(reason, end)

    async def _next(self, session: EnvoySession) -> EnvoyInstruction | None:
        """Wait for the next instruction; None at the session's end, and when there is another line to go on with.

        Only here is a session left: whatever the last instruction asked for has been done.
        """
        came = await first_of(instruction=session.instruction(), leaving=self._attendance.leaving.wait())
        instruction: EnvoyInstruction | None = came.get("instruction")
        return instruction

    def _begin(self) -> None:
        failpoint("envoy.welcomed")
        self._attendance.conflict_since, self._attendance.welcomed = 0.0, True
        self._attendance.number += 1
        self._drop_stale()
        if self._hello() != self._attendance.told:  # changed between our Hello and the answer
            self._outbox.put_nowait(self._hello())
        self._logs.lost(each.route for each in self._experiments.values() if each.route is not None)
        self._on_welcome()
        self._readiness.prepare()

    def _drop_stale(self) -> None:
        """Forget answers to orders of a lost session, and what the data was like then: each session begins anew."""
        for _ in range(self._outbox.qsize()):
            report = self._outbox.get_nowait()
            if not isinstance(report, OrderReply | Hello):
                self._outbox.put_nowait(report)

    async def _send(self, session: EnvoySession) -> None:
        """Send reports as they come, and a heartbeat whenever the period has passed or the Director asks for one."""
        loop, attendance = asyncio.get_running_loop(), self._attendance
        due = loop.time()
        with contextlib.suppress(FederationError):  # the session's reader meets the same end and reports it
            while True:
                if loop.time() >= due or attendance.heard.is_set():
                    attendance.heard.clear()
                    devices = await self._site.monitors.read()
                    placed = self._placed()
                    await session.report(Heartbeat(devices, tuple(placed), placed))
                    due = loop.time() + attendance.heartbeat_s
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, due - loop.time())):
                        report = await self._outbox.get()
                    if report is not None:
                        await session.report(report)

    def _tell_shards(self) -> None:
        """Tell the Director that the data has changed; if nobody listens now, the next session tells it."""
        if self._shards.problem is None:
            log.info("the data has changed: %s", "; ".join(shard.description for shard in self._shards.facts))
        self._outbox.put_nowait(self._hello())

    def _hello(self) -> Hello:
        first, *more = self._shards.facts
        return Hello(first, __version__, tuple(more), self._shards.problem)

    def _placed(self) -> dict[str, str]:
        """Return the experiments that this site takes part in, each with the device of its worker."""
        return {name: each.device for name, each in sorted(self._experiments.items()) if each.route is not None}

    async def _take(self, client: EnvoyClient, order: Order) -> None:
        """Begin what is ordered; an order that is being carried out already changes nothing."""
        failpoint("envoy.order.received")
        current = self._experiments.get(order.experiment)
        if current is not None and current.same(order):
            return
        if current is not None:
            await current.stop("ordered again")
        try:
            self._check_number()
            self._check_data()
            files = self._settings.files.experiment(order.experiment)
        except (NotAllowedError, ShardMismatchError) as error:
            log.warning("an order was refused: %s", error)
            self._outbox.put_nowait(OrderReply(order.experiment, accepted=False, reason=str(error)))
            return
        experiment = self._experiments[order.experiment] = SiteExperiment(order, files, self._context)
        try:
            await experiment.prepare(client)
        except UnreachableError:
            self._forget(experiment)
            raise

    def _check_number(self) -> None:
        """Take no more orders than the site bears, and a few that are about to end, whatever the Director says."""
        bears = min(shard.experiments_at_once for shard in self._shards.facts)
        if len(self._experiments) >= bears + MOST_ENDING:
            raise NotAllowedError(
                f"this site works for {len(self._experiments)} experiments already, and bears {bears}",
                cure="raise experiments_at_once in its shard.yaml, or submit again when they have ended",
            )

    def _check_data(self) -> None:
        """Take no order for data that is not what it was said to be: others would be blamed for what comes of it."""
        if self._shards.problem is not None:
            raise ShardMismatchError(str(self._shards.problem), cure="ask whoever runs this site")

    def _ended(self, experiment: SiteExperiment) -> None:
        """Let an experiment go of which nothing runs any more, and be ready for the next one."""
        self._forget(experiment)
        self._ending.start(self._learn_from(experiment))

    async def _learn_from(self, experiment: SiteExperiment) -> None:
        await self._readiness.remember(experiment)
        self._readiness.prepare()

    def _forget(self, experiment: SiteExperiment) -> None:
        if self._experiments.get(experiment.order.experiment) is experiment:
            del self._experiments[experiment.order.experiment]


async def run_envoy(settings: EnvoySettings, stores: Stores, ready: Callable[[Sequence[ShardFacts]], None]) -> None:
    """Run an Envoy until cancelled.

    Args:
        settings: What to run.
        stores: Opens the site's record.
        ready: Called each time the Director has welcomed us.

    Raises:
        SettingsError: If a shard.yaml has mistakes, or two are of the same interface.
        ShardError: If the shard cannot be used.
        ShardMismatchError: If it does not fit the federation.
        ConflictError: If another Envoy works in this directory, or is connected under this name.
        DamagedError: If the site's record is damaged.
    """
    with only_one(settings.directory, "envoy"):
        await asyncio.to_thread(kill_owned, settings.directory)
        for notes in settings.files.process_notes():
            await asyncio.to_thread(kill_listed, notes)
        described = await asyncio.to_thread(signature, settings.shards)  # before: it may take minutes, and files change
        configs = load_shards(settings.shards)
        monitors = monitors_of(configs[settings.shard], settings.shard, settings.directory)
        facts = await describe_shards(configs, settings.files.description)
        with contextlib.closing(stores.site(settings.files)) as store:
            record = SiteRecord(store, settings.files, settings.keep)
            await asyncio.to_thread(record.recover)
            await Envoy(settings, EnvoySite(facts, described, monitors, record), lambda: ready(facts)).run()
