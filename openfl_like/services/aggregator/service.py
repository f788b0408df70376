"""The Aggregator: the rounds of one experiment, served to its collaborators."""

import asyncio
import contextlib
import gc
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from openfl_like.errors import NotAllowedError, SettingsError, UpdateRefusedError
from openfl_like.events.bus import EventBus
from openfl_like.events.callbacks.orders import CodeOfCallbacks
from openfl_like.failpoints import failpoint
from openfl_like.federation.announcements import Announced
from openfl_like.federation.components import check_needs
from openfl_like.federation.deliveries import Deliveries
from openfl_like.federation.events import CancelRequested, CollaboratorLeft, CollaboratorRevoked
from openfl_like.federation.experiment import Experiment
from openfl_like.federation.parties import Outcome, Validity
from openfl_like.federation.parts.source import REGISTERED, PartSource, WorkspaceParts
from openfl_like.federation.ports import AggregatorInstruction, CollaboratorReport, FileWithManifest, UploadTarget
from openfl_like.federation.task import Update
from openfl_like.pki.files import Credentials
from openfl_like.pki.peer import PeerVerifier
from openfl_like.pki.revocation import RevocationList, Revocations
from openfl_like.pki.roles import Identity, Role
from openfl_like.plan.digest import plan_digest
from openfl_like.plan.schema import Plan
from openfl_like.processes.referee.limits import USUAL, RefereeLimits
from openfl_like.processes.referee.parts import RefereeParts
from openfl_like.runtimes.loop import ExperimentLoop, Post, SystemClock
from openfl_like.runtimes.mailbox import MailboxRuntime
from openfl_like.runtimes.models import ModelRepository
from openfl_like.runtimes.recorder import Record
from openfl_like.services.aggregator.opening import open_experiment, place_initial_model
from openfl_like.services.aggregator.recovery import check_models, check_server_state, mend_round, put_back_files
from openfl_like.services.experiment_callbacks import ExperimentCallbacks
from openfl_like.services.identity.revocation_feed import ListFile, follow_file
from openfl_like.store.files import RESULTS, ExperimentFiles
from openfl_like.store.ports import ExperimentStore, Stores
from openfl_like.tasks import background
from openfl_like.tensors.manifest import Manifest
from openfl_like.wire.aggregator import SERVICE, AggregatorServicer
from openfl_like.wire.server import Guard, Server, service_handler
from openfl_like.wire.transfer.chunks import INLINE_BYTES, asks
from openfl_like.wire.transfer.data_server import DataServer

log = logging.getLogger(__name__)
DRAIN_S = 5.0
HEADER_SLACK_BYTES = 1 << 16
INITIAL_MODEL_LIMIT_BYTES = 64 << 30


class WorkspaceCode(StrEnum):
    """How parts of a round run that the workspace brings.

    Attributes:
        HERE: In the Aggregator: whoever runs it has brought them.
        REFEREE: In a process of their own, which is confined.
        REFUSED: Not at all.
    """

    HERE = "here"
    REFEREE = "referee"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class AggregatorArguments:
    """What an Aggregator is started with.

    Attributes:
        experiment: Id of the experiment; its certificate must name it.
        plan: The plan.
        workspace: Where the plan's initial model is, if it names one.
        directory: The experiment's directory; a former run in it is taken up where it was.
        listen: ``host:port``.
        data_port: Port for data connections; 0 takes a free one, None leaves all to gRPC.
        credentials: Certificate and key of the role aggregator.
        expected: Collaborators to wait for; empty: as the plan says.
        revocations: File with the signed revocation list, which somebody else keeps new; None: nothing is revoked.
        code: How parts of a round run that the workspace brings.
        limits: What a referee may take, where that runs them.
    """

    experiment: str
    plan: Plan
    workspace: Path
    directory: Path
    listen: str
    data_port: int | None
    credentials: Credentials
    expected: tuple[str, ...] = ()
    revocations: Path | None = None
    code: WorkspaceCode = WorkspaceCode.HERE
    limits: RefereeLimits = USUAL


