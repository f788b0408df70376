"""The phases of a round: gathering a cohort, handing out work, taking answers, noting absences."""

from collections.abc import Mapping
from dataclasses import replace

from openfl_like.federation import buffered
from openfl_like.federation.announcements import (
    AssignmentSent,
    CollaboratorAbsent,
    UpdateLost,
    UpdateReceived,
    UpdateRefused,
)
from openfl_like.federation.context import ExperimentContext
from openfl_like.federation.events import (
    StartTimer,
    TaskFailed,
    UpdateCommitted,
    WithdrawAssignment,
)
from openfl_like.federation.failure import Failure, FailureKind, bounded
from openfl_like.federation.participation.membership import Member, Presence
from openfl_like.federation.participation.training_history import UNKNOWN, past_training
from openfl_like.federation.round_state import RoundState, Step, model_for, own_update
from openfl_like.federation.seeds import assignment_seed
from openfl_like.federation.task import (
    Assignment,
    Phase,
    Update,
    UpdatePartial,
    check_facts,
    undefined_metrics,
    without_undefined,
)
from openfl_like.federation.unmeasured import MetricsUndefined
from openfl_like.federation.validation.sample_limit import judge_samples
from openfl_like.federation.validation.verdict import Consequence, UpdatesJudged, UpdateVerdict, counted_less
from openfl_like.plan.limits import LOOK_S, silence_limit_s, task_limit_s

SILENCE_TIMER = "silence"
MOST_INITIALISERS = 20
"""So many sites are asked in turn for the initial model: where all of these fail, those after them would as well."""


def open_phase(context: ExperimentContext, state: RoundState, phase: Phase, names: tuple[str, ...]) -> None:
    """Hand out the work of a phase and start its timer."""
    deadline = context.plan.deadline
    own_s = deadline.training_limit_s if phase is Phase.TRAIN else deadline.round_s
    limit_s = task_limit_s(own_s, context.state.longest_s.get(phase))
    state.open(phase, names, context.now, limit_s)
    state.work = context.work_of(names) if phase is Phase.TRAIN else {}
    for name in names:
        send(context, state, name)
    if names and context.plan.deadline.round_s is not None:
        context.emit(StartTimer(state.deadline_timer, context.plan.deadline.round_s))


def send(context: ExperimentContext, state: RoundState, name: str) -> None:
    """Send a collaborator its assignment if it is awaited and connected; the same one every time."""
    buffered.send(context, name)
    if not state.awaits(name) or context.roster.one(name).presence is not Presence.PRESENT:
        return
    plan, phase = context.plan, state.phase
    whose = "" if phase is Phase.INITIALISE else name  # the initial model must not depend on which site makes it
    calls = state.control.called(context.calls(name, phase))
    counted = context.state.counted
    own = own_update(state, name)  # what a site measures, it measures with what it has of its own since it trained
    assignment = Assignment(
        round=state.number,
        phase=phase,
        collaborator=name,
        tasks=calls,
        model=model_for(state, name),
        seed=assignment_seed(plan.seed, state.number, whose, phase.value),
        deadline_s=state.limit_s,
        continues=counted.get(name, 0) if own is None else own.round,
        train_s=plan.deadline.train_s if phase is Phase.TRAIN else None,
        work=state.work.get(name),
    )
    context.give_out(assignment)
    context.announce(AssignmentSent(state.number, phase, name, tuple(call.name for call in calls)))


def resume(context: ExperimentContext, state: RoundState, returning: list[Member]) -> None:
    """Start the timers of the open phase again after a restart, and one for everybody who has to connect again."""
    if context.plan.simulation.devices is None:  # virtual time stands still while nobody drives it
        state.started = context.now - max(0.0, max(state.opened, state.heard) - state.started)
    state.opened = state.heard = context.now
    for site in returning:
        context.emit(StartTimer(site.rejoin_timer, context.return_limit_s))
    away = [site for _, site in sorted(context.roster.sites.items()) if site.awaited and not site.here]
    for site in away:
        context.emit(StartTimer(site.rejoin_timer, context.return_limit_s))
    if state.waiting:
        context.emit(StartTimer(state.gather_timer, context.return_limit_s))
    if state.awaited and context.plan.deadline.round_s is not None:
        context.emit(StartTimer(state.deadline_timer, context.plan.deadline.round_s))


