"""Experiments that move from one Director to another: made into a file here, taken in there."""

import asyncio
import contextlib
import errno
import logging
import re
import shutil
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from openfl_like.errors import (
    BundleError,
    ConflictError,
    FederationError,
    NotAllowedError,
    NotFoundError,
    StorageError,
    no_room,
)
from openfl_like.events.callbacks.base import folder_use
from openfl_like.failpoints import failpoint
from openfl_like.federation.announcements import (
    KINDS,
    Announced,
    ExperimentBegun,
    ExperimentEnded,
    ExperimentImported,
    ExperimentQueued,
    ExperimentResumed,
    UnknownAnnouncement,
)
from openfl_like.federation.parties import ExperimentSummary
from openfl_like.federation.ports import CheckpointOffer, UploadTarget
from openfl_like.federation.state import load_state
from openfl_like.pki.files import Credentials
from openfl_like.pki.roles import NAME
from openfl_like.pki.signing import verify_submitter
from openfl_like.plan.bundles.bundle import unpack
from openfl_like.plan.checks import check_plan
from openfl_like.plan.digest import freeze, plan_digest
from openfl_like.plan.schema import Plan
from openfl_like.services.director.disk_space import DiskSpace
from openfl_like.services.director.settings import DirectorFile, check_plan_here
from openfl_like.services.director.single_flight import SingleFlight, check_request_id
from openfl_like.store.checkpoint import (
    BUNDLE,
    EVENTS,
    HEAD,
    MAX_CHECKPOINT_BYTES,
    PLAN,
    RECORD,
    Checkpoint,
    Origin,
    read_checkpoint,
    read_events,
    read_record,
    write_checkpoint,
)
from openfl_like.store.director_files import UNFINISHED, DirectorFiles
from openfl_like.store.files import RESULTS, ExperimentFiles, sync_names
from openfl_like.store.ports import DirectorStore, Recorded, StoredExperiment, Stores
from openfl_like.store.results import write_results
from openfl_like.tasks import TaskOwner
from openfl_like.tensors.manifest import sha256_file

