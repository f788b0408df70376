"""What a dry run finds, as values: what it is, where, and with which numbers; words are made at the screen."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from openfl_like.authoring.estimate import Figure
from openfl_like.federation.failure import Failure
from openfl_like.federation.task import Phase


class Severity(StrEnum):
    """What follows from a finding.

    Attributes:
        ERROR: The experiment would fail, or learn nothing, or a site would refuse it.
        WARNING: It would run; somebody should look at it first.
    """

    ERROR = "error"
    WARNING = "warning"


class FindingKind(StrEnum):
    """What a dry run can find; the words are stable, for programs.

    Attributes:
        MODULE_MISSING: The code needs a module that is not here.
        NOT_LOADED: The code cannot be loaded: it raised, or a part of the plan refused its settings.
        TASK_FAILED: A task raised, or returned something that cannot be used.
        NOT_OVER: Code went on for longer than it was given.
        PROCESS_ENDED: The process that ran the code ended over it.
        TENSORS_DIFFER: An update has other tensors than the model it started from: names, dtypes or shapes.
        NOT_FINITE: An update holds a value that is infinite or no number.
        NOT_TRAINED: Training left every tensor as it was.
        NO_SAMPLES: An update stands for no samples, so that it counts for nothing.
        UPDATE_REFUSED: A validator of the plan refused an update.
        NOT_COMBINED: The updates could not be made into a model.
        METRIC_MISSING: The plan goes by a metric that nothing reports.
        METRIC_NOT_FINITE: A metric is infinite or no number.
        NOT_REPEATABLE: The same assignment gave two updates.
        INITIAL_NOT_REPEATABLE: The same seed gave two initial models.
        NOBODY_TRAINS: No site is given a task that trains.
        SITE_ABSENT: The plan asks for a site that is not there.
        TOO_FEW_SITES: Fewer sites are there than the experiment begins with.
        SELECTS_FEWER: The selector asks for more sites than there are.
        QUORUM_UNREACHABLE: A round needs more updates than sites are selected.
        SITE_REFUSES: A site takes no orders: it was revoked, its data has changed, or it lacks the interface.
        SITE_UNREADABLE: What a site publishes of its data describes none that there can be.
        SITE_BUSY: A site works for as many experiments as it bears.
        NO_DEVICE: A site does not have the device that the plan asks for.
        SHAPES_DIFFER: The sites' data does not have the same shapes.
        FORMS_DIFFER: It has the same shapes, but other dtypes or classes.
        MODEL_TOO_LARGE: The model is larger than a site takes.
        MEMORY_SHORT: The worker needs more memory than a site has.
        PACKAGES_NOT_INSTALLED: The workspace has a lock, and a site does not install what it names.
        PACKAGE_NOT_LOCKED: The code imports a package that neither the platform nor the lock brings.
        BATCH_TOO_LARGE: A site has fewer samples to train on than a batch has.
        DEADLINE_SHORT: Training or evaluating is forecast to take longer than the plan gives.
        LOCAL_FILE: The code names a file of this machine.
        STAYS_AT_HOME: The code names a file of the workspace that does not travel.
        NOT_CONFINED: This kernel does not close the files, so that reading one of this machine did not show.
        NOT_ON_GPU: The plan is for GPUs, and was tried on a processor.
        NOT_ALL_TRIED: There are more kinds of sites than were tried.
    """

    MODULE_MISSING = "module_missing"
    NOT_LOADED = "not_loaded"
    TASK_FAILED = "task_failed"
    NOT_OVER = "not_over"
    PROCESS_ENDED = "process_ended"
    TENSORS_DIFFER = "tensors_differ"
    NOT_FINITE = "not_finite"
    NOT_TRAINED = "not_trained"
    NO_SAMPLES = "no_samples"
    UPDATE_REFUSED = "update_refused"
    NOT_COMBINED = "not_combined"
    METRIC_MISSING = "metric_missing"
    METRIC_NOT_FINITE = "metric_not_finite"
    NOT_REPEATABLE = "not_repeatable"
    INITIAL_NOT_REPEATABLE = "initial_not_repeatable"
    NOBODY_TRAINS = "nobody_trains"
    SITE_ABSENT = "site_absent"
    TOO_FEW_SITES = "too_few_sites"
    SELECTS_FEWER = "selects_fewer"
    QUORUM_UNREACHABLE = "quorum_unreachable"
    SITE_REFUSES = "site_refuses"
    SITE_UNREADABLE = "site_unreadable"
    SITE_BUSY = "site_busy"
    NO_DEVICE = "no_device"
    SHAPES_DIFFER = "shapes_differ"
    FORMS_DIFFER = "forms_differ"
    MODEL_TOO_LARGE = "model_too_large"
    MEMORY_SHORT = "memory_short"
    PACKAGES_NOT_INSTALLED = "packages_not_installed"
    PACKAGE_NOT_LOCKED = "package_not_locked"
    BATCH_TOO_LARGE = "batch_too_large"
    DEADLINE_SHORT = "deadline_short"
    LOCAL_FILE = "local_file"
    STAYS_AT_HOME = "stays_at_home"
    NOT_CONFINED = "not_confined"
    NOT_ON_GPU = "not_on_gpu"
    NOT_ALL_TRIED = "not_all_tried"


WARNINGS = frozenset(
    {
        FindingKind.NOT_REPEATABLE,
        FindingKind.INITIAL_NOT_REPEATABLE,
        FindingKind.SELECTS_FEWER,
        FindingKind.SITE_BUSY,
        FindingKind.FORMS_DIFFER,
        FindingKind.MEMORY_SHORT,
        FindingKind.PACKAGES_NOT_INSTALLED,
        FindingKind.PACKAGE_NOT_LOCKED,
        FindingKind.BATCH_TOO_LARGE,
        FindingKind.STAYS_AT_HOME,
        FindingKind.NOT_CONFINED,
        FindingKind.NOT_ON_GPU,
        FindingKind.NOT_ALL_TRIED,
    }
)
"""Kinds with which an experiment runs nevertheless, whatever else is known."""


@dataclass(frozen=True, slots=True)
class DryRunFinding:
    """One thing that a dry run has found.

    Attributes:
        kind: What it is.
        sites: At which sites; empty: it is not of a site.
        phase: In which phase of a round; None: in none.
        round: In which round; None: in none.
        task: In which task of the plan.
        key: Which key of the plan it comes from.
        file: Of the workspace.
        line: Of that file.
        name: Of what: a metric, a module, a tensor, a package, a file.
        found: What was found: a number, with the unit in `unit`.
        wanted: And what was wanted.
        unit: Of both: ``s``, ``bytes``, ``samples``, ``sites``, ``updates``.
        said: What code, or a part of the platform, said itself.
        failure: How code failed; None: it did not.
        lines: One for each thing, where there are several.
        other: What follows from it, where that is not what usually follows from its kind.
    """

    kind: FindingKind
    sites: tuple[str, ...] = ()
    phase: Phase | None = None
    round: int | None = None
    task: str = ""
    key: str = ""
    file: str = ""
    line: int = 0
    name: str = ""
    found: float | None = None
    wanted: float | None = None
    unit: str = ""
    said: str = ""
    failure: Failure | None = None
    lines: tuple[str, ...] = ()
    other: Severity | None = None

    @property
    def severity(self) -> Severity:
        """What follows."""
        return self.other or (Severity.WARNING if self.kind in WARNINGS else Severity.ERROR)


@dataclass(frozen=True, slots=True)
class TriedKind:
    """A kind of site that was tried: sites whose data has one form, and that do the same tasks.

    Attributes:
        sites: Some of them.
        count: How many there are.
        samples: What its samples look like.
        targets: What its targets look like.
        classes: How many classes they name.
        invented: How many samples were invented of each kind.
        most: The most that one of these sites has of each kind; empty: none of them tells.
        seconds: Phase -> how long the largest of these sites is expected to take; empty: that is not known.
    """

    sites: tuple[str, ...]
    count: int
    samples: str
    targets: str
    classes: int
    invented: Mapping[str, int]
    most: Mapping[str, int]
    seconds: Mapping[Phase, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a round will take, from the steps that were done.

    Attributes:
        train_s: Seconds in which the slowest site trains.
        evaluate_s: Seconds in which the slowest site evaluates.
        combine_s: Seconds in which the updates are checked and made into a model.
        round_s: Of a whole round, without what models need to travel.
        total_s: Of all rounds; None: nobody knows how many there will be.
        rounds: How many there are, likewise.
        worker_bytes: Memory of a site's worker, at its peak.
        measured_samples: On how many samples training was measured.
        scaled_to: How many samples the slowest site has; 0: no site tells.
        slowest: That site.
    """

    train_s: float
    evaluate_s: float
    combine_s: float
    round_s: float
    total_s: float | None
    rounds: int | None
    worker_bytes: int
    measured_samples: int
    scaled_to: int
    slowest: str