def take_update(context: ExperimentContext, state: RoundState, committed: UpdateCommitted) -> None:
    """Take an answer that is awaited; say so if it is not."""
    update, size_bytes = committed.update, committed.size_bytes
    site = context.roster.site(update.collaborator)
    if site is not None and site.took(update):
        return
    if site is None or not _expects(context, state, update):
        refuse_update(context, update, state.objection(update))
        return
    undefined = undefined_metrics(update)
    update = without_undefined(update) if undefined else update
    complaint = check_facts(update)
    if complaint:
        refuse_update(context, update, complaint)
        _drop(context, state, update, Failure(FailureKind.REFUSED, complaint))
        return
    _tell_undefined(context, site, update, undefined)
    site.take(update)
    if context.state.traffic is not None:
        context.state.traffic.received_bytes += size_bytes
    state.heard = context.now
    took_s = context.now - _put(context, state, update)
    longest_s = context.state.longest_s
    longest_s[update.phase] = max(longest_s.get(update.phase, 0.0), took_s)
    if context.remembers and update.phase is Phase.TRAIN:
        history = context.state.histories.get(update.collaborator, UNKNOWN)
        context.state.histories[update.collaborator] = history.seen(
            past_training(update, took_s, size_bytes, committed.energy_j)
        )
    if update.partial:
        context.announce(UpdatePartial(update.round, update.collaborator, update.num_samples, update.batches))
    context.announce(
        UpdateReceived(
            round=update.round,
            phase=update.phase,
            collaborator=update.collaborator,
            num_samples=update.num_samples,
            metrics={task: dict(metrics) for task, metrics in update.metrics.items()},
            duration_s=update.duration_s,
            size_bytes=size_bytes,
        )
    )


def _tell_undefined(
    context: ExperimentContext, site: Member, update: Update, undefined: Mapping[str, Mapping[str, float]]
) -> None:
    """Tell which metrics of an answer are not numbers, unless they are those of the answer before."""
    names = tuple(f"{task}.{name}" for task in sorted(undefined) for name in sorted(undefined[task]))
    if not names:
        site.undefined.pop(update.phase, None)
        return
    if names != site.undefined.get(update.phase):
        values = {task: {name: str(value) for name, value in metrics.items()} for task, metrics in undefined.items()}
        context.announce(MetricsUndefined(update.round, update.phase, update.collaborator, values))
    site.undefined[update.phase] = names


def lose_update(context: ExperimentContext, state: RoundState, name: str) -> None:
    """Forget an answer of the open phase that was taken: it is awaited again."""
    if buffered.lose_update(context, state, name):
        return
    update = state.updates.pop(name)
    context.roster.one(name).delivered.pop(update.phase, None)
    if update.phase is Phase.TRAIN and name in context.state.histories:
        context.state.histories[name] = context.state.histories[name].lost(update.round)
    state.step = Step.COLLECT
    context.announce(UpdateLost(update.round, update.phase, name))


def refuse_update(context: ExperimentContext, update: Update, reason: str) -> None:
    """Tell that an update does not count."""
    context.announce(UpdateRefused(update.round, update.phase, update.collaborator, reason))


def take_failure(context: ExperimentContext, state: RoundState, event: TaskFailed) -> None:
    """Note a failure, if the task was awaited."""
    if _expects(context, state, event):
        _drop(context, state, event, event.failure)


def drop_refused(context: ExperimentContext, state: RoundState, problems: Mapping[str, str]) -> None:
    """Take the updates that failed their checks off the table."""
    for name in sorted(problems.keys() & state.updates.keys()):
        update = state.updates.pop(name)
        problem = bounded(problems[name])  # whoever says it may be code of a workspace
        refuse_update(context, update, problem)
        mark_absent(context, state, name, Failure(FailureKind.REFUSED, problem))


def judge_updates(context: ExperimentContext, state: RoundState, verdicts: tuple[UpdateVerdict, ...]) -> None:
    """Note what was made of the updates that are to be combined, and drop those that do not count."""
    if state.phase is not Phase.TRAIN:
        return
    dropped = {verdict.collaborator for verdict in verdicts if verdict.action is Consequence.DROP}
    rest = [update for update in state.answers() if update.collaborator not in dropped]
    state.verdicts = (*verdicts, *judge_samples(context.plan.sample_limit, rest))
    drop_judged(context, state, state.verdicts)


def judge_evaluation(context: ExperimentContext, state: RoundState) -> None:
    """Have nobody's metrics weigh more than the samples that it may claim."""
    if state.phase is not Phase.EVALUATE:
        return
    verdicts = judge_samples(context.plan.sample_limit, state.answers())
    drop_judged(context, state, verdicts)
    state.updates = {name: counted_less(update, verdicts) for name, update in state.updates.items()}


def drop_judged(context: ExperimentContext, state: RoundState, verdicts: tuple[UpdateVerdict, ...]) -> None:
    """Tell verdicts on updates of the open phase, and take those off the table that are dropped."""
    if verdicts:
        context.announce(UpdatesJudged(state.number, state.phase, verdicts))
    dropped = (verdict for verdict in verdicts if verdict.action is Consequence.DROP)
    drop_refused(context, state, {verdict.collaborator: str(verdict) for verdict in dropped})


def _expects(context: ExperimentContext, state: RoundState, answer: Update | TaskFailed) -> bool:
    """Whether an answer is awaited, in the open phase or to a training that goes on beside it."""
    training = buffered.trains(context, answer.collaborator) if answer.phase is Phase.TRAIN else None
    if training is not None:
        return training.assignment.round == answer.round
    return state.expects(answer.round, answer.phase, answer.collaborator)


