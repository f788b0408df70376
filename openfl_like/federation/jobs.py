"""The jobs of a simulation that workers on other hosts do: each is leased, and another's when its lease runs out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from openfl_like.federation.failure import Failure
from openfl_like.federation.ports import UploadTarget
from openfl_like.federation.task import Assignment, Update
from openfl_like.tensors.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Terms:
    """What a worker that has registered goes by.

    Attributes:
        bundle: BLAKE3 identity (hex) of the bundle with plan and workspace.
        lease_s: So many seconds a lease lasts from when it was given, or renewed.
    """

    bundle: str
    lease_s: float


@dataclass(frozen=True, slots=True)
class Job:
    """What is done for a site.

    Attributes:
        site: Which.
        assignment: What is done; None: model and data are loaded, no more.
    """

    site: str
    assignment: Assignment | None


@dataclass(frozen=True, slots=True)
class Lease:
    """Jobs that are one worker's for now; it does them one after the other.

    Attributes:
        id: Names the lease.
        jobs: What is to be done.
    """

    id: str
    jobs: tuple[Job, ...]


@dataclass(frozen=True, slots=True)
class NoJobs:
    """Why a worker is given none.

    Attributes:
        ended: Whether the simulation has ended; else there are none yet.
    """

    ended: bool = False


@dataclass(frozen=True, slots=True)
class JobDone:
    """What came of a job.

    Attributes:
        update: What the site hands back; None if it was to be loaded only.
        content: The bytes of its model file; None if it was delivered before, or there is none.
    """

    update: Update | None
    content: bytes | None = None


@dataclass(frozen=True, slots=True)
class JobFailed:
    """Why nothing came of a job.

    Attributes:
        code: Of the error.
        reason: For people.
        failure: The same as values, where a task failed.
    """

    code: str
    reason: str
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class GivenUp:
    """Why nobody knows what came of a lease's jobs: a process was killed over them, or one of them is late."""

    reason: str


JobAnswer: TypeAlias = JobDone | JobFailed


def before_its_task(answer: JobAnswer) -> bool:
    """Whether a job failed before its task was begun, which may be the host's fault: it lacks a package, say."""
    return isinstance(answer, JobFailed) and (answer.failure is None or bool(answer.failure.step))


class JobsPort(Protocol):
    """Answers workers; whoever calls is named by their certificate."""

    def register(self, worker: str) -> Terms:
        """Have a worker take part."""
        ...

    async def next_lease(self, worker: str, bundle: str) -> Lease | NoJobs:
        """Wait for jobs, for some seconds.

        Args:
            worker: Who asks.
            bundle: What it has fetched: another process of this name may have registered since.

        Raises:
            ConflictError: If the worker has not registered, or has another bundle.
        """
        ...

    def renew(self, worker: str, lease: str) -> Lease:
        """Have a lease last longer, and return it; raises NotFoundError if it has run out."""
        ...

    def complete(self, worker: str, lease: str, outcome: Sequence[JobAnswer] | GivenUp) -> None:
        """Take what came of the jobs of a lease, an answer for each; raises NotFoundError if it has run out."""
        ...


class JobFilesPort(Protocol):
    """The files of jobs."""

    async def job_file(self, digest: str) -> tuple[Path, Manifest]:
        """Return the bundle, or a model; raises NotFoundError."""
        ...

    def expect_job_update(self, worker: str, lease: str, job: int, manifest: Manifest) -> UploadTarget:
        """Return where the update of a job goes that is too large for a message.

        Raises:
            NotFoundError: If the lease has run out.
            UpdateRefusedError: If it is larger than what the job started from.
        """
        ...