@dataclass(frozen=True, slots=True)
class DryRunReport:
    """What a dry run has come to.

    Attributes:
        plan: The plan's name.
        digest: The plan's digest.
        sites: How many sites there are.
        tried: The kinds of sites that were tried.
        rounds: How many rounds were done.
        evened: Whether the samples of each site are a mean of those that the plan deals out.
        findings: Errors first.
        forecast: What a round takes; None: too little was done to say.
        figures: Bytes, memory and disk, as ``fx plan estimate`` tells them; empty as above.
        seconds: How long it took.
    """

    plan: str
    digest: str
    sites: int
    tried: tuple[TriedKind, ...]
    rounds: int
    evened: bool
    findings: tuple[DryRunFinding, ...]
    forecast: Forecast | None = None
    figures: tuple[Figure, ...] = ()
    seconds: float = 0.0

    @property
    def errors(self) -> tuple[DryRunFinding, ...]:
        """What would go wrong."""
        return tuple(one for one in self.findings if one.severity is Severity.ERROR)


@dataclass(slots=True)
class Findings:
    """Collects findings; what was found before at another site is told once, with all sites."""

    _found: dict[tuple[object, ...], DryRunFinding] = field(default_factory=dict)

    def add(self, *found: DryRunFinding) -> None:
        """Add findings."""
        for one in found:
            key = _key(one)
            known = self._found.get(key)
            if known is None:
                self._found[key] = one
            else:
                self._found[key] = _joined(known, one.sites)

    def extend(self, found: Iterable[DryRunFinding]) -> None:
        """Add findings."""
        self.add(*found)

    def soften(self, kinds: Sequence[FindingKind]) -> None:
        """Make warnings of findings of some kinds: what the text of the code shows has not mattered when it ran."""
        for key, one in self._found.items():
            if one.kind in kinds:
                self._found[key] = replace(one, other=Severity.WARNING)

    def has(self, kinds: Sequence[FindingKind]) -> bool:
        """Whether there is a finding of one of some kinds."""
        return any(one.kind in kinds for one in self._found.values())

    def sorted(self) -> tuple[DryRunFinding, ...]:
        """Return them, errors first, otherwise in the order in which they were found."""
        return tuple(sorted(self._found.values(), key=lambda one: one.severity is not Severity.ERROR))


def _key(one: DryRunFinding) -> tuple[object, ...]:
    """Return what two findings have in common that are the same one: a line that raises does so in every phase."""
    failure = one.failure
    if failure is not None and failure.file:
        return one.kind, failure.error, failure.file, failure.line
    said = one.said if failure is None else f"{failure.error} {failure.message}"
    return one.kind, one.phase, one.task, one.key, one.name, one.file, one.line, said


def _joined(known: DryRunFinding, sites: tuple[str, ...]) -> DryRunFinding:
    return replace(known, sites=tuple(dict.fromkeys((*known.sites, *sites))))