def _put(context: ExperimentContext, state: RoundState, update: Update) -> float:
    """Put an awaited update where it belongs; return when it was asked for."""
    if update.phase is Phase.TRAIN and buffered.trains(context, update.collaborator) is not None:
        return buffered.take(context, update)
    state.updates[update.collaborator] = update
    return state.opened


def _drop(context: ExperimentContext, state: RoundState, answer: Update | TaskFailed, failure: Failure) -> None:
    """Note that nothing that counts comes of an awaited answer."""
    if answer.phase is Phase.TRAIN and buffered.trains(context, answer.collaborator) is not None:
        buffered.lose(context, answer.collaborator, failure)
    else:
        mark_absent(context, state, answer.collaborator, failure)


def notice_leaving(context: ExperimentContext, state: RoundState, site: Member) -> None:
    """Leave a collaborator that was being waited for some time to come back, if it is worth waiting for."""
    if site.presence is not Presence.GONE:
        context.emit(StartTimer(site.rejoin_timer, context.return_limit_s))
    buffered.notice_leaving(context, site)
    if not state.awaits(site.name):
        return
    others = state.phase is Phase.INITIALISE and next_initialiser(context, state) is not None
    if site.presence is Presence.GONE or others:
        mark_absent(context, state, site.name, site.absence, withdraw=True)


def end_absence(context: ExperimentContext, state: RoundState, timer: str) -> None:
    """Stop waiting for a collaborator that did not come back before this timer ran out, if it is such a timer."""
    site = context.roster.by_timer(timer)
    if site is None:
        return
    site.overdue = True
    if site.presence is Presence.RETURNING:
        site.presence = Presence.AWAY
        text = f"{_not_back(context)} after a restart of the aggregator"
        site.failure = Failure(FailureKind.NOT_BACK, text)
    elif site.presence is Presence.AWAY:
        site.failure = Failure(FailureKind.NOT_BACK, f"{site.absence}, {_not_back(context)}")
    if site.overdue and not site.here:
        buffered.lose(context, site.name, site.absence, withdraw=True)
    if state.awaits(site.name):
        mark_absent(context, state, site.name, site.absence, withdraw=True)


def _not_back(context: ExperimentContext) -> str:
    return f"did not come back within {context.return_limit_s:g} s"


def pass_deadline(context: ExperimentContext, state: RoundState) -> None:
    """Stop to wait for everybody who has not answered."""
    _give_up(context, state, f"within {context.plan.deadline.round_s:g} s")


def _give_up(context: ExperimentContext, state: RoundState, when: str) -> None:
    what = "update" if state.phase.returns_model else "metrics"
    late = Failure(FailureKind.DEADLINE, f"sent no {what} {when}")
    for name in state.pending:
        mark_absent(context, state, name, late, withdraw=True)


def watch_silence(context: ExperimentContext) -> None:
    """Look after a while whether an answer has come, if the plan has no limit of its own for what is awaited."""
    if context.plan.deadline.round_s is None or context.plan.mode.settings is not None:
        context.emit(StartTimer(SILENCE_TIMER, LOOK_S))


def end_silence(context: ExperimentContext, state: RoundState | None) -> None:
    """Stop to wait for whoever should have answered long ago."""
    if state is not None and state.awaited and state.limit_s is not None:
        most_s = silence_limit_s(state.limit_s)
        if context.now - state.heard >= most_s:
            key = "deadline.train_s or deadline.round_s" if state.phase is Phase.TRAIN else "deadline.round_s"
            _give_up(context, state, f"within {most_s:g} s ({key} sets another limit)")
    if state is not None:
        buffered.end_silence(context, state.heard)
    watch_silence(context)


def mark_absent(
    context: ExperimentContext, state: RoundState, name: str, failure: Failure, *, withdraw: bool = False
) -> None:
    """Note that a collaborator will not answer in the open phase."""
    state.absent[name] = failure
    if withdraw:
        context.emit(WithdrawAssignment(state.number, state.phase, name, str(failure)))
    announce_absence(context, state, name, failure)


def announce_absence(context: ExperimentContext, state: RoundState, name: str, failure: Failure) -> None:
    """Tell that a collaborator takes no part in the open phase, and why."""
    placed = replace(failure, round=state.number, phase=state.phase, site=name)
    context.announce(CollaboratorAbsent(state.number, state.phase, name, str(failure), placed))


def next_initialiser(context: ExperimentContext, state: RoundState) -> str | None:
    """The next site that is asked for the initial model; None: there is none, or enough have failed."""
    if len(state.absent) >= MOST_INITIALISERS:
        return None
    tried = {*state.absent, *(state.assigned if state.step is Step.COLLECT else ())}
    return next((name for name in context.roster.present(context.roster.members()) if name not in tried), None)
