"""What a service asks of a store, and the one value by which it opens any; nothing here knows what is behind it.

There are three stores: the memory of a Director, the record of each experiment, and that of a site. The first two are
put together from roles, so that whoever needs a part of a store names that part only.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic import JsonValue

from openfl_like.federation.announcements import Announced, Announcement
from openfl_like.federation.events import ModelVersion
from openfl_like.federation.failure import Failure
from openfl_like.federation.history.site import PartEnd, PerformedTasks, SitePart
from openfl_like.federation.parties import EnvoyRecord, ExperimentSummary, PublishedVersion
from openfl_like.federation.status import Status
from openfl_like.store.director_files import DirectorFiles
from openfl_like.store.files import ExperimentFiles
from openfl_like.store.site_files import SiteFiles

RESUMABLE = (Status.FAILED, Status.CANCELLED)

# ---- the record of an experiment ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TimedAnnouncement:
    """What listeners are told, and when it happened, in seconds since the epoch."""

    time: float
    announcement: Announcement


@dataclass(frozen=True, slots=True)
class FileContent:
    """The bytes of a small file of a round, which the record keeps until the file itself is on disk.

    Attributes:
        round: Whose model it is, or whose server state.
        digest: Identity of the file.
        data: All of it.
        is_state: Whether it is the server state.
    """

    round: int
    digest: str
    data: bytes
    is_state: bool = False


@dataclass(frozen=True, slots=True)
class Commit:
    """What one step of an experiment leaves behind, or several in a row; all of it becomes true at once.

    Attributes:
        now: Seconds since the epoch.
        snapshot: The experiment's state after the last step.
        told: What listeners are told, in its order.
        versions: Newly published versions.
        sha256: Round -> SHA-256 (hex) of its model, for versions whose hash has become known.
        durable: Whether it must survive a power cut when `ExperimentCommits.commit` returns.
        contents: Files of the versions that nobody has forced to disk: with the record they are there.
        settled: Rounds of which no content is needed any more.
    """

    now: float
    snapshot: Mapping[str, object]
    told: Sequence[TimedAnnouncement] = ()
    versions: Sequence[ModelVersion] = ()
    sha256: Mapping[int, str] = field(default_factory=dict)
    durable: bool = False
    contents: Sequence[FileContent] = ()
    settled: Collection[int] = ()

    def numbered(self, last: int) -> list[Announced]:
        """Return its announcements as they stand in a history after the event of this number."""
        return [Announced(number, item.time, item.announcement) for number, item in enumerate(self.told, last + 1)]


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a record holds besides its history.

    Attributes:
        snapshot: The experiment's state after the last commit; None before the first.
        epoch: The epoch of the last process that took the record; 0 before the first.
        versions: The published versions, by round.
    """

    snapshot: Mapping[str, JsonValue] | None
    epoch: int
    versions: tuple[PublishedVersion, ...]


class ExperimentHistory(Protocol):
    """What was told of an experiment, numbered from 1 without gaps."""

    def events(self, after: int = 0, kinds: Sequence[str] = ()) -> list[Announced]:
        """Return the events after a sequence number, in order; only those of some kinds if these are named."""

    def latest(self, *kinds: str) -> Announced | None:
        """Return the newest event that is of one of these kinds."""

    def announce(self, now: float, announcement: Announcement) -> Announced:
        """Add to the history from outside the experiment, durably; only while nobody commits to it."""


class ExperimentProgress(Protocol):
    """How far an experiment has come."""

    def snapshot(self) -> dict[str, Any] | None:
        """Return the state after the last commit, or None before the first."""

    def versions(self) -> list[PublishedVersion]:
        """Return the published versions by round; of those marked best the newest is the best."""

    def recorded(self) -> Recorded:
        """Return all but the events and the contents of files, as of one moment."""

    def contents(self) -> list[FileContent]:
        """Return the files that may not be on disk, by round."""


class ExperimentCommits(Protocol):
    """How the one process that drives an experiment records its steps.

    A process takes an epoch, and from then on whoever held an older one is refused, were it only asleep.
    """

    @property
    def epoch(self) -> int:
        """The epoch that this process has taken; taken now if it has none."""

    def take_epoch(self) -> int:
        """Make this process the only one that may commit, durably, and return the number of its epoch, from 1."""

    def check_epoch(self) -> None:
        """Raise ConflictError if another process has taken the record over."""

    def commit(self, step: Commit) -> list[Announced]:
        """Record a step as a whole or not at all; return its announcements as they are now in the history.

        A version of a round that has one already replaces it.

        Raises:
            ConflictError: If another process has taken the record over, or has told something meanwhile; nothing is
                written then.
            StorageError: If there is no room; nothing is written then.
        """

    def checkpoint(self) -> None:
        """Do what a store has to do now and then, and no commit should wait for; on any thread."""


class ExperimentStore(ExperimentHistory, ExperimentProgress, ExperimentCommits, Protocol):
    """The record of one experiment. It belongs to the experiment's directory: it moves with it, and goes with it."""

    def fill(self, recorded: Recorded, events: Iterable[Announced]) -> None:
        """Make an empty record what another one was, durably and at once.

        Args:
            recorded: What `recorded` gave there.
            events: The history there; may be longer than memory.

        Raises:
            ConflictError: If it is not empty.
        """

    def verify(self) -> None:
        """Read everything and compare it with itself.

        Raises:
            DamagedError: If anything is missing, or is not as it was written.
        """

    def close(self) -> None:
        """Let go of what it holds."""


