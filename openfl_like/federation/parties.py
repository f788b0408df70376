"""What the parties of a federation know of one another."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from openfl_like.federation.events import ModelVersion, Status


@dataclass(frozen=True, slots=True)
class ShardFacts:
    """What an envoy says of its shard.

    Attributes:
        sample_shape: Shape of one sample.
        target_shape: Shape of one target; () is a scalar.
        description: For people.
        schema: The shard's data schema as JSON values.
    """

    sample_shape: tuple[int, ...]
    target_shape: tuple[int, ...]
    description: str = ""
    schema: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GpuStatistics:
    """State of one GPU."""

    name: str
    utilisation_percent: float
    memory_total_bytes: int
    memory_used_bytes: int


@dataclass(frozen=True, slots=True)
class DeviceStatistics:
    """State of a site's machine, as sent with every heartbeat."""

    cpu_percent: float = 0.0
    cpu_count: int = 0
    load_1m: float = 0.0
    memory_total_bytes: int = 0
    memory_used_bytes: int = 0
    disk_total_bytes: int = 0
    disk_used_bytes: int = 0
    gpus: tuple[GpuStatistics, ...] = ()


@dataclass(frozen=True, slots=True)
class EnvoyRecord:
    """One row of the Director's roster; ``last_seen`` is seconds since the epoch."""

    name: str
    online: bool
    last_seen: float
    shard: ShardFacts
    devices: DeviceStatistics = DeviceStatistics()
    running: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DirectorStatus:
    """How a Director is.

    Attributes:
        version: Of the platform.
        problems: What it lacks; empty when it is healthy.
        queued: Experiments that wait.
        running: Experiments that have begun.
        envoys: Envoys that are connected.
        warnings: What will need attention, such as certificates that end soon.
    """

    version: str
    problems: tuple[str, ...] = ()
    queued: int = 0
    running: int = 0
    envoys: int = 0
    warnings: tuple[str, ...] = ()

    @property
    def health(self) -> str:
        """``healthy`` or ``degraded``."""
        return "degraded" if self.problems else "healthy"


@dataclass(frozen=True, slots=True)
class ExperimentSummary:
    """Where an experiment stands; times are seconds since the epoch, 0 when not yet.

    Attributes:
        degraded: Whether it FINISHED, but rounds were made or evaluated without sites that were asked.
        shortfalls: Those sites, with the first such round or evaluation and the reason.
    """

    id: str
    name: str
    status: Status
    reason: str
    owner: str
    submitted_at: float
    started_at: float = 0.0
    ended_at: float = 0.0
    plan_digest: str = ""
    degraded: bool = False
    shortfalls: Mapping[str, str] = field(default_factory=dict)

    @property
    def standing(self) -> str:
        """The status for people: ``FINISHED (DEGRADED)`` where that is so."""
        return f"{self.status.value} (DEGRADED)" if self.degraded else self.status.value


@dataclass(frozen=True, slots=True)
class PublishedVersion:
    """A published model version.

    Attributes:
        version: What it is.
        sha256: SHA-256 (hex) of its file, as ``sha256sum`` prints it; empty but for the last and the best version of an
            experiment that has ended.
        published_at: Seconds since the epoch.
    """

    version: ModelVersion
    sha256: str
    published_at: float


@dataclass(frozen=True, slots=True)
class ExperimentRecord:
    """Everything the Director tells of one experiment.

    Attributes:
        summary: Where it stands.
        versions: Its published versions.
        plan: The frozen plan as JSON text.
        update_surplus: Site -> standing -> how many updates came that could not count, in all rounds together.
    """

    summary: ExperimentSummary
    versions: tuple[PublishedVersion, ...]
    plan: str
    update_surplus: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EventRecord:
    """An announcement as the store committed it.

    Attributes:
        sequence: Position in the experiment's history, from 1, without gaps.
        time: Seconds since the epoch.
        kind: The announcement's kind.
        fields: JSON values.
    """

    sequence: int
    time: float
    kind: str
    fields: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LogLines:
    """Lines that one source (a site, or ``aggregator``) wrote for an experiment.

    Attributes:
        role: Which process wrote them, see `role_of`; empty on their way to the Director.
        position: Where the source's log goes on after them, in bytes since it began; for `LogQuery.after`.
        complete: Whether nothing follows: the experiment has ended, and this message says only that.
    """

    experiment: str
    source: str
    lines: tuple[str, ...]
    role: str = ""
    position: int = 0
    complete: bool = False


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Which log lines of an experiment somebody wants.

    Attributes:
        source: Of this site, or ``aggregator``; empty: of all.
        role: Of this one of `LOG_ROLES`; empty: of all.
        follow: Whether to go on until the experiment has ended, and all that belongs to it has arrived.
        after: Source -> the position that is known already.
    """

    source: str = ""
    role: str = ""
    follow: bool = False
    after: Mapping[str, int] = field(default_factory=dict)


LOG_ROLES = ("aggregator", "collaborator", "worker", "envoy", "director")
"""Who writes log lines; the Envoy's are of the preparation of an environment, the Director's tell what is missing."""


def role_of(source: str, line: str) -> str:
    """Says which process wrote a line: a worker's and an Envoy's begin with that word."""
    if source == "aggregator":
        return source
    first = line.partition(": ")[0]
    return first if first in {"worker", "envoy"} else "collaborator"