log = logging.getLogger(__name__)
ORIGIN = "origin.json"
_KIND = re.compile(r"[a-z_]{1,64}")
_MOST_SECONDS = 1 << 36
_MOST_EPOCHS = 1 << 31
_BEGINS = (ExperimentQueued, ExperimentBegun, ExperimentResumed)


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """Makes checkpoints and takes them in.

    Args:
        settings: director.yaml.
        credentials: The Director's certificate.
        store: What it remembers.
        stores: Opens the records of experiments.
        disk_space: Whether there is room on its disks.
        taking: Imports under way, by user and request.
    """

    settings: DirectorFile
    credentials: Credentials
    store: DirectorStore
    stores: Stores
    disk_space: DiskSpace
    taking: SingleFlight[ExperimentSummary] = field(default_factory=SingleFlight)
    _making: dict[str, asyncio.Lock] = field(default_factory=dict)
    _writing: TaskOwner = field(default_factory=TaskOwner)

    @property
    def files(self) -> DirectorFiles:
        """Names of what the Director keeps."""
        return self.settings.files

    # ---- out

    @contextlib.asynccontextmanager
    async def exported(self, experiment: str) -> AsyncIterator[Path]:
        """Make the checkpoint of an experiment that has ended; the file goes when the block is left.

        Of one experiment there is one such file at a time; who else asks for it waits.

        Raises:
            ConflictError: If it has not ended, or its files are not what its record says.
            NotFoundError: If there is none.
            StorageError: If there is no room for it.
        """
        lock = self._making.setdefault(self.store.experiment(experiment).summary.id, asyncio.Lock())
        async with lock, self._written(experiment) as path:
            yield path

    @contextlib.asynccontextmanager
    async def _written(self, experiment: str) -> AsyncIterator[Path]:
        stored = self.store.experiment(experiment)
        summary = stored.summary
        if not summary.status.ended:
            raise ConflictError(
                f"the experiment '{summary.id}' is {summary.status}; only one that has ended can be exported",
                cure=f"wait for its end, or 'fx experiment cancel {summary.id}': it can be resumed here or there",
            )
        federation = self.credentials.identity.federation
        origin = Origin(federation, stored.signature.hex(), stored.certificates.decode())
        self.files.outgoing.mkdir(exist_ok=True, mode=0o700)
        out, files = self.files.export(summary.id), self.files.experiment(summary.id)
        largest = (files.bundle, *files.models().values(), *files.server_states().values())
        self._check_room(sum(path.stat().st_size for path in largest if path.exists()))
        work = asyncio.to_thread(write_checkpoint, summary, origin, stored.bundle, files, self.stores, out)
        writing = self._writing.start(work, name=f"export {summary.id}")
        try:
            await asyncio.shield(writing)  # a thread cannot be broken off
            self._still(summary)
            failpoint("director.export.written", out)
            yield out
        except ConflictError:
            self._still(summary)
            raise
        finally:
            if writing.done():
                out.unlink(missing_ok=True)
            else:
                writing.add_done_callback(lambda done: _remove(done, out))

    @contextlib.asynccontextmanager
    async def results(self, experiment: str) -> AsyncIterator[Path]:
        """Make an archive of what an experiment's callbacks have written by now; it goes when the block is left.

        Raises:
            ConflictError: If it is more than an archive may hold.
            NotFoundError: If there is nothing.
            StorageError: If there is no room for it.
        """
        lock = self._making.setdefault(self.store.experiment(experiment).summary.id, asyncio.Lock())
        async with lock:
            folder = self.files.experiment(experiment).directory / RESULTS
            self.files.outgoing.mkdir(exist_ok=True, mode=0o700)
            self._check_room((await asyncio.to_thread(folder_use, folder)).size_bytes)
            out = self.files.export(experiment)
            writing = self._writing.start(asyncio.to_thread(write_results, folder, out), name=f"results {experiment}")
            try:
                await asyncio.shield(writing)  # a thread cannot be broken off
                yield out
            finally:
                if writing.done():
                    out.unlink(missing_ok=True)
                else:
                    writing.add_done_callback(lambda done: _remove(done, out))

    def _still(self, summary: ExperimentSummary) -> None:
        if self.store.experiment(summary.id).summary != summary:
            raise ConflictError(f"the experiment '{summary.id}' was resumed while it was exported")

    # ---- in

    async def expect_checkpoint(self, identity: str, offer: CheckpointOffer) -> UploadTarget:
        """Check request id, size, room and signature before a byte of the archive is taken."""
        check_request_id(offer.request_id)
        size = offer.manifest.total_bytes
        if size > MAX_CHECKPOINT_BYTES:
            raise BundleError(f"the checkpoint has {size:,} bytes, the limit is {MAX_CHECKPOINT_BYTES:,}")
        signer = verify_submitter(offer.bundle, offer.signature, offer.certificates, self.credentials.trust)
        if signer.uri != identity:  # as for submissions
            raise NotAllowedError(f"{identity} imports a bundle that {signer.uri} signed")
        target = self.files.checkpoint(signer.name, offer.request_id)
        if await asyncio.to_thread(self.store.requested, signer.name, offer.request_id) is not None:
            return UploadTarget(target, complete=True)
        self._check_room(2 * size)  # the archive, and what is in it
        return UploadTarget(target)

    def _check_room(self, size: int) -> None:
        self.disk_space.check()
        free = shutil.disk_usage(self.files.state).free
        if free < size:
            raise StorageError(
                f"a checkpoint needs {size:,} bytes at the director, {free:,} are free",
                cure="make room on the director's disk",
            )

    async def take_checkpoint(self, caller: str, offer: CheckpointOffer) -> ExperimentSummary:
        """Take in a complete checkpoint; it is on disk when this returns.

        Raises:
            BundleError: If anything in it is damaged or does not fit; the message names the entry.
            ConflictError: If an experiment of this id is here.
            PlanError: If its plan has longer times than this Director's certificates.
            StorageError: If there is no room; what has arrived is kept.
        """
        return await self.taking.do((caller, offer.request_id), lambda: self._take(caller, offer))

    def _take(self, caller: str, offer: CheckpointOffer) -> ExperimentSummary:
        incoming = self.files.checkpoint(caller, offer.request_id)
        known = self.store.requested(caller, offer.request_id)
        if known is not None:
            incoming.unlink(missing_ok=True)
            return known
        failpoint("director.import.received")
        staging = self.files.unpacked()
        try:
            checkpoint = read_checkpoint(incoming, staging)
            failpoint("director.import.unpacked")
            if checkpoint.bundle != offer.bundle:
                raise BundleError("the bundle in the checkpoint is not the one that was signed for the import")
            self._refuse_known(checkpoint.summary.id)
            check_plan_here(_furnish(ExperimentFiles(staging), checkpoint, caller, self.stores), self.settings)
            failpoint("director.import.built")
            log.info("experiment %s imported by %s", checkpoint.summary.id, caller)
            found = self._enter(staging, checkpoint, caller, offer)
        except (FederationError, OSError) as error:
            full = no_room(error)
            if full is None:
                incoming.unlink(missing_ok=True)
            raise full or error from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        incoming.unlink(missing_ok=True)
        return found

    def _enter(self, staging: Path, checkpoint: Checkpoint, caller: str, offer: CheckpointOffer) -> ExperimentSummary:
        """Give a complete directory its place, and then the row that makes it an experiment of ours."""
        summary = replace(checkpoint.summary, owner=caller)
        directory = self.files.experiment(summary.id).directory
        directory.parent.mkdir(exist_ok=True, mode=0o700)
        try:
            staging.rename(directory)
        except OSError as error:
            if error.errno in {errno.EEXIST, errno.ENOTEMPTY}:
                raise _taken(summary.id) from None
            raise
        sync_names(directory.parent)
        failpoint("director.import.placed")
        try:
            stored = StoredExperiment(summary, offer.bundle, offer.signature, offer.certificates)
            found = self.store.add(offer.request_id, stored)
        finally:
            known = self.store.requested(caller, offer.request_id)
            if known is None or known.id != summary.id:
                ExperimentFiles(directory).remove()
        failpoint("director.import.recorded")
        (directory / UNFINISHED).unlink()
        return found

    def _refuse_known(self, experiment: str) -> None:
        with contextlib.suppress(NotFoundError):
            self.store.experiment(experiment)
            raise _taken(experiment)


