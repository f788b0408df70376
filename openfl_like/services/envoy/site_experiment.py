"""One experiment at one site: carries out what `federation.supervision.site_run` decides."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from openfl_like.data.shard_file import refuse_unwanted
from openfl_like.errors import FederationError, RequirementsError, UnreachableError, no_room
from openfl_like.failpoints import failpoint
from openfl_like.federation.devices.placement import CPU
from openfl_like.federation.failure import MAX_MESSAGE, Failure, FailureKind, bounded
from openfl_like.federation.history.site import PartEnd
from openfl_like.federation.ports import CollaboratorEnded, EnvoyReport, Order, OrderReply
from openfl_like.federation.supervision.restarts import Pause, PauseOver
from openfl_like.federation.supervision.site_run import (
    AskForCertificate,
    BundleUnpacked,
    CertificateReceived,
    CollaboratorExited,
    CollaboratorStarted,
    EnvironmentProvided,
    PreparationFailed,
    ProvideEnvironment,
    Refuse,
    ReportEnd,
    SiteCommand,
    SiteEvent,
    SiteRun,
    SiteStep,
    StartCollaborator,
    StartFailed,
    StopCollaborator,
    StopRequested,
)
from openfl_like.pki.authority import new_key_and_csr
from openfl_like.pki.files import Credentials, belongs, save_credentials
from openfl_like.pki.roles import Identity, Role
from openfl_like.pki.signing import verify_submitter
from openfl_like.plan.bundles.bundle import unpack
from openfl_like.plan.checks import check_plan
from openfl_like.plan.digest import freeze
from openfl_like.plan.lock import LOCK_NAME
from openfl_like.plan.section import PartOrigin
from openfl_like.processes.child import Child, describe_exit
from openfl_like.processes.ownership import kill_owned
from openfl_like.processes.standby import Standby
from openfl_like.processes.watchdog import FROZEN_S, watch_child
from openfl_like.services.devices.monitors import Monitors
from openfl_like.services.devices.placement import place_worker
from openfl_like.services.envoy.environments import Environments
from openfl_like.services.envoy.logs import SiteLogs
from openfl_like.services.envoy.record import SiteRecord
from openfl_like.services.envoy.shards import shard_of
from openfl_like.services.logs.sender import LogRoute, LogSender
from openfl_like.services.logs.writers import COLLABORATOR, ENVOY, WORKER, unmarked
from openfl_like.store.site_files import CollaboratorFiles, SiteExperimentFiles
from openfl_like.tasks import TaskOwner
from openfl_like.wire.attendance import EnvoyClient

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SiteContext:
    """What every experiment at a site works with.

    Attributes:
        credentials: Of the Envoy.
        shards: Data interface -> the site's shard.yaml for it; a single one may be of the interface without a name.
        monitors: What reads the state of this machine.
        standby: Starts Collaborators.
        environments: Installs packages.
        logs: Makes the routes of log lines.
        record: What this site took part in.
        report: Takes what the Director is to hear.
        session: Number of the session with the Director.
        devices_in_use: The device of every worker at this site.
        get_ready: Has the next Collaborator wait.
        ended: Told of an experiment of which nothing runs any more.
    """

    credentials: Credentials
    shards: Mapping[str, Path]
    monitors: Monitors
    standby: Standby
    environments: Environments
    logs: SiteLogs
    record: SiteRecord
    report: Callable[[EnvoyReport], None]
    session: Callable[[], int]
    devices_in_use: Callable[[], Collection[str]]
    get_ready: Callable[[], None]
    ended: Callable[["SiteExperiment"], None]

    @property
    def site(self) -> str:
        """The site's name."""
        return self.credentials.identity.name