class Aggregator:
    """Answers collaborators and watchers; the loop decides.

    Args:
        drive: The loop.
        runtime: The collaborators' mailboxes.
        repository: Models and updates.
        bus: What watchers are told.
    """

    def __init__(
        self, loop: ExperimentLoop, runtime: MailboxRuntime, repository: ModelRepository, bus: EventBus
    ) -> None:
        self._loop = loop
        self._runtime = runtime
        self._repository = repository
        self._bus = bus

    async def participate(
        self,
        caller: str,
        reports: AsyncIterator[CollaboratorReport],
        send: Callable[[AggregatorInstruction], object],
        certificate: Validity | None = None,
    ) -> None:
        """Hold a collaborator's session."""
        await self._runtime.participate(caller, reports, send, certificate)  # type: ignore[arg-type] # same callable, wider type

    async def model_file(self, caller: str, digest: str) -> FileWithManifest:
        """Return a model; what stands for another's update only to the collaborator that is to score it now.

        Raises:
            NotAllowedError: If that is not the caller.
            NotFoundError: If there is no such model.
        """
        scored = self._repository.scored.find(digest) is not None
        if scored and not self._runtime.has_given(caller, digest):
            raise NotAllowedError(f"the model {digest[:12]} is an update that '{caller}' is not asked to score")
        manifest = await self._manifest(digest)
        content = self._repository.content(digest) if manifest.total_bytes < INLINE_BYTES else None
        return FileWithManifest(self._repository.path(digest), manifest, content)

    async def _manifest(self, digest: str) -> Manifest:
        known = self._repository.known(digest)
        return known if known is not None else await asyncio.to_thread(self._repository.manifest, digest)

    async def expect_update(self, update: Update, manifest: Manifest) -> UploadTarget:
        """Refuse an update that is not asked for or larger than the model it started from."""
        base_model = self._runtime.expects(update)
        if base_model is None:
            return UploadTarget(self._repository.spool_path(update), complete=True)
        await self._check_size(manifest.total_bytes, base_model)
        failpoint("aggregator.update.expected")
        path, spare = self._repository.spool_path(update), self._repository.recyclable(update.collaborator)
        arrival = None
        if asks(manifest):
            arrival = self._repository.arrival(update, manifest, base_model, self._runtime.asked(update))
        return UploadTarget(path, spare, arrival=arrival)

    async def _check_size(self, offered_bytes: int, base_model: str) -> None:
        if not base_model:
            if offered_bytes > INITIAL_MODEL_LIMIT_BYTES:
                raise UpdateRefusedError(
                    f"the initial model has {offered_bytes:,} bytes, the limit is {INITIAL_MODEL_LIMIT_BYTES:,}"
                )
            return
        given_bytes = (await self._manifest(base_model)).total_bytes
        if offered_bytes > given_bytes + HEADER_SLACK_BYTES:
            raise UpdateRefusedError(
                f"the update has {offered_bytes:,} bytes, the model that it started from {given_bytes:,}"
            )

    async def commit_update(self, update: Update, content: bytes | None = None) -> None:
        """Take a complete update into the round."""
        base_model = self._runtime.expects(update)
        if base_model is None:
            return
        failpoint("aggregator.update.spooled", self._repository.spool_path(update))
        # A compressed update is small, but as much work as the model that it stands for.
        base = self._repository.known(base_model)
        if base is not None and base.total_bytes < INLINE_BYTES and not self._repository.answers_late:
            self._repository.inspect(update, base_model, content)
        else:
            await asyncio.to_thread(self._repository.inspect, update, base_model)
        failpoint("aggregator.update.inspected")
        self._runtime.committed(update)
        failpoint("aggregator.update.taken")

    def watch(self, after: int, *, progress: bool = False) -> AsyncIterator[list[Announced]]:
        """Return history and live events, and how far tasks are if that is wanted."""
        return self._bus.batches(after, progress=progress)

    async def cancel(self, caller: str) -> None:
        """End the experiment as CANCELLED."""
        self._loop.post(CancelRequested(caller))

    async def report_loss(self, collaborator: str, reason: str) -> None:
        """Take it that a collaborator's process has ended."""
        self._loop.post(CollaboratorLeft(collaborator, reason, gone=True))


def _parts(settings: AggregatorArguments, stack: contextlib.AsyncExitStack) -> PartSource:
    match settings.code:
        case WorkspaceCode.HERE:
            return WorkspaceParts(settings.workspace)
        case WorkspaceCode.REFEREE:
            parts = RefereeParts(settings.workspace, settings.limits)
            stack.callback(parts.close)
            return parts
        case _:
            return REGISTERED


def _callbacks(
    settings: AggregatorArguments, files: ExperimentFiles, store: ExperimentStore, bus: EventBus
) -> ExperimentCallbacks:
    code = CodeOfCallbacks(settings.workspace.absolute(), confined=settings.code is WorkspaceCode.REFEREE)
    may = None if settings.code is WorkspaceCode.REFUSED else code
    return ExperimentCallbacks(settings.plan, files, files.directory / RESULTS, store, bus, may)


def _restore(
    settings: AggregatorArguments, store: ExperimentStore, repository: ModelRepository, parts: PartSource
) -> Experiment:
    """Open the experiment and look at the files that it goes on from."""
    files = ExperimentFiles(settings.directory)
    check_needs(settings.plan, simulated=False, parts=parts)
    if store.snapshot() is None:
        place_initial_model(settings.plan, settings.workspace, files)
    experiment = open_experiment(settings.experiment, settings.plan, store, files, settings.expected, parts)
    put_back_files(store, repository, files)
    check_models(experiment.versions, files)
    check_server_state(experiment, files)
    mend_round(experiment, repository, files)
    return experiment


