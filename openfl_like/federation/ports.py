"""What one party may ask another, as values: `wire` carries it, `services` answers it.

Messages of the two long-lived sessions (envoy and director, collaborator and aggregator) are the small values below;
everything a caller is, is its ``caller`` name, which the wire took from the certificate.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from openfl_like.federation.announcements import Announced
from openfl_like.federation.failure import Failure
from openfl_like.federation.parties import (
    DataProblem,
    DeviceStatistics,
    DirectorStatus,
    EnvoyDetail,
    EnvoyRecord,
    ExperimentRecord,
    ExperimentSummary,
    LogLines,
    LogQuery,
    RemovedExperiment,
    ServerInfo,
    ShardFacts,
    Validity,
)
from openfl_like.federation.reports.machine import UNTOLD, MachineFacts
from openfl_like.federation.reports.progress import TaskProgress
from openfl_like.federation.status import Status
from openfl_like.federation.task import Assignment, Phase, Update
from openfl_like.tensors.manifest import Manifest

# ---- envoy -> director --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hello:
    """An envoy presents itself and its shard.

    Attributes:
        shard: What its data is like.
        version: Of the platform.
        more_shards: Further shards, each of another data interface.
        problem: Why it refuses orders; None: it takes them.
    """

    shard: ShardFacts
    version: str
    more_shards: tuple[ShardFacts, ...] = ()
    problem: DataProblem | None = None


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """An envoy is alive; ``running`` are the experiments it works for, ``placed`` says on which device each."""

    devices: DeviceStatistics
    running: tuple[str, ...] = ()
    placed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OrderReply:
    """An envoy takes an order (with a CSR for the collaborator's key) or refuses it (with a reason)."""

    experiment: str
    accepted: bool
    reason: str = ""
    csr: bytes = b""
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class CollaboratorEnded:
    """The collaborator of an experiment ended at a site."""

    experiment: str
    exit_code: int
    reason: str = ""


EnvoyReport = Hello | Heartbeat | OrderReply | CollaboratorEnded | LogLines

# ---- director -> envoy --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Welcome:
    """The director took the envoy into its roster; sent again when the time between heartbeats changes."""

    heartbeat_s: float


@dataclass(frozen=True, slots=True)
class Order:
    """Take part in an experiment.

    Attributes:
        experiment: Its id.
        bundle: Digest of the workspace bundle.
        signature: The submitter's signature over that digest.
        certificates: The submitter's certificate chain, PEM.
        aggregator_address: ``host:port`` of the experiment's Aggregator.
    """

    experiment: str
    bundle: str
    signature: bytes
    certificates: bytes
    aggregator_address: str


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """The short-lived certificate for the collaborator's key, PEM chain."""

    experiment: str
    chain: bytes


@dataclass(frozen=True, slots=True)
class StopOrder:
    """End the collaborator of an experiment.

    Attributes:
        experiment: Its id.
        reason: Why.
        ended: How the experiment ended, if that is why; then the reason is that of its end.
    """

    experiment: str
    reason: str
    ended: Status | None = None


MOST_RETRY_S = 86_400.0
"""The longest time that an envoy may be told to stay away: a day."""


@dataclass(frozen=True, slots=True)
class LeaveOrder:
    """End the session, and come back later; Collaborators go on.

    Attributes:
        message: Why, for people at the site.
        retry_after_s: Seconds after which to look for the Director again, at most a day.
    """

    message: str
    retry_after_s: float


EnvoyInstruction = Welcome | Order | IssuedCertificate | StopOrder | LeaveOrder

# ---- collaborator <-> aggregator ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ready:
    """A collaborator is ready for assignments of the plan with this digest; ``facts`` are of its machine."""

    plan_digest: str
    facts: MachineFacts = UNTOLD


@dataclass(frozen=True, slots=True)
class TaskFailure:
    """A task raised or its worker died."""

    round: int
    phase: Phase
    failure: Failure


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """An assignment is not wanted any more."""

    round: int
    phase: Phase
    reason: str


@dataclass(frozen=True, slots=True)
class Dismissal:
    """The experiment has ended."""

    status: str
    reason: str


CollaboratorReport = Ready | TaskFailure | TaskProgress | Update
AggregatorInstruction = Assignment | Withdrawal | Dismissal

# ---- the services -------------------------------------------------------------------------------------------------


class Arrival(Protocol):
    """Whoever works on a file while it is still arriving."""

    def begin(self, part: Path, missing: Collection[int]) -> None:
        """All chunks but these are in this file, which gets its name when it is complete."""

    def placed(self, index: int) -> None:
        """A chunk is here, and is the promised one; on the thread that receives."""


@dataclass(frozen=True, slots=True)
class UploadTarget:
    """Where an upload goes.

    Attributes:
        path: The file to write.
        recyclable: A file that may be overwritten instead of making a new one.
        complete: Whether the file is there already, as promised.
        arrival: Is told what of it is there; None: nobody asks.
    """

    path: Path
    recyclable: Path | None = None
    complete: bool = False
    arrival: Arrival | None = None


@dataclass(frozen=True, slots=True)
class FileWithManifest:
    """A file with its manifest, ready to be sent; ``content`` is all of it, where that is small and known already."""

    path: Path
    manifest: Manifest
    content: bytes | None = None


@dataclass(frozen=True, slots=True)
class Submission:
    """A bundle offered by a user.

    Attributes:
        request_id: Chosen by the client: the same id never makes two experiments.
        manifest: The bundle's manifest.
        signature: Over the bundle's digest, by the user's key.
        certificates: The user's chain, PEM.
    """

    request_id: str
    manifest: Manifest
    signature: bytes
    certificates: bytes


@dataclass(frozen=True, slots=True)
class CheckpointOffer:
    """A checkpoint offered by a user, who answers from now on for the code in it.

    Attributes:
        request_id: As in `Submission`.
        manifest: The archive's manifest.
        bundle: Digest of the workspace bundle in the archive.
        signature: Over that digest, by the key of the user who imports.
        certificates: That user's chain, PEM.
    """

    request_id: str
    manifest: Manifest
    bundle: str
    signature: bytes
    certificates: bytes


class CollaboratorPort(Protocol):
    """What collaborators ask an Aggregator."""

    async def participate(
        self,
        caller: str,
        reports: AsyncIterator[CollaboratorReport],
        send: Callable[[AggregatorInstruction], Awaitable[None]],
        certificate: Validity | None = None,
    ) -> None:
        """Hold a collaborator's session until either side ends it; ``certificate`` is the one that it has shown."""

    async def model_file(self, caller: str, digest: str) -> FileWithManifest:
        """Return the file of a model version, or of an update that the caller is to score."""

    async def expect_update(self, update: Update, manifest: Manifest) -> UploadTarget:
        """Check an offered update before a byte of it is taken; the target of one taken before is complete."""

    async def commit_update(self, update: Update, content: bytes | None = None) -> None:
        """Take a complete, verified update into the round; ``content`` is all of its file, if that is at hand."""


class AggregatorPort(Protocol):
    """What the Director (or an administrator) asks an Aggregator."""

    def watch(self, after: int, *, progress: bool = False) -> AsyncIterator[Sequence[Announced]]:
        """Yield the experiment's history after a sequence number, then what happens; a few events at a time.

        With ``progress`` also how far tasks are, which has no sequence number.
        """

    async def cancel(self, caller: str) -> None:
        """End the experiment as CANCELLED."""

    async def report_loss(self, collaborator: str, reason: str) -> None:
        """Note that a collaborator's process has ended and will not come back."""


class AttendancePort(Protocol):
    """What envoys ask the Director."""

    async def attend(
        self,
        caller: str,
        reports: AsyncIterator[EnvoyReport],
        send: Callable[[EnvoyInstruction], Awaitable[None]],
        certificate: Validity | None = None,
    ) -> None:
        """Hold an envoy's session until either side ends it, or its certificate does."""

    async def bundle_file(self, caller: str, experiment: str) -> Path:
        """Return the workspace bundle of an experiment that this envoy was asked to take part in."""


class DirectorPort(Protocol):
    """What anybody may ask the Director about itself."""

    def server_info(self) -> ServerInfo:
        """Return version, clock, and the shapes that every shard must have."""

    async def status(self) -> DirectorStatus:
        """Return how the Director is."""


class EnvoysPort(Protocol):
    """What users ask the Director about envoys."""

    async def envoys(self) -> list[EnvoyRecord]:
        """List the roster."""

    async def envoy(self, name: str) -> EnvoyDetail:
        """Return everything known of an envoy."""


class SubmissionPort(Protocol):
    """What users have the Director do."""

    async def expect_bundle(self, identity: str, submission: Submission) -> UploadTarget:
        """Check a bundle that this identity (``fx://…/user/ada``) offers before a byte of it is taken."""

    async def submit(self, caller: str, submission: Submission) -> ExperimentSummary:
        """Queue a complete, verified bundle; the answer is given when it is durable."""

    async def cancel(self, caller: str, experiment: str) -> ExperimentSummary:
        """End a queued or running experiment as CANCELLED; answer when it has ended."""

    async def resume(self, caller: str, experiment: str) -> ExperimentSummary:
        """Queue an experiment again that FAILED or was CANCELLED; the answer is given when it is durable."""


class ExperimentsPort(Protocol):
    """What users read of experiments."""

    async def experiments(self) -> list[ExperimentSummary]:
        """List all experiments, oldest first."""

    async def experiment(self, experiment: str) -> ExperimentRecord:
        """Return everything known of one experiment."""

    def watch(
        self, experiment: str, after: int, *, stored: bool, progress: bool = False
    ) -> AsyncIterator[Sequence[ExperimentSummary | Announced]]:
        """Yield history and live events until the experiment has ended; or only the events that are ``stored``.

        With ``progress`` also how far tasks are, which has no sequence number.
        """

    def logs(self, experiment: str, query: LogQuery) -> AsyncGenerator[LogLines]:
        """Yield stored log lines, and with ``query.follow`` those that come, until there will be no more."""

    async def model(self, experiment: str, which: str) -> FileWithManifest:
        """Return the file of the best or last version or of a round number."""


class RemovalPort(Protocol):
    """What users have the Director forget."""

    async def remove(self, caller: str, experiment: str) -> RemovedExperiment:
        """Remove an experiment that has ended; the answer is given when it is not there any more."""


class CheckpointPort(Protocol):
    """What users take away of experiments, or bring, as one file: checkpoints, and what callbacks have written."""

    def results(self, experiment: str) -> AbstractAsyncContextManager[Path]:
        """Make an archive of what an experiment's callbacks have written by now; it goes when the block is left."""

    def exported(self, experiment: str) -> AbstractAsyncContextManager[Path]:
        """Make the checkpoint of an experiment that has ended; the file goes when the block is left."""

    async def expect_checkpoint(self, identity: str, offer: CheckpointOffer) -> UploadTarget:
        """Check a checkpoint that this identity (``fx://…/user/ada``) offers before a byte of it is taken."""

    async def take_checkpoint(self, caller: str, offer: CheckpointOffer) -> ExperimentSummary:
        """Take in a complete checkpoint; the answer is given when it is durable."""
