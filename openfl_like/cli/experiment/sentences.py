"""What people read of an experiment's announcements, and in which colour."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import singledispatch

from openfl_like.cli.experiment.outcome import MOST_SITES, shortfall_text
from openfl_like.cli.output.colours import BAD, GOOD, ODD
from openfl_like.cli.output.console import aligned, hours, joules
from openfl_like.federation.announcements import (
    AggregatorLost,
    Announcement,
    CollaboratorAbsent,
    CollaboratorAdmitted,
    CollaboratorAway,
    CollaboratorsAdmitted,
    ExperimentBegun,
    ExperimentEnded,
    ExperimentImported,
    ExperimentQueued,
    ExperimentResumed,
    ExperimentWaiting,
    ModelKept,
    NothingLearnt,
    RoundFinished,
    RoundSkipped,
    UpdateLost,
    UpdateSurplus,
)
from openfl_like.federation.callback_end import CallbackEnd, CallbackEnded
from openfl_like.federation.failure import OF_DEVICES, Failure
from openfl_like.federation.round_control import RoundControlled
from openfl_like.federation.status import Status
from openfl_like.federation.task import DevicesWorked, Phase, UpdatePartial
from openfl_like.federation.unmeasured import MetricMissing, MetricsUndefined
from openfl_like.federation.validation.scoring import Unscored, UpdatesScored
from openfl_like.federation.validation.verdict import Consequence, ModelRejected, UpdatesJudged, UpdateVerdict

_ODD = (AggregatorLost, CollaboratorAbsent, CollaboratorAway, MetricMissing, MetricsUndefined, ModelKept, NothingLearnt)
_ODD_UPDATES = (CallbackEnded, UpdateLost, UpdateSurplus, UpdatesJudged, ModelRejected, RoundSkipped)
MOST_WEIGHTS = 4
"""So many weights of sites are told one by one."""
UNLIMITED_WIDTH = 4
"""Room for the number of a round where the plan has no limit of them."""


def colour(told: Announcement) -> str:
    """Return the style of an announcement; empty for what is as it should be."""
    match told:
        case ExperimentEnded(status=Status.FINISHED):
            return ODD if told.shortfalls else GOOD
        case ExperimentEnded(status=status):
            return BAD if status is Status.FAILED else ODD
        case _:
            return ODD if isinstance(told, _ODD + _ODD_UPDATES) else ""


@singledispatch
def sentence(_told: Announcement) -> str:
    """Return what people read of an announcement; empty for one that they need not see."""
    return ""


@sentence.register
def _(told: ExperimentQueued) -> str:
    return f"queued for {told.owner}"


@sentence.register
def _(told: ExperimentImported) -> str:
    return f"imported by {told.by}, from {told.owner} of the federation {told.federation}"


@sentence.register
def _(told: ExperimentResumed) -> str:
    return f"resumed by {told.by}"


@sentence.register
def _(told: ExperimentWaiting) -> str:
    missing = ", ".join(told.missing) or f"{told.needed - len(told.online)} more"
    return f"waiting up to {told.timeout_s:g} s for envoys: {missing}"


@sentence.register
def _(told: ExperimentBegun) -> str:
    if told.resumed:
        return "the experiment goes on from its last committed step"
    rounds = "as many rounds as its stop rules allow" if told.rounds is None else counted(told.rounds, "round")
    return f"experiment {told.experiment_id} started: {rounds}"


@sentence.register
def _(told: AggregatorLost) -> str:
    return f"{told.reason}; restart {told.restart}"


_CALLBACK_ENDS = {
    CallbackEnd.RAISED: "it raised",
    CallbackEnd.SILENT: "it took too long",
    CallbackEnd.FULL: "it took too much",
    CallbackEnd.DIED: "its process ended",
}


@sentence.register
def _(told: CallbackEnded) -> str:
    why = _CALLBACK_ENDS[told.end] + (f": {told.message}" if told.message else "")
    return f"the callback '{told.callback}' was ended, and the experiment goes on without it; {why}"


@sentence.register
def _(told: CollaboratorAdmitted) -> str:
    return f"{told.collaborator} joined"


@sentence.register
def _(told: CollaboratorsAdmitted) -> str:
    return f"all {told.count:,} collaborators joined"


@sentence.register
def _(told: CollaboratorAway) -> str:
    return f"{told.collaborator} left: {told.reason}"


@sentence.register
def _(told: UpdateLost) -> str:
    return f"round {told.round}: the stored update of {told.collaborator} is damaged; it is asked for again"


@sentence.register
def _(told: UpdateSurplus) -> str:
    many = f" ({told.count} times)" if told.count > 1 else ""
    what = f"sent an update that cannot count: {told.standing.value}{many}"
    return f"round {told.round}: {told.collaborator} {what}"


@sentence.register
def _(told: MetricMissing) -> str:
    keys, names = ", ".join(told.wanted_by), ", ".join(told.reported) or "none"
    return f"round {told.round}: no site has reported the metric '{told.metric}' ({keys}); reported: {names}"


@sentence.register
def _(told: MetricsUndefined) -> str:
    names = ", ".join(
        f"'{name}' of task '{task}' is {value}"
        for task, metrics in told.metrics.items()
        for name, value in metrics.items()
    )
    return f"round {told.round}: left out of what {told.collaborator} reports: {names}"


@sentence.register
def _(told: ModelKept) -> str:
    return f"round {told.round}: no site had samples to train on; the model stays as it was"


@sentence.register
def _(told: UpdatesJudged) -> str:
    """Those that are dropped are told as absent, with the reason, unless they evaluate."""
    shown = [one for one in told.verdicts if one.action is not Consequence.DROP]
    return f"round {told.round}: {judged(shown, MOST_SITES, told.phase)}" if shown else ""


def judged(verdicts: Sequence[UpdateVerdict], most: int, phase: Phase = Phase.TRAIN) -> str:
    """Return what was made of updates, of so many at most."""
    texts = [f"{one.collaborator}: {one}" for one in verdicts[:most]]
    texts += [f"and {len(verdicts) - most} more"] if len(verdicts) > most else []
    return f"{'of the evaluation, ' if phase is Phase.EVALUATE else ''}{'; '.join(texts)}"


_UNSCORED = {
    Unscored.ALONE: "it is the only one, and nobody scores its own",
    Unscored.ABSENT: "{scorer} has sent no score",
    Unscored.NOT_REPORTED: "{scorer} does not report the metric '{metric}'",
    Unscored.NOT_FINITE: "what {scorer} reports is not finite",
}


@sentence.register
def _(told: UpdatesScored) -> str:
    """Scores are in the table of the rounds; here is told which there are none of."""
    texts = [
        f"{owner}: {_UNSCORED[why].format(scorer=told.scorers.get(owner, ''), metric=told.metric)}"
        for owner, why in [*told.unscored.items()][:MOST_SITES]
    ]
    texts += [f"and {len(told.unscored) - MOST_SITES} more"] if len(told.unscored) > MOST_SITES else []
    if texts:
        return f"round {told.round}: updates without a score: {'; '.join(texts)}"
    few = "of so few scores no median can be told, and every update counts"
    return f"round {told.round}: {few}" if told.limit is None else ""


@sentence.register
def _(told: ModelRejected) -> str:
    return f"round {told.round}: {rejected(told)}"


def rejected(told: ModelRejected) -> str:
    """Return why a model was rejected."""
    if told.value is None:
        found = f"nobody could measure its {told.metric}"
    else:
        found = f"its {told.metric} is {told.value:.4g}, the best one {told.best:.4g}"
    limit = f"model_store.accepted_margin is {told.margin:g}"
    return f"the model is rejected, and the one before goes on: {found} ({limit})"


@sentence.register
def _(told: RoundSkipped) -> str:
    need = "1 update is needed" if told.needed == 1 else f"{told.needed} updates are needed"
    return f"round {told.round} is skipped, and the model stays as it was: {need}, {told.coming} could come"


@sentence.register
def _(told: RoundControlled) -> str:
    parts = [f"without {', '.join(_few(told.skipped))}"] if told.skipped else []
    parts += [_weights(told.weights)] if told.weights else []
    for task, arguments in told.arguments.items():
        values = (f"{value:.4g}" if isinstance(value, float) else f"{value}" for value in arguments.values())
        parts.append(f"{task}({', '.join(f'{name}={value}' for name, value in zip(arguments, values, strict=True))})")
    parts += [f"the end: {told.ended}"] if told.ended else []
    return f"round {told.round} as controllers decided: {'; '.join(parts)}"


def _weights(weights: Mapping[str, float]) -> str:
    if len(weights) <= MOST_WEIGHTS:
        return f"weights {', '.join(f'{name} x {weights[name]:.3g}' for name in sorted(weights))}"
    return f"{len(weights)} weights from x {min(weights.values()):.3g} to x {max(weights.values()):.3g}"


def _few(names: Mapping[str, object]) -> list[str]:
    """Return the first names, and how many more there are."""
    more = len(names) - MOST_SITES
    return [*sorted(names)[:MOST_SITES], *([f"{more} more"] if more > 0 else [])]


@sentence.register
def _(told: NothingLearnt) -> str:
    return (
        f"NOTHING WAS LEARNT: after {counted(told.rounds, 'round')} the model is the one at the beginning, bit for bit "
        "(look at the learning rate, and whether the task that trains changes its parameters)"
    )


@sentence.register
def _(told: ExperimentEnded) -> str:
    degraded = " (DEGRADED)" if told.shortfalls and told.status is Status.FINISHED else ""
    shown = list(told.shortfalls.items())[:MOST_SITES]
    sites = "".join(f"; without {name}: {shortfall_text(failure)}" for name, failure in shown)
    sites += f"; and {len(told.shortfalls) - MOST_SITES} more" if len(told.shortfalls) > MOST_SITES else ""
    return f"{told.status.value}{degraded}: {told.reason}{sites}"


class RoundLines:
    """The lines of rounds: figures below each other; sites and reasons only where they are others than before.

    Attributes:
        virtual: Whether simulated devices work, in virtual time: they are counted, not named.
    """

    def __init__(self) -> None:
        self._width = 2
        self._sites: tuple[tuple[str, ...], ...] = ()
        self._absent: dict[tuple[str, str], str] = {}
        self._metric = self._best = ""
        self._worked: DevicesWorked | None = None
        self._controlled: RoundControlled | None = None
        self._partial = 0
        self.virtual = False

    def begin(self, told: ExperimentBegun) -> None:
        """Leave room for so many rounds, and learn by which metric the plan finds the best one."""
        self._width = len(str(told.rounds)) if told.rounds is not None else UNLIMITED_WIDTH
        self._metric = _best_metric(told.plan)
        self.virtual = in_virtual_time(told)

    def ended(self) -> list[str]:
        """Return the line that names the best round; none if no round was, as far as it was watched."""
        return [self._best] if self._best else []

    def end(self, told: ExperimentEnded) -> str:
        """Return how the experiment ended; simulated devices that were missing are counted."""
        missing = {name for name, failure in told.shortfalls.items() if failure.kind in OF_DEVICES}
        if not (self.virtual and missing):
            return sentence(told)
        others = {name: failure for name, failure in told.shortfalls.items() if name not in missing}
        rest = sentence(replace(told, shortfalls=others))
        return f"{rest}; {counted(len(missing), 'device')} missed a round"

    def absent(self, told: CollaboratorAbsent) -> list[str]:
        """Return the line for a missing answer; none if the site was missing for the same reason before."""
        if self.virtual and told.failure is not None and told.failure.kind in OF_DEVICES:
            return []
        if self._absent.get((told.collaborator, told.phase)) == told.reason:
            return []
        self._absent[told.collaborator, told.phase] = told.reason
        what = "scores no update" if told.phase is Phase.CROSS_EVALUATE else "is absent"
        return [f"round {told.round}: {told.collaborator} {what}: {told.reason}"]

    def worked(self, told: DevicesWorked) -> None:
        """Take what the round that ends has asked of simulated devices."""
        self._worked = told

    def within(self, told: UpdatePartial | RoundControlled) -> list[str]:
        """Return the line for something within a round, if it is worth one."""
        return self._controls(told) if isinstance(told, RoundControlled) else self._part(told)

    def _controls(self, told: RoundControlled) -> list[str]:
        """What controllers decided, if it is something else than in the round before."""
        former, self._controlled = self._controlled, replace(told, round=0)
        return [sentence(told)] if self._controlled != former else []

    def _part(self, told: UpdatePartial) -> list[str]:
        """An update that is partial; those of simulated devices are counted."""
        if self.virtual:
            self._partial += 1
            return []
        after = f"after batch {told.batches}, " if told.batches else ""
        samples = counted(told.num_samples, "sample")
        return [f"round {told.round}: {told.collaborator} stopped {after}as its time was over: {samples} count"]

    def finished(self, told: RoundFinished, time: float = 0.0) -> list[str]:
        """Return the lines for a round that is done; in virtual time at a time in seconds."""
        if self.virtual:
            return [self._of_devices(told, time)]
        lines = []
        sites = (told.contributors or told.evaluators, tuple(told.absent), tuple(told.unevaluated))
        if told.round and sites != self._sites:
            self._sites = sites
            lines.append(f"sites: {self._parties(told)}")
        figures = [f"{name} {aligned(value)}" for name, value in _plain_metrics(told.metrics)]
        if told.round == 0:
            by = ", ".join(told.contributors or told.evaluators)
            figures.append(f"the model before training{f', made by {by}' if by else ''}")
        elif told.best:
            figures.append(self._is_best(told))
        head = f"round {told.round:>{self._width}}  {told.seconds:6.2f} s"
        return [*lines, "  ".join((head, *figures))]

    def _of_devices(self, told: RoundFinished, time: float) -> str:
        figures = [f"{name} {aligned(value)}" for name, value in _plain_metrics(told.metrics)]
        if told.best:
            self._is_best(told)
        figures.append(f"{len(told.contributors or told.evaluators)} of {counted(len(told.selected), 'device')}")
        if self._partial:
            figures.append(f"{self._partial} of them partial")
        worked, self._worked, self._partial = self._worked, None, 0
        energy = math.fsum(worked.energy_j.values()) if worked is not None else 0.0
        if energy:
            figures.append(joules(energy))
        return "  ".join((f"round {told.round:>{self._width}} {hours(time):>9}", *figures))

    def _is_best(self, told: RoundFinished) -> str:
        if self._metric not in told.metrics:
            return "best so far"
        value = aligned(told.metrics[self._metric])
        self._best = f"the best model is that of round {told.round}: {self._metric} {value}"
        shown = any(name == self._metric for name, _ in _plain_metrics(told.metrics))
        return f"best {self._metric} so far" if shown else f"best {self._metric} so far: {value}"

    def _parties(self, told: RoundFinished) -> str:
        unmeasured = {name: failure for name, failure in told.unevaluated.items() if name not in told.absent}
        texts = [", ".join(told.contributors or told.evaluators) or "none"]
        texts += [f"without {name}{self._reason(name, failure)}" for name, failure in told.absent.items()]
        texts += [f"not evaluated by {name}{self._reason(name, failure)}" for name, failure in unmeasured.items()]
        return "; ".join(texts)

    def _reason(self, name: str, failure: Failure) -> str:
        """The reason, if it was not told yet."""
        told = any(site == name for site, _ in self._absent)
        return "" if told else f" ({failure})"


def in_virtual_time(told: ExperimentBegun) -> bool:
    """Whether an experiment has simulated devices, so that its times are those of their clock."""
    simulation = told.plan.get("simulation")
    return isinstance(simulation, Mapping) and simulation.get("devices") is not None


def _best_metric(plan: Mapping[str, object]) -> str:
    """The metric that makes a version of this frozen plan the best one; empty if it is of another release."""
    import json

    from openfl_like.errors import FederationError
    from openfl_like.plan.digest import thaw

    try:
        return thaw(json.dumps(plan).encode()).model_store.best.metric
    except FederationError:
        return ""


def _plain_metrics(metrics: Mapping[str, float]) -> list[tuple[str, float]]:
    """The metrics of the global model; those of single tasks (``train.loss``) are in the record."""
    plain = [(name, value) for name, value in sorted(metrics.items()) if "." not in name]
    return plain or sorted(metrics.items())


def counted(number: int, what: str) -> str:
    """Return a number and what it counts: ``1 round``, ``3 rounds``."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
