"""The beginning and the end of an experiment, and the step from one round to the next."""

from dataclasses import replace
from itertools import islice, takewhile

from openfl_like.errors import PlanError
from openfl_like.federation import uncounted as surplus
from openfl_like.federation.announcements import (
    ExperimentEnded,
    ModelsEvaluated,
    NothingLearnt,
    RoundFinished,
    RoundSkipped,
)
from openfl_like.federation.context import ExperimentContext
from openfl_like.federation.control.deciding import decide
from openfl_like.federation.control.decision import ControlView
from openfl_like.federation.events import FinishExperiment, ModelVersion, PublishVersion, StartTimer, WithdrawAssignment
from openfl_like.federation.failure import FailedPartError, Failure, FailureKind, bounded
from openfl_like.federation.metrics import matrix_of, round_metrics
from openfl_like.federation.participation import admission
from openfl_like.federation.participation.membership import Membership
from openfl_like.federation.round_control import UNCONTROLLED, RoundControl, RoundControlled
from openfl_like.federation.round_state import RoundState, Step, chose_too_few
from openfl_like.federation.state import ExperimentState
from openfl_like.federation.status import Status
from openfl_like.federation.stopping import is_best, kept_rounds, metrics_missing, rejection, stop_reason
from openfl_like.federation.task import Phase
from openfl_like.federation.unmeasured import MetricMissing

ADMISSION_TIMER = "admission"
MOST_SKIPPED = 100
"""After so many versions of one model no further round is skipped: nothing good will come of them."""


def open_admission(context: ExperimentContext) -> None:
    """Begin to wait for collaborators."""
    context.state.status = Status.STARTING
    context.emit(StartTimer(ADMISSION_TIMER, context.plan.admission.timeout_s))


def admission_complete(context: ExperimentContext) -> bool:
    """Whether everybody is here that is waited for."""
    waiting = context.state.status is Status.STARTING
    return waiting and admission.complete(context.plan.admission, context.state.expected, context.roster.joined())


def end_admission(context: ExperimentContext) -> None:
    """Start with those who are here if they are enough; fail otherwise."""
    if context.state.status is not Status.STARTING:
        return
    shortage = admission.shortage(context.plan.admission, context.state.expected, context.roster.joined())
    if shortage:
        missing = sorted({*context.state.expected} - {*context.roster.joined()})
        fail(context, shortage, Failure(FailureKind.TOO_FEW, shortage, site="".join(missing[:1])))
    else:
        start(context)


def start(context: ExperimentContext) -> None:
    """Make members of all that are here and begin the first round, or that after the last published one."""
    state = context.state
    state.status = Status.RUNNING
    context.roster.promote()
    if state.versions:
        _go_on(context)
    elif state.initial_model:
        version = ModelVersion(0, state.initial_model)
        state.versions = (version,)
        context.emit(PublishVersion(version))
        _begin_controlled(context, 1)
    else:
        _begin_round(context, 0)


def fall_short(context: ExperimentContext, current: RoundState, coming: int) -> None:
    """End the experiment if so many updates are too few for a round, or skip the round if the plan says so."""
    if coming >= current.quorum:
        return
    state = context.state
    too_few = chose_too_few(current, coming)
    decided = too_few or not current.eligible  # and may be decided otherwise for the next round
    gone = current.step is Step.GATHER and not current.waiting and not decided
    same = takewhile(lambda version: version.digest == current.base, reversed(context.state.versions))
    skips = context.plan.participation.policy == "skip" and current.phase is Phase.TRAIN
    if not skips or gone or sum(1 for _ in islice(same, MOST_SKIPPED)) == MOST_SKIPPED:
        reason = current.shortfall(coming, _selector(context))
        kind = FailureKind.SELECTION if too_few else FailureKind.QUORUM
        fail(context, reason, Failure(kind, reason, round=current.number))
    else:
        for name in current.pending:
            if context.remembers and name in state.histories:
                state.histories[name] = state.histories[name].called_off()
            context.emit(WithdrawAssignment(current.number, current.phase, name, "the round is skipped"))
        context.announce(RoundSkipped(current.number, current.base, current.quorum, coming))
        current.updates = {}
        publish(context, current, skipped=True)