# ---- the memory of a Director -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StoredExperiment:
    """An experiment as the Director keeps it: the summary and what the envoys must be shown.

    Attributes:
        summary: Where it stands.
        bundle: Digest of the workspace bundle.
        signature: The submitter's signature over it.
        certificates: The submitter's chain, PEM.
    """

    summary: ExperimentSummary
    bundle: str
    signature: bytes
    certificates: bytes


class KnownExperiments(Protocol):
    """The experiments that were ever submitted to a Director."""

    def requested(self, owner: str, request_id: str) -> ExperimentSummary | None:
        """Return the experiment that this request of this owner made before."""

    def experiment(self, experiment: str) -> StoredExperiment:
        """Return one experiment; raises NotFoundError."""

    def require(self, experiment: str) -> None:
        """Raise NotFoundError if there is no such experiment."""

    def experiments(self) -> list[ExperimentSummary]:
        """Return all experiments in the order in which they came."""


class ExperimentQueue(Protocol):
    """How experiments come, move on and come back; each change is durable when it returns."""

    def add(self, request_id: str, experiment: StoredExperiment) -> ExperimentSummary:
        """Queue an experiment; the same owner's same request id gives the experiment that it made before.

        Raises:
            ConflictError: If another request has made an experiment of this id.
        """

    def set_status(
        self,
        experiment: str,
        status: Status,
        reason: str,
        now: float,
        shortfalls: Mapping[str, Failure] | None = None,
        failure: Failure | None = None,
    ) -> ExperimentSummary:
        """Move an experiment on; one that has ended stays as it is.

        Args:
            experiment: Which one.
            status: Where it stands now.
            reason: Why.
            now: Seconds since the epoch.
            shortfalls: Sites without which it had to go on, and why.
            failure: Why it FAILED.

        Raises:
            NotFoundError: If there is none.
        """

    def requeue(self, experiment: str, by: str) -> ExperimentSummary:
        """Queue an experiment again that FAILED or was CANCELLED.

        Args:
            experiment: Which one.
            by: Who wants it; stays until the experiment starts.

        Raises:
            ConflictError: If it is anything else.
            NotFoundError: If there is none.
        """

    def remove(self, experiment: str) -> None:
        """Forget an experiment that has ended, with the request that made it.

        Raises:
            ConflictError: If it has not ended.
            NotFoundError: If there is none.
        """


class EnvoyRegister(Protocol):
    """The envoys that a Director has ever seen; nothing depends on it, so it need not survive a power cut."""

    def record_envoy(self, envoy: EnvoyRecord) -> None:
        """Remember an envoy: what it said of its shards, when it was here, and the list of its certificate."""

    def envoys(self) -> list[EnvoyRecord]:
        """Return every envoy ever seen, offline, by name."""


class DirectorStore(KnownExperiments, ExperimentQueue, EnvoyRegister, Protocol):
    """The memory of a Director."""

    def verify(self) -> None:
        """Read everything and compare it with itself.

        Raises:
            DamagedError: If anything is missing, or is not as it was written.
        """

    def close(self) -> None:
        """Let go of what it holds."""


# ---- the record of a site -----------------------------------------------------------------------------------------


class SiteStore(Protocol):
    """What a site has taken part in; it belongs to the Envoy's directory."""

    def begin(self, part: SitePart) -> int:
        """Record that an order was taken, durably, and return the part's number, from 1."""

    def end(self, part: int, end: PartEnd, reason: str, now: float, performed: Sequence[PerformedTasks]) -> None:
        """Record how a part ended, and what was done for it, durably; one that has ended stays as it is."""

    def parts(self, experiment: str | None = None, *, performed: bool = True) -> list[SitePart]:
        """Return the parts in the order in which they began.

        Args:
            experiment: Only those in this one; None: all.
            performed: Whether with what was done for them, which is most of what there is to read.
        """

    def remove(self, parts: Sequence[int]) -> None:
        """Forget parts, with what was done for them, durably."""

    def close(self) -> None:
        """Let go of what it holds."""


# ---- opening ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stores:
    """How stores are opened: made once, where a process begins, and handed to all who open one.

    Whoever opens a store closes it. The openers raise ConflictError if it cannot be opened or is of a newer version of
    the platform, DamagedError if it is damaged or has lost something, and StorageError if there is no room.

    Attributes:
        director: Opens the memory of the Director with these files, and makes it if there is none.
        experiment: Opens the record of the experiment with these files, and makes it if there is none.
        site: Opens the record of the site whose Envoy has these files, and makes it if there is none.
        has_record: Whether there is a record of the experiment with these files; makes none.
    """

    director: Callable[[DirectorFiles], DirectorStore]
    experiment: Callable[[ExperimentFiles], ExperimentStore]
    site: Callable[[SiteFiles], SiteStore]
    has_record: Callable[[ExperimentFiles], bool]