def _only(experiment: str) -> Callable[[Identity], None]:
    def rule(caller: Identity) -> None:
        if caller.role is Role.COLLABORATOR and caller.experiment != experiment:
            raise NotAllowedError(
                f"{caller.uri} is a collaborator of another experiment than '{experiment}'",
                cure=f"use a certificate that was issued for '{experiment}'",
            )

    return rule


@dataclass(slots=True)
class _Door:
    """Who is let in, and who is put out.

    Args:
        settings: Where the list of what was revoked comes to.
        experiment: Knows with which certificates its collaborators have joined, also of before a restart: one that was
            revoked while no Aggregator ran does not show its certificate again.
    """

    settings: AggregatorArguments
    experiment: Experiment
    guard: Guard = field(init=False)
    _revocations: Revocations = field(default_factory=Revocations)
    _file: ListFile | None = None

    def __post_init__(self) -> None:
        trust = self.settings.credentials.trust
        self.guard = Guard(PeerVerifier(trust, self._revocations), _only(self.settings.experiment))
        if self.settings.revocations is None:
            return
        self._file = ListFile(self.settings.revocations, trust.site_ca)
        data = self._file.changed()
        if data is not None:
            self._revocations.take(RevocationList.read(data, trust.site_ca))

    def revoked(self) -> list[CollaboratorRevoked]:
        """Return the collaborators whose last certificate was revoked, whether they are here or not."""
        federation, known = self.guard.verifier.federation, sorted(self.experiment.certificate_lists.items())
        return [
            CollaboratorRevoked(name)
            for name, number in known
            if self._revocations.falls_with(
                Identity(federation, Role.COLLABORATOR, name, self.settings.experiment), number
            )
        ]

    def watching(self, post: Post) -> list[Coroutine[Any, Any, None]]:
        """Return what keeps the list new and tells whom it puts out."""

        def put_out() -> None:
            post(*self.revoked())
            self.guard.recheck()

        return [follow_file(self._file, self._revocations, put_out)] if self._file is not None else []


async def run_aggregator(
    settings: AggregatorArguments, stores: Stores, ready: Callable[[str, EventBus], None]
) -> Outcome:
    """Run an experiment from its start, or from where it was, to its end.

    Args:
        settings: What to run.
        stores: Opens the experiment's record.
        ready: Called with the address and the event bus when collaborators can connect.

    Raises:
        SettingsError: If the certificate is for another experiment.
        ConflictError: If the address is taken, or another Aggregator has taken the experiment over.
        DamagedError: If a file is damaged without which it cannot go on.
    """
    identity = settings.credentials.identity
    if identity.role is not Role.AGGREGATOR or identity.experiment != settings.experiment:
        raise SettingsError(
            f"the certificate is for {identity.uri}, the experiment is '{settings.experiment}'",
            cure=f"issue one with 'fx pki issue aggregator --experiment {settings.experiment}'",
        )
    files = ExperimentFiles(settings.directory)
    files.prepare()
    async with contextlib.AsyncExitStack() as stack:
        store = stores.experiment(files)
        failpoint("aggregator.opened")
        stack.callback(store.close)
        store.verify()
        epoch = store.take_epoch()
        if epoch > 1:
            log.info("'%s' goes on where it was: this is its epoch %d", settings.experiment, epoch)
        bus = EventBus(store.events)
        parts = _parts(settings, stack)
        repository = ModelRepository(settings.plan, files, parts)
        experiment = _restore(settings, store, repository, parts)
        failpoint("aggregator.restored")
        deliveries = Deliveries(experiment.receipts, experiment.round)
        runtime = MailboxRuntime(plan_digest(settings.plan), deliveries, lambda told: bus.show(told, time.time()))
        loop = ExperimentLoop(experiment, runtime, Record(store, repository, bus.publish), SystemClock())
        door = _Door(settings, experiment)
        await stack.enter_async_context(background(*door.watching(loop.post)))
        host, data = settings.listen.rpartition(":")[0], None
        if settings.data_port is not None:
            data = await stack.enter_async_context(
                DataServer(host, settings.data_port, settings.credentials, door.guard.verifier)
            )
        aggregator = Aggregator(loop, runtime, repository, bus)
        handler = service_handler(SERVICE, AggregatorServicer(aggregator, aggregator, data), door.guard)
        server = Server(settings.listen, settings.credentials, (handler,))
        await stack.enter_async_context(server)
        failpoint("aggregator.listening")
        ready(f"{host}:{server.port}", bus)
        gc.freeze()  # what was imported and restored stays: the collector need not look through it in every round
        outcome = await _callbacks(settings, files, store, bus).beside(loop.run(*door.revoked()), loop.post)
        bus.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                await runtime.drained()
                failpoint("aggregator.drained")
        return outcome