def _remove(writing: asyncio.Task[None], out: Path) -> None:
    if not writing.cancelled():
        writing.exception()  # its caller was told, or has gone
    out.unlink(missing_ok=True)


def _taken(experiment: str) -> ConflictError:
    return ConflictError(
        f"there is an experiment '{experiment}' here already; a checkpoint is taken in once",
        cure=f"its owner goes on with it by 'fx experiment resume {experiment}' if it FAILED or was cancelled",
    )


# ---- what a checkpoint must be ------------------------------------------------------------------------------------


def _furnish(files: ExperimentFiles, checkpoint: Checkpoint, caller: str, stores: Stores) -> Plan:
    """Make the directory of an experiment from the entries of a checkpoint, everything durable; return its plan."""
    staging = files.directory
    try:
        plan = unpack(staging / BUNDLE, staging / "workspace")
        check_plan(plan, "the imported plan")
        _check_summary(checkpoint, plan, (staging / PLAN).read_bytes())
        recorded = read_record(staging, checkpoint)
        _check_record(recorded, checkpoint, staging)
    except ConflictError as error:
        raise BundleError(error.message, place=error.place, cure=error.cure) from None
    (staging / UNFINISHED).touch()
    origin = ExperimentImported(caller, checkpoint.origin.federation, checkpoint.summary.owner)
    with contextlib.closing(stores.experiment(files)) as store:
        store.fill(recorded, _ending(read_events(staging), checkpoint.summary))
        store.announce(time.time(), origin)
    (staging / HEAD).rename(staging / ORIGIN)
    for name in (EVENTS, RECORD):
        (staging / name).unlink()
    files.prepare()
    sync_names(staging / "models", staging)
    return plan


