"""The Envoy: a site's standing presence. It owns the site's key and shard and decides what runs here."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from openfl_like import __version__
from openfl_like.data.shard_file import load_shard_config
from openfl_like.error_meanings import MEANINGS
from openfl_like.errors import (
    ConflictError,
    DamagedError,
    FederationError,
    InternalError,
    RequirementsError,
    StorageError,
    UnreachableError,
    no_room,
)
from openfl_like.failpoints import failpoint
from openfl_like.federation.devices.placement import CPU
from openfl_like.federation.failure import MAX_MESSAGE, Failure, FailureKind
from openfl_like.federation.parties import ShardFacts
from openfl_like.federation.ports import (
    CollaboratorEnded,
    EnvoyInstruction,
    EnvoyReport,
    Heartbeat,
    Hello,
    IssuedCertificate,
    Order,
    OrderReply,
    StopOrder,
    Welcome,
)
from openfl_like.frameworks.named import named_frameworks
from openfl_like.pki.authority import new_key_and_csr
from openfl_like.pki.files import Credentials, belongs, save_credentials
from openfl_like.pki.roles import Identity, Role
from openfl_like.pki.signing import verify_submitter
from openfl_like.plan.bundle import unpack
from openfl_like.plan.checks import check_plan
from openfl_like.plan.digest import freeze, thaw
from openfl_like.plan.lock import LOCK_NAME
from openfl_like.processes.child import describe_exit
from openfl_like.processes.ownership import kill_listed, kill_owned
from openfl_like.processes.spare_worker import WarmUp
from openfl_like.processes.standby import Standby
from openfl_like.processes.watchdog import watch_child
from openfl_like.processes.worker_client import describe_shard
from openfl_like.services.daemon.liveness import LivenessFile
from openfl_like.services.daemon.lock import only_one
from openfl_like.services.devices.monitors import Monitors
from openfl_like.services.devices.placement import monitors_of, place_worker
from openfl_like.services.envoy.environments import Environments
from openfl_like.services.envoy.logs import SiteLogs
from openfl_like.services.envoy.site_experiment import SiteExperiment, _last_words
from openfl_like.services.identity.renewal import CertificateRenewer
from openfl_like.services.logs.sender import LogSender
from openfl_like.services.logs.writers import COLLABORATOR, ENVOY
from openfl_like.store.files import ExperimentFiles
from openfl_like.store.site_files import PROCESS_NOTES, warm_up_note
from openfl_like.tasks import background
from openfl_like.wire.attendance import EnvoyClient, EnvoySession
from openfl_like.wire.channel import backoff, spread

log = logging.getLogger(__name__)
STALE_SESSION_S = 30.0
RETRY_S = 0.5  # there may be hundreds of us, and none of them is in a hurry: its collaborators work on
RETRY_NO_ROOM_S = 5.0
NO_ROOM_EXIT = MEANINGS[StorageError].exit_code
CRASHED = MEANINGS[InternalError].exit_code
UNREACHABLE = MEANINGS[UnreachableError].exit_code


@dataclass(frozen=True, slots=True)
class EnvoySettings:
    """What an Envoy is started with.

    Attributes:
        name: The site's name; its certificate must have it.
        director: ``host:port``.
        shard: The site's shard.yaml.
        credentials: Certificate and key of the role envoy.
        directory: Where workspaces and logs go.
        certificates: Folder of the credentials, where they are renewed; None: they are not.
        spare_worker: Whether a worker waits with its imports done.
    """

    name: str
    director: str
    shard: Path
    credentials: Credentials
    directory: Path
    certificates: Path | None = None
    spare_worker: bool = True


@dataclass(slots=True)
class Envoy:
    """Keeps a session with the Director and carries out its orders.

    Args:
        settings: Who we are.
        facts: What the Director is told of the shard.
        monitors: What reads the state of this machine.
    """

    settings: EnvoySettings
    facts: ShardFacts
    monitors: Monitors
    on_welcome: Callable[[], None] = lambda: None
    _work: dict[str, SiteExperiment] = field(default_factory=dict)
    _outbox: asyncio.Queue[EnvoyReport | None] = field(default_factory=asyncio.Queue)
    _conflict_since: float = 0.0
    _heartbeat_s: float = 0.0
    _welcomed: bool = False
    _sessions: int = 0
    _heard: asyncio.Event = field(default_factory=asyncio.Event)
    _standby: Standby = field(init=False)
    _warm_up: WarmUp = field(default_factory=WarmUp)
    _environments: Environments = field(init=False)
    _renewer: CertificateRenewer = field(init=False)
    _logs: SiteLogs = field(init=False)
    _leaving: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            self._warm_up = WarmUp.read(warm_up_note(self.settings.directory).read_text(encoding="utf-8"))
        self._standby = Standby("collaborator", self.settings.directory)
        self._environments = Environments(self.settings.directory.absolute() / "environments")
        self._renewer = CertificateRenewer(self.settings.credentials, self.settings.certificates)
        self._logs = SiteLogs(self.settings.name, self.settings.shard, self._outbox)

    async def run(self) -> None:
        """Attends until cancelled; a lost Director is looked for again and again.

        Raises:
            ShardMismatchError: If the shard does not fit the federation.
            UnauthenticatedError: If the Director does not accept the certificate.
        """
        try:
            pulse = LivenessFile(self.settings.directory, "envoy", lambda: self._welcomed)
            async with background(self._renewer.keep(), pulse.beat()):
                await self._run()
        finally:
            for work in list(self._work.values()):
                await self._stop(work, "the envoy ends")
            await self._environments.close()
            await self._standby.close()

    async def _run(self) -> None:
        while True:
            async for _ in backoff(RETRY_S):
                self._welcomed = False
                try:
                    await self._stay()
                    log.warning("the director ended the session; connecting again")
                except (
                    UnreachableError,
                    StorageError,
                    DamagedError,
                    InternalError,
                ) as error:  # not our end
                    log.warning("%s; trying again", error)
                except ConflictError as error:
                    # a session that we lost may live on at the Director until it has found out
                    if not self._may_be_our_own():
                        raise
                    log.warning("%s; trying again", error)
                if self._welcomed:
                    await spread()
                    break  # the next attempt is the first one of another outage

    def _connect(self) -> EnvoyClient:
        return EnvoyClient(self.settings.director, self._renewer.current)

    async def _stay(self) -> None:
        """Attends, over a new line whenever the certificate was renewed, until the Director ends the session."""
        client: EnvoyClient | None = self._connect()
        while client is not None:
            async with client:
                self._leaving.clear()
                client = await self._renewer.until_renewed(
                    client, self._attend(client), self._connect, self._leaving.set
                )

    def _may_be_our_own(self) -> bool:
        now = asyncio.get_running_loop().time()
        self._conflict_since = self._conflict_since or now
        return now - self._conflict_since < STALE_SESSION_S

    async def _attend(self, client: EnvoyClient) -> None:
        async with client.attend() as session:
            await session.report(Hello(self.facts, __version__))
            failpoint("envoy.hello.sent")
            sending: asyncio.Task[None] | None = None
            try:
                while (instruction := await self._next(session)) is not None:
                    match instruction:
                        case Welcome(heartbeat_s):
                            self._heartbeat_s = heartbeat_s  # a later one changes the period, or asks for a heartbeat
                            self._heard.set()
                            self._outbox.put_nowait(None)  # wakes the sender
                            sending = sending or self._begin(session)
                        case Order():
                            await self._take(client, instruction)
                        case IssuedCertificate(experiment, chain):
                            await self._start(experiment, chain)
                        case StopOrder(experiment, reason):
                            if experiment in self._work:
                                await self._stop(self._work[experiment], reason)
            finally:
                if sending is not None:
                    sending.cancel()

    async def _next(self, session: EnvoySession) -> EnvoyInstruction | None:
        """Waits for the next instruction; None at the session's end, and when there is another line to go on with.

        Only here is a session left: whatever the last instruction asked for has been done.
        """
        reading, leaving = asyncio.create_task(session.instruction()), asyncio.create_task(self._leaving.wait())
        try:
            await asyncio.wait({reading, leaving}, return_when=asyncio.FIRST_COMPLETED)
            return await reading if reading.done() else None
        finally:
            reading.cancel()
            leaving.cancel()
            await asyncio.gather(reading, leaving, return_exceptions=True)

    def _begin(self, session: EnvoySession) -> asyncio.Task[None]:
        failpoint("envoy.welcomed")
        self._conflict_since, self._welcomed = 0.0, True
        self._sessions += 1
        self._drop_stale_replies()
        self._logs.lost(work.route for work in self._work.values())
        self.on_welcome()
        self._keep_ready()
        return asyncio.create_task(self._send(session))

    def _keep_ready(self) -> None:
        """Has the next Collaborator wait, and a worker with what the last experiment imported, unless that is off."""
        self._standby.prepare(*([self._warm_up.text()] if self.settings.spare_worker else []))

    async def _note_imports(self, work: SiteExperiment) -> None:
        """Keeps in mind what an experiment imports: the next one is likely to be of its kind."""
        if not self.settings.spare_worker or work.python is not None or work.device != CPU:
            return
        with contextlib.suppress(FederationError, OSError, ValueError):  # it is a guess: without it, one waits longer
            plan = thaw(await asyncio.to_thread(work.files.plan.read_bytes))
            named = await asyncio.to_thread(named_frameworks, plan, work.workspace)
            self._warm_up = WarmUp.of(named, plan.collaborator.settings.threads)
            warm_up_note(self.settings.directory).write_text(self._warm_up.text(), encoding="utf-8")

    def _drop_stale_replies(self) -> None:
        """Forgets answers to orders of a lost session: the Director will order again."""
        for _ in range(self._outbox.qsize()):
            report = self._outbox.get_nowait()
            if not isinstance(report, OrderReply):
                self._outbox.put_nowait(report)

    async def _send(self, session: EnvoySession) -> None:
        """Sends reports as they come, and a heartbeat whenever the period has passed or the Director asks for one."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        with contextlib.suppress(FederationError):  # the session's reader meets the same end and reports it
            while True:
                if loop.time() >= due or self._heard.is_set():
                    self._heard.clear()
                    devices = await self.monitors.read()
                    placed = {name: work.device for name, work in sorted(self._work.items())}
                    await session.report(Heartbeat(devices, tuple(placed), placed))
                    due = loop.time() + self._heartbeat_s
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, due - loop.time())):
                        report = await self._outbox.get()
                    if report is not None:
                        await session.report(report)

    async def _take(self, client: EnvoyClient, order: Order) -> None:
        """Checks an order and answers it: with a CSR, or with the reason against it."""
        failpoint("envoy.order.received")
        current = self._work.get(order.experiment)
        if current is not None and current.under_way and current.order == order:
            return  # the Director has seen us come back; the collaborator never went away, or is not there yet
        if current is not None:
            await self._stop(current, "ordered again")
        try:
            work = await self._prepare(client, order)
        except UnreachableError:
            raise  # the session is lost, too; the Director will order again
        except (FederationError, OSError) as error:  # a full disk is a reason, not the end of the site
            self._refuse(order.experiment, error)
            return
        self._work[order.experiment] = work
        if (work.workspace / LOCK_NAME).exists():
            work.providing = asyncio.create_task(self._provide(work))  # it may take minutes, and the session goes on
        else:
            self._accept(work)

    def _refuse(self, experiment: str, error: FederationError | OSError) -> None:
        cause = no_room(error) or error
        log.warning("experiment %s refused: %s", experiment, cause)
        kind = FailureKind.ENVIRONMENT if isinstance(cause, RequirementsError) else FailureKind.ORDER
        failure = Failure(kind, str(cause)[:MAX_MESSAGE], type(cause).__name__)
        self._outbox.put_nowait(OrderReply(experiment, accepted=False, reason=str(cause), failure=failure))

    def _accept(self, work: SiteExperiment) -> None:
        work.key, csr = new_key_and_csr()
        failpoint("envoy.csr.made")
        self._outbox.put_nowait(OrderReply(work.order.experiment, accepted=True, csr=csr))

    async def _provide(self, work: SiteExperiment) -> None:
        """Prepares what the workspace's code needs, and then answers the order."""
        experiment = work.order.experiment
        lines = LogSender(work.route, work.files.directory / "environment.log", ENVOY)
        try:
            work.python = await self._environments.provide(work.workspace, self.settings.shard, lines.add)
        except (FederationError, OSError) as error:
            lines.flush()  # before the answer, after which nothing more is waited for
            self._work.pop(experiment, None)
            self._refuse(experiment, error)
        else:
            self._accept(work)
        finally:
            lines.flush()

    async def _prepare(self, client: EnvoyClient, order: Order) -> SiteExperiment:
        """Fetches, verifies and unpacks the bundle; this site checks the user's signature itself."""
        files = ExperimentFiles(self.settings.directory / order.experiment)
        await asyncio.to_thread(files.remove)
        files.directory.mkdir(parents=True, mode=0o700)
        failpoint("envoy.bundle.before")
        await client.fetch_bundle(order.experiment, order.bundle, files.bundle)
        failpoint("envoy.bundle.fetched")
        trust = self.settings.credentials.trust
        verify_submitter(order.bundle, order.signature, order.certificates, trust)
        plan = await asyncio.to_thread(unpack, files.bundle, files.directory / "workspace")
        check_plan(plan, "the ordered plan")
        failpoint("envoy.bundle.unpacked")
        files.plan.write_bytes(freeze(plan))
        failpoint("envoy.plan.written")
        wish, in_use = plan.collaborator.settings.device, [work.device for work in self._work.values()]
        device = await place_worker(self.settings.name, self.settings.shard, self.monitors, wish, in_use)
        return SiteExperiment(order, files, await self._logs.route(order.experiment), device=device)

    async def _start(self, experiment: str, chain: bytes) -> None:
        """Starts the collaborator of an accepted order with its short-lived certificate."""
        work = self._work.get(experiment)
        if work is None or work.child is not None or not work.key:
            return
        ours = self.settings.credentials
        identity = Identity(ours.identity.federation, Role.COLLABORATOR, self.settings.name, experiment)
        failpoint("envoy.certificate.before")
        try:
            if not belongs(chain, work.key):
                return  # it answers an earlier order: the certificate for this one is on its way
            save_credentials(work.files.directory / "certificate", Credentials(identity, chain, work.key, ours.trust))
            failpoint("envoy.certificate.saved")
            await self._start_child(work)
        except (FederationError, OSError) as error:  # too many processes or open files, too: the site lives on
            log.warning("experiment %s: %s", experiment, error)
            await self._stop(work, "it cannot be started")
            self._outbox.put_nowait(OrderReply(experiment, accepted=False, reason=str(error)))

    async def _start_child(self, work: SiteExperiment) -> None:
        directory, experiment = work.files.directory, work.order.experiment
        arguments = (
            "start",
            "--plan", str(work.files.plan),
            "--workspace", str(work.workspace),
            "--name", self.settings.name,
            "--experiment", experiment,
            "--aggregator", work.order.aggregator_address,
            "--shard-config", str(self.settings.shard.resolve()),
            "--certificates", str(directory / "certificate"),
            "--directory", str(work.run_directory),
            "--device", work.device,
            *(("--python", str(work.python)) if work.python is not None else ()),
            "--with-parent",
        )  # fmt: skip
        lines = LogSender(work.route, directory / "collaborator.log", COLLABORATOR)
        work.child, work.session = await self._standby.start(arguments, lines.add), self._sessions
        work.watch = asyncio.create_task(self._watch(work, lines))
        work.vigil = asyncio.create_task(watch_child(work.child))
        failpoint("envoy.child.started")
        log.info("experiment %s: collaborator started (pid %d, %s)", experiment, work.child.process.pid, work.device)

    async def _watch(self, work: SiteExperiment, lines: LogSender) -> None:
        """Waits for the collaborator's end; one that was killed is started again, unless that happens too often.

        So is one that found no Aggregator if we lost our Director meanwhile: they may have been away together.
        """
        assert work.child is not None  # noqa: S101 (watched after it was started)
        code = await work.child.wait()
        failpoint("envoy.child.ended")
        lines.flush()
        await asyncio.to_thread(kill_owned, work.run_directory)
        log.info("experiment %s: collaborator ended (%s)", work.order.experiment, describe_exit(code))
        away = code == UNREACHABLE and work.session != self._sessions
        if work.progressed() or away:
            work.restarts.progressed()
        if code < 0 or code in {CRASHED, NO_ROOM_EXIT} or away:
            self._keep_ready()
            if await self._start_again(work, patient=code == NO_ROOM_EXIT):
                return
        if self._work.get(work.order.experiment) is work:
            del self._work[work.order.experiment]
        reason = "" if code == 0 or work.stopping.is_set() else _last_words(work, code)
        self._outbox.put_nowait(CollaboratorEnded(work.order.experiment, code, reason))
        await self._note_imports(work)
        self._keep_ready()

    async def _start_again(self, work: SiteExperiment, *, patient: bool) -> bool:
        if work.stopping.is_set() or (work.restarts.exhausted and not patient):
            return False
        try:
            async with asyncio.timeout(RETRY_NO_ROOM_S if patient else work.restarts.next_pause_s()):
                await work.stopping.wait()
        except TimeoutError:
            try:
                await self._start_child(work)
            except OSError as error:
                log.warning("experiment %s: its collaborator cannot be started: %s", work.order.experiment, error)
                return work.watch is not asyncio.current_task()
            return True
        return False

    async def _stop(self, work: SiteExperiment, reason: str) -> None:
        log.info("experiment %s: stopping the collaborator: %s", work.order.experiment, reason)
        work.stopping.set()
        self._work.pop(work.order.experiment, None)
        if work.providing is not None:
            work.providing.cancel()
            await asyncio.wait({work.providing})
        while work.watch is not None and not work.watch.done():  # it may be starting the next one just now
            if work.child is not None:
                await work.child.stop()
            await asyncio.wait({work.watch})
        if work.watch is None:  # who watches one says this
            self._outbox.put_nowait(CollaboratorEnded(work.order.experiment, 0))


async def run_envoy(settings: EnvoySettings, ready: Callable[[ShardFacts], None]) -> None:
    """Runs an Envoy until cancelled.

    Args:
        settings: What to run.
        ready: Called each time the Director has welcomed us.

    Raises:
        SettingsError: If shard.yaml has mistakes.
        ShardError: If the shard cannot be used.
        ShardMismatchError: If it does not fit the federation.
        ConflictError: If another Envoy works in this directory, or is connected under this name.
    """
    with only_one(settings.directory, "envoy"):
        await asyncio.to_thread(kill_owned, settings.directory)
        for notes in settings.directory.glob(f"*/run/{PROCESS_NOTES}"):
            await asyncio.to_thread(kill_listed, notes)
        monitors = monitors_of(load_shard_config(settings.shard), settings.shard, settings.directory)
        facts = await describe_shard(settings.shard, settings.directory / "describe")
        await Envoy(settings, facts, monitors, lambda: ready(facts)).run()