class SiteExperiment:
    """Takes part in one experiment for this site.

    Args:
        order: What the Director asks for.
        files: Where everything of it is.
        context: What it works with.

    Attributes:
        order: As above.
        files: As above.
        device: The device of its worker; known once the bundle is unpacked.
        python: The interpreter of its environment; None: this very one.
        ended: Set when nothing of it runs any more.
    """

    def __init__(self, order: Order, files: SiteExperimentFiles, context: SiteContext) -> None:
        self.order, self.files = order, files
        self.device = CPU
        self.python: Path | None = None
        self.ended = asyncio.Event()
        self._context = context
        self._run = SiteRun()
        self._turn = asyncio.Lock()
        self._tasks, self._carrying_out = TaskOwner(), TaskOwner()
        self._route: LogRoute | None = None
        self._shard = Path()
        self._key = b""
        self._part, self._end = 0, (PartEnd.STOPPED, "")
        self._stopped, self._not_started = self._end, ""
        self._child: Child | None = None

    def same(self, order: Order) -> bool:
        """Whether this order is being carried out already: the Director has only seen us come back."""
        return self._run.under_way and self.order == order

    @property
    def route(self) -> LogRoute | None:
        """Where its log lines go; None before the bundle is unpacked."""
        return self._route

    # ---- what comes from outside

    async def prepare(self, client: EnvoyClient) -> None:
        """Fetch, verify and unpack the bundle, and answer the order; this site checks the user's signature itself.

        Raises:
            UnreachableError: If the session was lost over it: the Director will order again.
        """
        try:
            await self._unpack(client)
        except UnreachableError:
            if self._part:
                await asyncio.to_thread(self._context.record.forget, self._part)
            self.ended.set()
            raise
        except (FederationError, OSError) as error:  # a full disk is a reason, not the end of the site
            await self._post(_refusal(error))
        except Exception as error:  # a defect of ours: the order must be answered, and the site lives on
            log.exception("experiment %s: it cannot be prepared", self.order.experiment)
            await self._post(_refusal(error))
        else:
            await self._post(BundleUnpacked((self.files.workspace / LOCK_NAME).exists()))

    async def receive_certificate(self, chain: bytes) -> None:
        """Take the Collaborator's certificate; one that is not waited for, or is for another key, changes nothing."""
        if self._run.step is not SiteStep.ACCEPTED:
            return
        failpoint("envoy.certificate.before")
        ours, site, experiment = self._context.credentials, self._context.site, self.order.experiment
        identity = Identity(ours.identity.federation, Role.COLLABORATOR, site, experiment)
        try:
            if not belongs(chain, self._key):
                return
            save_credentials(self.files.certificate, Credentials(identity, chain, self._key, ours.trust))
        except (FederationError, OSError) as error:
            await self._post(StartFailed(str(error)))
        else:
            failpoint("envoy.certificate.saved")
            await self._post(CertificateReceived())

    async def stop(self, reason: str, end: PartEnd = PartEnd.STOPPED) -> None:
        """End whatever runs of it, and wait until it has ended.

        Args:
            reason: Why.
            end: How this part ends by that: as the experiment did, if that has ended.
        """
        log.info("experiment %s: stopping the collaborator: %s %s", self.order.experiment, end, reason)
        self._stopped = self._stopped if self._stopped[1] else (end, reason)
        await self._post(StopRequested())
        await self.ended.wait()

    # ---- what the rules ask for

    async def _post(self, event: SiteEvent) -> None:
        """Hand an event to the rules and carry out what they answer, one event after the other.

        Whoever posts may be cancelled meanwhile, because the session is lost or the Envoy ends. What the rules have
        decided is carried out all the same: else they would wait for ever for what nobody does any more.
        """
        await asyncio.shield(self._carrying_out.start(self._carry_out(event)))

    async def _carry_out(self, event: SiteEvent) -> None:
        async with self._turn:
            events = [event]
            while events:
                if isinstance(events[0], StartFailed):
                    self._not_started = events[0].reason
                for command in self._run.handle(events.pop(0)):
                    answer = await self._perform(command)
                    events += [] if answer is None else [answer]

    async def _perform(self, command: SiteCommand) -> SiteEvent | None:
        experiment = self.order.experiment
        match command:
            case ProvideEnvironment():
                self._tasks.start(self._provide())  # it may take minutes, and the session goes on
            case AskForCertificate():
                self._key, csr = new_key_and_csr()
                failpoint("envoy.csr.made")
                self._context.report(OrderReply(experiment, accepted=True, csr=csr))
            case Refuse(reason, failure):
                log.warning("experiment %s refused: %s", experiment, reason)
                self._context.report(OrderReply(experiment, accepted=False, reason=reason, failure=failure))
                self._end = PartEnd.REFUSED, reason
                await self._close()
            case StartCollaborator():
                return await self._start()
            case Pause(seconds):
                self._context.get_ready()
                self._tasks.start(self._pause(seconds))
            case StopCollaborator():
                return await self._stop_child()
            case ReportEnd():
                reason = self._explain(command) if command.explained else ""
                self._context.report(CollaboratorEnded(experiment, command.exit_code, reason))
                broken = reason or self._not_started
                self._end = (PartEnd.BROKEN, broken) if broken else self._stopped
                await self._close()
        return None

    async def _close(self) -> None:
        if self.ended.is_set():
            return
        await self._tasks.close()
        if self._part:
            record = self._context.record
            await asyncio.to_thread(record.end, self._part, self.order.experiment, *self._end)
        self.ended.set()
        self._context.ended(self)

    async def _unpack(self, client: EnvoyClient) -> None:
        order, context, received = self.order, self._context, self.files.received
        # before anything is removed or stored: the signature covers the bundle's digest, and that its size
        signer = verify_submitter(order.bundle, order.signature, order.certificates, context.credentials.trust)
        self._part = await asyncio.to_thread(context.record.begin, order.experiment, signer.uri, order.bundle)
        await asyncio.to_thread(self.files.clear)
        failpoint("envoy.bundle.before")
        await client.fetch_bundle(order.experiment, order.bundle, received.bundle)
        failpoint("envoy.bundle.fetched")
        plan = await asyncio.to_thread(unpack, received.bundle, self.files.workspace)
        check_plan(plan, "the ordered plan", PartOrigin.WORKSPACE)  # a site loads no part of a round
        failpoint("envoy.bundle.unpacked")
        received.plan.write_bytes(freeze(plan))
        failpoint("envoy.plan.written")
        self._shard = shard_of(plan.interface or "", context.shards)
        refuse_unwanted(plan, self._shard)
        wish, in_use = plan.collaborator.settings.device, context.devices_in_use()
        self.device = await place_worker(context.site, self._shard, context.monitors, wish, in_use)
        self._route = await context.logs.route(order.experiment, self._shard)

    async def _provide(self) -> None:
        """Install what the workspace's code needs."""
        assert self._route is not None  # noqa: S101 (known once the bundle is unpacked)
        lines = LogSender(self._route, self.files.environment_log, ENVOY)
        outcome: SiteEvent = EnvironmentProvided()
        try:
            provide = self._context.environments.provide
            self.python = await provide(self.files.workspace, self._shard, lines.add)
        except (FederationError, OSError) as error:
            outcome = _refusal(error)
        except Exception as error:  # a defect of ours: the order must be answered all the same
            log.exception("experiment %s: its environment cannot be provided", self.order.experiment)
            outcome = _refusal(error)
        with contextlib.suppress(OSError):
            lines.flush()  # before the answer, after which nothing more is waited for
        await self._post(outcome)

    async def _pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._post(PauseOver())

    async def _start(self) -> SiteEvent:
        """Start the Collaborator; too many processes or open files are a reason, and the site lives on."""
        assert self._route is not None  # noqa: S101 (as above)
        lines = LogSender(self._route, self.files.collaborator_log, COLLABORATOR)
        try:
            child = self._child = await self._context.standby.start(self._arguments(), lines.add)
        except (FederationError, OSError) as error:
            log.warning("experiment %s: its collaborator cannot be started: %s", self.order.experiment, error)
            return StartFailed(str(error))
        self._tasks.start(self._watch(child, lines))
        self._tasks.start(watch_child(child))
        failpoint("envoy.child.started")
        log.info(
            "experiment %s: collaborator started (pid %d, %s)", self.order.experiment, child.process.pid, self.device
        )
        return CollaboratorStarted(self._context.session())

    def _arguments(self) -> tuple[str, ...]:
        return (
            "start",
            "--plan", str(self.files.received.plan),
            "--workspace", str(self.files.workspace),
            "--name", self._context.site,
            "--experiment", self.order.experiment,
            "--aggregator", self.order.aggregator_address,
            "--shard-config", str(self._shard.resolve()),
            "--certificates", str(self.files.certificate),
            "--directory", str(self.files.run),
            "--device", self.device,
            *(("--python", str(self.python)) if self.python is not None else ()),
            "--with-parent",
        )  # fmt: skip

    async def _watch(self, child: Child, lines: LogSender) -> None:
        code = await child.wait()
        failpoint("envoy.child.ended")
        progressed = False
        try:
            lines.flush()
            await asyncio.to_thread(kill_owned, self.files.run)
            progress = CollaboratorFiles(self.files.run).progress
            progressed = progress.exists()
            progress.unlink(missing_ok=True)
        except OSError as error:  # a full disk, or what the code left there: its end is told all the same
            log.warning("experiment %s: tidying up after the collaborator: %s", self.order.experiment, error)
        log.info("experiment %s: collaborator ended (%s)", self.order.experiment, describe_exit(code))
        await self._post(CollaboratorExited(code, progressed, self._context.session()))

    async def _stop_child(self) -> SiteEvent | None:
        """End the Collaborator; who watches it tells of its end. One that never came to be has ended already."""
        if self._child is None:
            return CollaboratorExited(0, progressed=False, session=self._context.session())
        await self._child.stop()
        return None

    def _explain(self, command: ReportEnd) -> str:
        """Say how the Collaborator ended; its last line only where the site shares its logs."""
        assert self._child is not None  # noqa: S101 (it has ended)
        shared = self._route is not None and self._route.shared
        workers, last = unmarked(self._child.last_line() if shared else "")
        last = f"{WORKER}: {last}" if workers else last
        last = f"it was frozen for {FROZEN_S:g} s" if self._child.frozen else last
        times = f", {command.attempts} times without delivering anything" if command.attempts > 1 else ""
        return (f"{describe_exit(command.exit_code)}{times}" + (f"; last line: {last}" if last else ""))[:MAX_MESSAGE]


def _refusal(error: Exception) -> PreparationFailed:
    cause = no_room(error) or error
    kind = FailureKind.ENVIRONMENT if isinstance(cause, RequirementsError) else FailureKind.ORDER
    text = bounded(str(cause))
    return PreparationFailed(text, Failure(kind, text, type(cause).__name__))