def _check_summary(checkpoint: Checkpoint, plan: Plan, frozen: bytes) -> None:
    summary = checkpoint.summary
    for name in (checkpoint.origin.federation, summary.owner):
        if not NAME.fullmatch(name):
            raise BundleError(f"{name[:80]!r} is not a valid name", place=HEAD)
    if not all(0 <= moment < _MOST_SECONDS for moment in (summary.submitted_at, summary.started_at, summary.ended_at)):
        raise BundleError("its times are out of range", place=HEAD)
    if not re.fullmatch(rf"{re.escape(plan.name[:48])}-[0-9a-f]{{8}}", summary.id) or summary.name != plan.name:
        raise BundleError(f"the experiment {summary.id[:80]!r} is not one of the plan '{plan.name}'", place=HEAD)
    if not summary.status.ended:
        raise BundleError(f"the experiment is {summary.status}; a checkpoint is of one that has ended", place=HEAD)
    if frozen != freeze(plan) or summary.plan_digest != plan_digest(plan):
        raise BundleError(f"the plan is not the one of {BUNDLE}", place=PLAN)


def _check_record(recorded: Recorded, checkpoint: Checkpoint, directory: Path) -> None:
    """Look whether an Aggregator could go on from it; what `read_record` has compared is not looked at again."""
    if not 0 <= recorded.epoch < _MOST_EPOCHS or not all(
        0 <= v.published_at < _MOST_SECONDS for v in recorded.versions
    ):
        raise BundleError("its epoch or its times are out of range", place=RECORD)
    if recorded.snapshot is None:
        if recorded.versions:
            raise BundleError("it has rounds and no snapshot", place=RECORD)
    else:
        state = load_state(dict(recorded.snapshot), [item.version for item in recorded.versions])
        if state.experiment_id != checkpoint.summary.id:
            raise BundleError(f"the snapshot is of {state.experiment_id[:80]!r}", place=RECORD)
    files = ExperimentFiles(directory)
    from openfl_like.tensors.container import TensorFile

    for number in checkpoint.models():
        TensorFile(files.model(number)).close()  # malformed ones are refused
        said = recorded.versions[number].sha256
        if said and sha256_file(files.model(number)) != said:
            raise BundleError(f"the model of round {number} has another SHA-256 than its row", place=RECORD)
    for number in checkpoint.server_states():
        TensorFile(files.server_state(number)).close()


def _check_event(event: Announced) -> None:
    if not _KIND.fullmatch(event.kind) or not 0 <= event.time < _MOST_SECONDS:
        raise BundleError(f"event {event.sequence} has no name or no time", place=EVENTS)
    if isinstance(event.announcement, UnknownAnnouncement) and event.kind in KINDS:
        raise BundleError(f"event {event.sequence} does not have the fields of its kind", place=EVENTS)


def _ending(events: Iterable[Announced], summary: ExperimentSummary) -> Iterator[Announced]:
    """Pass a history on, and refuse it if it does not end as the summary says."""
    end = ""
    for event in events:
        _check_event(event)
        if isinstance(event.announcement, _BEGINS):
            end = ""
        elif isinstance(event.announcement, ExperimentEnded):
            end = event.announcement.status.value
        yield event
    if end != summary.status.value:
        raise BundleError(f"the history ends {end or 'never'}, the experiment is {summary.status}", place=EVENTS)
