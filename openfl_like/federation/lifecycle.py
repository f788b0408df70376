"""The beginning and the end of an experiment, and the step from one round to the next."""

from openfl_like.federation import admission
from openfl_like.federation import uncounted as surplus
from openfl_like.federation.context import Desk
from openfl_like.federation.events import (
    FinishExperiment,
    ModelVersion,
    Notice,
    PublishVersion,
    StartTimer,
    Status,
)
from openfl_like.federation.membership import Roster
from openfl_like.federation.metrics import matrix_of, round_metrics
from openfl_like.federation.round_state import RoundState
from openfl_like.federation.state import ExperimentState
from openfl_like.federation.stopping import is_best, stop_reason
from openfl_like.federation.task import Phase

ADMISSION_TIMER = "admission"


def open_admission(desk: Desk) -> None:
    """Begins to wait for collaborators."""
    desk.state.status = Status.STARTING
    desk.emit(StartTimer(ADMISSION_TIMER, desk.plan.admission.timeout_s))


def admission_complete(desk: Desk) -> bool:
    """Whether everybody is here that is waited for."""
    waiting = desk.state.status is Status.STARTING
    return waiting and admission.complete(desk.plan.admission, desk.state.expected, desk.roster.joined())


def end_admission(desk: Desk) -> None:
    """Starts with those who are here if they are enough; fails otherwise."""
    if desk.state.status is not Status.STARTING:
        return
    shortage = admission.shortage(desk.plan.admission, desk.state.expected, desk.roster.joined())
    if shortage:
        fail(desk, shortage)
    else:
        start(desk)


def start(desk: Desk) -> None:
    """Makes members of all that are here and begins the first round, or that after the last published one."""
    state = desk.state
    state.status = Status.RUNNING
    desk.roster.promote()
    if state.versions:
        _go_on(desk)
    elif state.initial_model:
        version = ModelVersion(0, state.initial_model)
        state.versions = (version,)
        desk.emit(PublishVersion(version))
        _begin_round(desk, 1)
    else:
        _begin_round(desk, 0)


def publish(desk: Desk, current: RoundState) -> None:
    """Publishes the round's model, and ends the experiment or begins the next round."""
    state = desk.state
    evaluated = current.phase is Phase.EVALUATE
    metrics = round_metrics(desk.plan.tasks, current.trained, current.updates) if evaluated else {}
    version = ModelVersion(current.number, current.model, metrics, is_best(desk.plan, state.versions, metrics))
    state.versions = (*state.versions, version)
    desk.emit(PublishVersion(version))
    _note_shortfalls(desk, current)
    surplus.sum_up(desk)
    matrix = matrix_of(desk.plan.tasks, current.updates) if evaluated else {}
    if matrix:
        desk.announce(Notice.MODELS_EVALUATED, round=version.round, matrix=matrix)
    desk.announce(
        Notice.ROUND_FINISHED,
        round=version.round,
        digest=version.digest,
        metrics=dict(metrics),
        best=version.best,
        selected=list(current.selected),
        contributors=sorted(current.trained),
        absent=current.losses(),
        evaluators=sorted(current.updates) if evaluated else [],
        unevaluated=current.unevaluated(),
        seconds=max(0.0, desk.now - current.started),
    )
    _go_on(desk)


def reopen(state: ExperimentState) -> None:
    """Takes an experiment that had ended back to its admission; what it has published stays.

    Its sites were dismissed: all of them are asked anew, also those that were lost, and the open round begins anew.
    """
    state.status, state.reason = Status.STARTING, ""
    state.roster, state.round = Roster(), None


def fail(desk: Desk, reason: str) -> None:
    """Ends the experiment if there is a reason to."""
    if reason:
        finish(desk, Status.FAILED, reason)


def finish(desk: Desk, status: Status, reason: str) -> None:
    """Ends the experiment."""
    state = desk.state
    state.status, state.reason = status, reason
    desk.emit(FinishExperiment(status, reason))
    surplus.sum_up(desk)
    rounds = state.versions[-1].round if state.versions else 0
    fields = {"status": status.value, "reason": reason, "rounds": rounds}
    desk.announce(Notice.EXPERIMENT_ENDED, **fields, shortfalls=state.all_shortfalls())


def _note_shortfalls(desk: Desk, current: RoundState) -> None:
    """Remembers the sites that were asked to take part and without which a round was made."""
    if not current.number:
        return
    asked = {*desk.state.expected, *desk.plan.admission.collaborators}
    missing = dict.fromkeys(asked - set(desk.roster.members()), "has not joined")
    for name, reason in (missing | current.losses()).items():
        desk.state.shortfalls.setdefault(name, f"round {current.number}: {reason}")
    for name, reason in current.unevaluated().items():
        if name not in desk.state.shortfalls:
            desk.state.unmeasured.setdefault(name, f"evaluation of round {current.number}: {reason}")


def _go_on(desk: Desk) -> None:
    """Ends the experiment if it has made what it was to make; begins the next round otherwise."""
    versions = desk.state.versions
    reason = stop_reason(desk.plan, versions)
    if reason:
        finish(desk, Status.FINISHED, reason)
    else:
        _begin_round(desk, versions[-1].round + 1)


def _begin_round(desk: Desk, number: int) -> None:
    base = desk.state.versions[-1].digest if desk.state.versions else ""
    phase = Phase.TRAIN if number else Phase.INITIALISE
    desk.state.round = RoundState(number, desk.now, base, phase)
