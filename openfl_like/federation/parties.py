"""What the parties of a federation know of one another."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from openfl_like.federation.events import ModelVersion
from openfl_like.federation.failure import Failure
from openfl_like.federation.status import Status


@dataclass(frozen=True, slots=True)
class SiteTerms:
    """What a site takes of an experiment, as far as its shard.yaml says so and the site tells; None: it does not.

    Attributes:
        model_bytes: The largest model file.
        installs_requirements: Whether it installs what a workspace's lock names.
        devices: What workers may use: ``auto``, or as its list has it.
    """

    model_bytes: int | None = None
    installs_requirements: bool | None = None
    devices: tuple[str, ...] = ()


NO_TERMS = SiteTerms()


@dataclass(frozen=True, slots=True)
class ShardFacts:
    """What an envoy says of its shard.

    Attributes:
        sample_shape: Shape of one sample.
        target_shape: Shape of one target; () is a scalar.
        description: For people.
        schema: The shard's data schema as JSON values.
        interface: The data interface that it has; empty: the federation has one only, without a name.
        experiments_at_once: How many experiments the site bears at once.
        terms: What it takes of an experiment.
    """

    sample_shape: tuple[int, ...]
    target_shape: tuple[int, ...]
    description: str = ""
    schema: Mapping[str, object] = field(default_factory=dict)
    interface: str = ""
    experiments_at_once: int = 1
    terms: SiteTerms = NO_TERMS

    @property
    def shapes(self) -> "Interface":
        """What of it the federation agrees on."""
        return Interface(self.interface, self.sample_shape, self.target_shape)


@dataclass(frozen=True, slots=True)
class Interface:
    """The shapes of data of one kind: those that a federation has agreed on, or those that a site has.

    Attributes:
        name: Empty: there is one only, without a name.
        sample_shape: Shape of one sample.
        target_shape: Shape of one target; () is a scalar.
    """

    name: str
    sample_shape: tuple[int, ...]
    target_shape: tuple[int, ...]

    def __str__(self) -> str:
        named = f" and the interface '{self.name}'" if self.name else ""
        return f"samples of shape {list(self.sample_shape)}, targets of shape {list(self.target_shape)}{named}"


@dataclass(frozen=True, slots=True)
class DataProblem:
    """Why a site refuses orders: its data is not what it was when the Envoy began.

    Attributes:
        agreed: What the federation has agreed on of it.
        found: What it is now; None, both: it cannot be used, and the site's log says why.
    """

    agreed: Interface | None = None
    found: Interface | None = None

    def __str__(self) -> str:
        if self.agreed is None or self.found is None:
            return "the data of this site has changed and cannot be used; the site's log says why"
        return f"the data of this site has {self.found} now, not {self.agreed}"


@dataclass(frozen=True, slots=True)
class Validity:
    """How long a certificate counts.

    Attributes:
        begins: From when, in seconds since the epoch.
        ends: Until when, in seconds since the epoch.
        list_number: Of the revocation list under which it was issued; a later one may end it.
    """

    begins: float
    ends: float
    list_number: int = 0


@dataclass(frozen=True, slots=True)
class GpuStatistics:
    """State of one GPU; None is what its driver does not tell.

    Attributes:
        index: Its number at the site, as ``nvidia-smi`` counts: ``cuda:1`` is the one with index 1.
        name: The model.
        memory_total_bytes: What it has.
        memory_used_bytes: What is taken, by anybody.
        utilisation_percent: Share of the time in which it was busy.
        temperature_c: In degrees Celsius.
        power_w: What it draws, in watts.
    """

    index: int
    name: str
    memory_total_bytes: int | None = None
    memory_used_bytes: int | None = None
    utilisation_percent: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None


@dataclass(frozen=True, slots=True)
class DeviceStatistics:
    """State of a site's machine, as sent with every heartbeat; None is what no monitor of the site tells.

    Attributes:
        cpu_percent: Share of all processors that was busy since the reading before.
        cpu_count: Processors.
        load_1m: Processes that ran or waited to, on average over a minute.
        memory_total_bytes: Main memory.
        memory_used_bytes: What of it is not available.
        disk_total_bytes: The disk of the Envoy's folder.
        disk_used_bytes: What of it is taken.
        gpus: The GPUs.
        network_in_bytes_per_s: What came in since the reading before, over all but the loopback.
        network_out_bytes_per_s: What went out.
        temperature_c: Of the processor, in degrees Celsius.
        extra: What else the site's monitors tell: name -> number.
    """

    cpu_percent: float | None = None
    cpu_count: int | None = None
    load_1m: float | None = None
    memory_total_bytes: int | None = None
    memory_used_bytes: int | None = None
    disk_total_bytes: int | None = None
    disk_used_bytes: int | None = None
    gpus: tuple[GpuStatistics, ...] = ()
    network_in_bytes_per_s: float | None = None
    network_out_bytes_per_s: float | None = None
    temperature_c: float | None = None
    extra: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RemovedExperiment:
    """What went with an experiment that was removed.

    Attributes:
        experiment: Its id.
        models: How many versions of its model were there.
        freed_bytes: Of all its files.
    """

    experiment: str
    models: int
    freed_bytes: int

    def __str__(self) -> str:
        models = f"{self.models} model{'' if self.models == 1 else 's'}"
        return f"its record, its bundle and {models}, {self.freed_bytes:,} bytes"


@dataclass(frozen=True, slots=True)
class EnvoyRecord:
    """One row of the Director's roster; times are seconds since the epoch.

    Attributes:
        name: The site's name.
        online: Whether it has a session.
        last_seen: When anything came from it.
        shard: What it said of its shard.
        devices: The state of its machine, while it is online.
        running: The experiments that it works for.
        placed: Experiment -> the device of its worker at this site.
        more_shards: What it said of further shards, each of another data interface.
        online_since: When its session began; None while it has none.
        certificate_ends: When the certificate ends that it has shown in this session; None while it has none.
        version: Of the platform, which it said in this session; empty while it has none.
        problem: Why it refuses orders, as it said in this session; None: it takes them.
        certificate_list: Number of the revocation list under which the certificate was issued that it has shown last.
        revoked: Whether that certificate was revoked.
    """

    name: str
    online: bool
    last_seen: float
    shard: ShardFacts
    devices: DeviceStatistics = DeviceStatistics()
    running: tuple[str, ...] = ()
    online_since: float | None = None
    certificate_ends: float | None = None
    placed: Mapping[str, str] = field(default_factory=dict)
    more_shards: tuple[ShardFacts, ...] = ()
    version: str = ""
    problem: DataProblem | None = None
    certificate_list: int = 0
    revoked: bool = False

    @property
    def shards(self) -> tuple[ShardFacts, ...]:
        """All its shards."""
        return self.shard, *self.more_shards

    @property
    def experiments_at_once(self) -> int:
        """How many experiments the site bears at once: the least that it says of any shard."""
        return min(shard.experiments_at_once for shard in self.shards)


@dataclass(frozen=True, slots=True)
class Series:
    """Numbers of a machine over time.

    Attributes:
        slot_s: Seconds that each number is the mean of.
        times: When each of these spans began, in seconds since the epoch; one in which nothing came is left out.
        values: Name -> a number for each span; None where it was not told. What was never told is left out.
    """

    slot_s: float
    times: tuple[float, ...]
    values: Mapping[str, tuple[float | None, ...]]


@dataclass(frozen=True, slots=True)
class EnvoyDetail:
    """Everything the Director tells of one envoy.

    Attributes:
        record: Its row of the roster.
        history: The last hour and the last day, as far as the Director has been running since.
    """

    record: EnvoyRecord
    history: tuple[Series, ...] = ()


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
        places: How many experiments run at once.
    """

    version: str
    problems: tuple[str, ...] = ()
    queued: int = 0
    running: int = 0
    envoys: int = 0
    warnings: tuple[str, ...] = ()
    places: int = 1

    @property
    def health(self) -> str:
        """``healthy`` or ``degraded``."""
        return "degraded" if self.problems else "healthy"


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What a Director tells whoever is about to work with it.

    Attributes:
        version: Of the platform.
        time: Seconds since the epoch, by its clock.
        interfaces: The data interfaces of the federation.
        workspace_parts: Whether it runs parts of a round that are code of a workspace.
    """

    version: str
    time: float
    interfaces: tuple[Interface, ...]
    workspace_parts: bool = False


class WaitKind(StrEnum):
    """What an experiment that has not begun waits for.

    Attributes:
        PLACE: As many experiments run as the Director runs at once.
        SITE: One of its sites runs as many experiments as it bears.
        KEPT: One of its sites is kept for an experiment that was overtaken too often.
        ENVOYS: It has its turn, and too few of its sites are connected.
    """

    PLACE = "place"
    SITE = "site"
    KEPT = "kept"
    ENVOYS = "envoys"


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why an experiment has not begun.

    Attributes:
        kind: What it waits for.
        site: The site that is not free.
        experiment: Which one has the site, or has it kept; empty: one that the reader may not see.
        running: Where it waits for a place: how many experiments have one.
        places: And how many places there are.
        envoys: Where it waits for envoys: which sites, if the plan names them.
        more: And how many.
    """

    kind: WaitKind
    site: str = ""
    experiment: str = ""
    running: int = 0
    places: int = 0
    envoys: tuple[str, ...] = ()
    more: int = 0

    def __str__(self) -> str:
        other = self.experiment or "another experiment"
        match self.kind:
            case WaitKind.PLACE:
                return f"waits for a place: {self.running} of {self.places} taken"
            case WaitKind.SITE:
                return f"waits for site {self.site}, which runs {other}"
            case WaitKind.KEPT:
                return f"waits for site {self.site}, which is kept for {other}: that has waited too long"
            case WaitKind.ENVOYS:
                return f"waits for envoys: {', '.join(self.envoys) or f'{self.more} more'}"