def _selector(context: ExperimentContext) -> str:
    """Name the selector of a round in words."""
    plan = context.plan
    trains = any(task.is_training for task in plan.tasks.values())
    return f"the selector '{(plan.selector if trains else plan.evaluation_selector).template}'"


def publish(context: ExperimentContext, current: RoundState, *, skipped: bool = False) -> None:
    """Publish the round's model, or that of the round before, and end the experiment or begin the next round."""
    state = context.state
    evaluated = current.phase is Phase.EVALUATE
    metrics = round_metrics(context.plan.tasks, current.trained, current.updates) if evaluated else {}
    made = ModelVersion(current.number, current.model, metrics, is_best(context.plan, state.versions, metrics))
    rejected = rejection(context.plan, state.versions, made) if evaluated else None
    version = made
    if rejected is not None or skipped:
        current.digest, current.server_state = current.base, current.base_state
        version = ModelVersion(current.number, current.base, state.versions[-1].metrics)
    state.versions = (*state.versions, version)
    if rejected is None and (not context.roster.everybody or context.plan.keeps_at_sites):
        state.counted |= {name: update.round for name, update in current.trained.items()}
    _keep_state(context, current)
    context.emit(PublishVersion(version))
    _note_shortfalls(context, current)
    surplus.sum_up(context)
    seconds = max(0.0, context.now - current.started)
    state.seconds += seconds
    if rejected is not None:
        context.announce(rejected)
    matrix = matrix_of(context.plan.tasks, current.updates) if evaluated else {}
    if matrix:
        context.announce(ModelsEvaluated(version.round, matrix))
    context.announce(
        RoundFinished(
            round=version.round,
            digest=version.digest,
            metrics=dict(version.metrics),
            best=version.best,
            selected=current.selected,
            contributors=tuple(sorted(current.trained)),
            absent=current.losses(),
            evaluators=tuple(sorted(current.updates)) if evaluated else (),
            unevaluated=current.unevaluated(),
            seconds=seconds,
            traffic_bytes=state.traffic.total_bytes if state.traffic is not None else None,
        )
    )
    context.roster.settle({*current.selected, *current.assigned})
    for metric, keys in {} if skipped else metrics_missing(context.plan, state.versions).items():
        context.announce(MetricMissing(version.round, metric, keys, tuple(version.metrics)))
    _go_on(context)


def _keep_state(context: ExperimentContext, current: RoundState) -> None:
    """Remember the server's state that belongs to the version, and forget those of versions that are not kept."""
    states = context.state.server_states
    if current.server_state:
        states[current.number] = current.server_state
    kept = kept_rounds(context.plan, context.state.versions)
    context.state.server_states = {number: states[number] for number in sorted(states) if number in kept}


def reopen(state: ExperimentState) -> None:
    """Take an experiment that had ended back to its admission; what it has published stays.

    Its sites were dismissed: all of them are asked anew, also those that were lost, and the open round begins anew.
    """
    for name in state.round.pending if state.round is not None and state.round.phase is Phase.TRAIN else ():
        if name in state.histories:
            state.histories[name] = state.histories[name].called_off()
    state.status, state.reason = Status.STARTING, ""
    state.roster, state.round, state.buffer = Membership(), None, None


def fail(context: ExperimentContext, reason: str, failure: Failure | None = None) -> None:
    """End the experiment if there is a reason to; without a failure it is that a round cannot be made."""
    if reason:
        number = context.state.round.number if context.state.round is not None else None
        finish(context, Status.FAILED, reason, failure or Failure(FailureKind.QUORUM, reason, round=number))