@dataclass(frozen=True, slots=True)
class ExperimentSummary:
    """Where an experiment stands; times are seconds since the epoch, 0 when not yet.

    Attributes:
        degraded: Whether it FINISHED, but rounds were made or evaluated without sites that were asked.
        shortfalls: Those sites -> why, in the first such round.
        resumed_by: Who has resumed it, while it is queued for that.
        failure: Why it FAILED, as a value; None: it did not, or 0.1.0 ended it.
        waiting: Why it has not begun, while it is QUEUED or STARTING; None: it has, or nobody has looked yet.
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
    shortfalls: Mapping[str, Failure] = field(default_factory=dict)
    resumed_by: str = ""
    failure: Failure | None = None
    waiting: Waiting | None = None

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
        kept: Whether its model is still there, so that it can be fetched; None: nobody has looked.
    """

    version: ModelVersion
    sha256: str
    published_at: float
    kept: bool | None = None


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
class LogLines:
    """Lines that one source (a site, or ``aggregator``) wrote for an experiment.

    Attributes:
        role: Which process wrote them, one of `LOG_ROLES`.
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
"""Who writes log lines.

The Envoy's are of the preparation of an environment, or tell what is missing since its connection broke; the Director's
tell what is missing.
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an experiment ended.

    Attributes:
        status: FINISHED, FAILED or CANCELLED.
        reason: Why.
        shortfalls: Sites without which a round was made or evaluated -> why, in the first such round.
        failure: Why it FAILED; None: it did not, or it is not known any more.
        cancelled_by: Who has cancelled it.
    """

    status: Status
    reason: str
    shortfalls: Mapping[str, Failure] = field(default_factory=dict)
    failure: Failure | None = None
    cancelled_by: str = ""

    @property
    def degraded(self) -> bool:
        """Whether it finished on fewer sites than were asked."""
        return self.status is Status.FINISHED and bool(self.shortfalls)