def cancel(context: ExperimentContext, by: str) -> None:
    """End the experiment at somebody's wish."""
    finish(context, Status.CANCELLED, f"cancelled by {by}", by=by)


def finish(
    context: ExperimentContext, status: Status, reason: str, failure: Failure | None = None, by: str = ""
) -> None:
    """End the experiment."""
    state, reason = context.state, bounded(reason)
    state.status, state.reason = status, reason
    context.emit(FinishExperiment(status, reason))
    surplus.sum_up(context)
    rounds = state.versions[-1].round if state.versions else 0
    if status is Status.FINISHED and rounds and _learnt_nothing(context):
        context.announce(NothingLearnt(rounds, state.versions[-1].digest))
    context.announce(ExperimentEnded(status, reason, rounds, state.all_shortfalls(), failure, by))


def _learnt_nothing(context: ExperimentContext) -> bool:
    """Whether a plan that trains has given back the very model that it began with."""
    trains = any(task.is_training for task in context.plan.tasks.values())
    return trains and context.state.versions[-1].digest == context.state.versions[0].digest


def _note_shortfalls(context: ExperimentContext, current: RoundState) -> None:
    """Remember the sites that were asked to take part and without which a round was made."""
    if not current.number:
        return
    by_name = () if context.roster.everybody is context.state.expected else context.state.expected
    asked = {*by_name, *context.plan.admission.collaborators}
    for name in [name for name in asked if not context.roster.is_member(name)]:
        missing = Failure(FailureKind.MISSING, round=current.number, site=name)
        context.state.shortfalls.setdefault(name, missing)
    for name, failure in current.losses().items():
        context.state.shortfalls.setdefault(name, failure)
    for name, failure in current.unevaluated().items():
        if name not in context.state.shortfalls:
            context.state.unmeasured.setdefault(name, failure)


def _go_on(context: ExperimentContext) -> None:
    """End the experiment if it has made what it was to make; begin the next round otherwise."""
    versions = context.state.versions
    traffic = context.state.traffic
    moved_bytes = traffic.total_bytes if traffic is not None else 0
    reason = stop_reason(context.plan, versions, context.state.seconds, moved_bytes)
    skipped = context.plan.participation.policy == "skip" and _learnt_nothing(context)
    if reason and skipped and versions[-1].round:
        fail(context, f"{reason}, and in none of them came as many updates as participation wants")
    elif reason:
        finish(context, Status.FINISHED, reason)
    else:
        _begin_controlled(context, versions[-1].round + 1)


def _begin_controlled(context: ExperimentContext, number: int) -> None:
    """Ask the plan's controllers, and do as they say."""
    if not context.controllers:
        _begin_round(context, number)
        return
    state, rounds = context.state, context.plan.aggregator.settings.rounds
    view = ControlView(number, rounds, state.versions, context.roster.members(), state.histories, state.seconds)
    try:
        control = decide(context.plan, context.controllers, view, state.controls)
    except FailedPartError as error:
        fail(context, f"round {number}: {error.failure}", replace(error.failure, round=number))
        return
    except PlanError as error:
        fail(context, str(error), Failure(FailureKind.CONTROL, str(error), round=number))
        return
    if control.told:
        context.announce(RoundControlled(number, control.skipped, control.weights, control.arguments, control.ended))
    if control.ended:
        finish(context, Status.FINISHED, control.ended)
        return
    _begin_round(context, number, control)


def _begin_round(context: ExperimentContext, number: int, control: RoundControl = UNCONTROLLED) -> None:
    last = context.state.versions[-1] if context.state.versions else None
    phase = Phase.TRAIN if number else Phase.INITIALISE
    begun = RoundState(number, context.now, last.digest if last is not None else "", phase)
    begun.base_state = context.state.server_states.get(last.round, "") if last is not None else ""
    begun.control = control
    context.state.round = begun
