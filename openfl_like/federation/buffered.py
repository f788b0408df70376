"""The rules of the buffered mode: who is asked when, what makes a version, and what counts for how much.

FedBuff (Nguyen et al. 2022, arXiv:2106.06639, algorithm 1). Deviations: a site counts once in a version; updates are
weighed by samples, and combined by the rule of the plan; who is too stale is withdrawn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from openfl_like.federation.announcements import AssignmentSent, CollaboratorAbsent, UpdateLost, UpdateRefused
from openfl_like.federation.context import ExperimentContext
from openfl_like.federation.events import (
    ModelVersion,
    StartTimer,
    ValidateUpdates,
    WithdrawAssignment,
)
from openfl_like.federation.failure import Failure, FailureKind
from openfl_like.federation.participation.buffer import ArrivedUpdate, BufferState, OngoingTraining
from openfl_like.federation.participation.membership import Member, Presence
from openfl_like.federation.participation.selection import drawn_names
from openfl_like.federation.participation.training_history import UNKNOWN
from openfl_like.federation.round_state import RoundState, Step
from openfl_like.federation.seeds import assignment_seed, derive_seed
from openfl_like.federation.task import Assignment, BufferTaken, Phase, TaskCall, Update
from openfl_like.plan.limits import silence_limit_s, task_limit_s
from openfl_like.plan.schema import REJOIN_S, Plan


def bases_of(plan: Plan, versions: Sequence[ModelVersion], number: int, updates: Sequence[Update]) -> dict[str, str]:
    """Return the models that updates of a version were trained from, where they are not the newest one's."""
    if plan.mode.settings is None:
        return {}
    older = (update for update in updates if 0 < update.round < number)
    return {update.collaborator: versions[update.round - 1].digest for update in older}


def counted_factors(
    plan: Plan, number: int, updates: Sequence[Update], verdicts: Mapping[str, float]
) -> Mapping[str, float]:
    """Return what differences are multiplied by: for what validators say of updates, and for their staleness."""
    settings = plan.mode.settings
    if settings is None or not number:
        return verdicts
    factors = {each.collaborator: settings.staleness.factor(number - each.round) for each in updates}
    both = {name: factor * verdicts.get(name, 1.0) for name, factor in factors.items()}
    return {name: factor for name, factor in both.items() if factor != 1.0}


def trains(context: ExperimentContext, name: str) -> OngoingTraining | None:
    """Return what a site trains on; None: it does not, or the mode is another one."""
    buffer = context.state.buffer
    return buffer.training.get(name) if buffer is not None else None


def busy(context: ExperimentContext) -> set[str]:
    """Who cannot evaluate now."""
    return set(context.state.buffer.training) if context.state.buffer is not None else set()


def begin(context: ExperimentContext, state: RoundState) -> None:
    """Begin to take the updates of a version."""
    context.state.buffer = context.state.buffer or BufferState()
    state.open(Phase.TRAIN, (), context.now, 0.0)
    state.limit_s = None


def drop_stale(context: ExperimentContext, number: int) -> None:
    """Leave what is too stale to count in this version."""
    buffer = context.state.buffer
    if buffer is None:
        return
    oldest = number - context.plan.mode.most_staleness
    old = "it trains on a model that is more versions old than mode.settings.most_staleness"
    for name in [name for name, each in buffer.training.items() if each.assignment.round < oldest]:
        lose(context, name, Failure(FailureKind.DEADLINE, old), withdraw=True)
    for update in [each.update for each in buffer.arrived if each.update.round < oldest]:
        reason = "it is of more versions ago than mode.settings.most_staleness"
        context.announce(UpdateRefused(update.round, update.phase, update.collaborator, reason))
    buffer.arrived = tuple(each for each in buffer.arrived if each.update.round >= oldest)


def fill(context: ExperimentContext, state: RoundState) -> None:
    """Ask as many sites as may train at once, drawn from those that are free.

    While the model of a round is evaluated, the next sites are given it already.
    """
    settings, buffer = context.plan.mode.settings, context.state.buffer
    evaluates = state.phase is Phase.EVALUATE
    number = state.number + evaluates
    rounds = context.plan.aggregator.settings.rounds
    if settings is None or buffer is None or (rounds is not None and number > rounds):
        return
    if buffer.round != number:
        buffer.round, buffer.drawn = number, 0
        buffer.resting = {name: round_ for name, round_ in buffer.resting.items() if round_ >= number}
    missing = settings.concurrency - len(buffer.training)
    if missing <= 0:
        return
    seed = derive_seed(context.plan.seed, number, "buffered selection", buffer.drawn)
    names = drawn_names(_free(context, state, buffer), missing, seed)
    buffer.drawn += len(names)
    _ask(context, state, names, number)


def _free(context: ExperimentContext, state: RoundState, buffer: BufferState) -> list[str]:
    eligible = state.control.asked(context.selector.eligible(context.members_with_calls(Phase.TRAIN)))
    engaged = buffer.busy() | {name for name, number in buffer.resting.items() if number >= buffer.round}
    engaged |= {*state.pending} if state.phase is Phase.EVALUATE else set()
    return [name for name in context.roster.present(eligible) if name not in engaged]


def _ask(context: ExperimentContext, state: RoundState, names: Sequence[str], number: int) -> None:
    plan, buffer = context.plan, context.state.buffer
    if buffer is None or not names:
        return
    own_s = plan.deadline.training_limit_s if plan.deadline.train_s is not None else None
    work = context.work_of(names)
    for name in names:
        counted = state.trained[name].round if name in state.trained else context.state.counted.get(name, 0)
        assignment = Assignment(
            round=number,
            phase=Phase.TRAIN,
            collaborator=name,
            tasks=state.control.called(context.calls(name, Phase.TRAIN)),
            model=state.model,
            seed=assignment_seed(plan.seed, number, name, Phase.TRAIN.value),
            deadline_s=task_limit_s(own_s, context.state.longest_s.get(Phase.TRAIN)),
            continues=counted,
            train_s=plan.deadline.train_s,
            work=work.get(name),
        )
        buffer.training[name] = OngoingTraining(assignment, context.now)
        if context.remembers:
            history = context.state.histories
            history[name] = history.get(name, UNKNOWN).asked_beside()
        send(context, name)


def send(context: ExperimentContext, name: str) -> None:
    """Send a site that trains its assignment, if it is connected; the same one every time."""
    training = trains(context, name)
    if training is None or context.roster.one(name).presence is not Presence.PRESENT:
        return
    given = training.assignment
    context.give_out(given)
    tasks: tuple[TaskCall, ...] = given.tasks
    context.announce(AssignmentSent(given.round, given.phase, name, tuple(call.name for call in tasks)))


def take(context: ExperimentContext, update: Update) -> float:
    """Put an awaited update into the buffer; return when it was asked for."""
    buffer = context.state.buffer
    if buffer is None:
        raise ValueError("there is no buffer that an update could go into")
    training = buffer.training.pop(update.collaborator)
    buffer.arrived = (*buffer.arrived, ArrivedUpdate(update, training))
    return training.asked


def lose(context: ExperimentContext, name: str, failure: Failure, *, withdraw: bool = False) -> None:
    """Note that nothing comes of a site's training; it is asked again for a later round at the earliest."""
    buffer = context.state.buffer
    training = buffer.training.pop(name, None) if buffer is not None else None
    if buffer is None or training is None:
        return
    number = training.assignment.round
    buffer.resting[name] = max(number, buffer.round)
    buffer.failed[name] = failure
    if context.remembers:
        context.state.histories[name] = context.state.histories.get(name, UNKNOWN).missed_again()
    if withdraw:
        context.emit(WithdrawAssignment(number, Phase.TRAIN, name, str(failure)))
    placed = replace(failure, round=number, phase=Phase.TRAIN, site=name)
    context.announce(CollaboratorAbsent(number, Phase.TRAIN, name, str(failure), placed))


def notice_leaving(context: ExperimentContext, site: Member) -> None:
    """Give up a site that is known not to come back."""
    if site.presence is Presence.GONE:
        lose(context, site.name, site.absence, withdraw=True)


def end_silence(context: ExperimentContext, heard: float) -> None:
    """Give up whoever should have answered long ago.

    Args:
        context: The experiment.
        heard: When the present process began to drive it, or an answer came last.
    """
    for name, each in [*context.state.buffer.training.items()] if context.state.buffer is not None else ():
        own_s = each.assignment.deadline_s or 0.0
        limit_s = silence_limit_s(own_s) if context.plan.deadline.train_s is None else own_s + REJOIN_S
        if context.now - max(each.asked, heard) >= limit_s:
            text = f"sent no update within {limit_s:g} s (deadline.train_s sets another limit)"
            lose(context, name, Failure(FailureKind.DEADLINE, text), withdraw=True)


def close(context: ExperimentContext, state: RoundState) -> tuple[bool, str]:
    """Ask whoever is free, and take the updates of the open round if they are there.

    Returns:
        Whether they are, and why the experiment has failed; empty if it has not.
    """
    fill(context, state)
    buffer = context.state.buffer
    if buffer is None:
        return False, ""
    come = len(buffer.arrived)
    if come >= state.wanted or (not buffer.training and come >= state.quorum):
        _take(context, state, buffer)
        return True, ""
    if buffer.training:
        state.waiting = False
        return False, ""
    return False, _wait(context, state)


def _wait(context: ExperimentContext, state: RoundState) -> str:
    """Wait for somebody to come back, if anybody may; say why the version cannot be made otherwise."""
    eligible = context.selector.eligible(context.members_with_calls(Phase.TRAIN))
    here = {*context.roster.present(eligible)}
    away = [name for name in context.roster.awaited(eligible) if name not in here]
    if not away:
        return shortfall(context, state)
    if not state.waiting:
        state.waiting = True
        context.emit(StartTimer(state.gather_timer, context.return_limit_s))
    return ""


def shortfall(context: ExperimentContext, state: RoundState) -> str:
    """Say why the version cannot be made of what is there."""
    buffer = context.state.buffer or BufferState()
    state.absent = dict(buffer.failed)
    return state.shortfall(len(buffer.arrived) + len(buffer.training)) or (
        f"round {state.number}: {state.wanted} updates are wanted, {len(buffer.arrived)} came"
    )


def _take(context: ExperimentContext, state: RoundState, buffer: BufferState) -> None:
    count = min(state.wanted, len(buffer.arrived))
    buffer.taken, buffer.arrived = buffer.arrived[:count], buffer.arrived[count:]
    updates = tuple(each.update for each in buffer.taken)
    state.updates = {update.collaborator: update for update in updates}
    state.absent = {name: failure for name, failure in buffer.failed.items() if name not in state.updates}
    buffer.failed = {}
    state.selected = tuple(sorted({*state.updates, *state.absent}))
    state.waiting, state.step = False, Step.VALIDATE
    late = tuple(state.number - update.round for update in updates)
    settings = context.plan.mode.settings
    factors = tuple(settings.staleness.factor(each) for each in late) if settings is not None else ()
    context.announce(BufferTaken(state.number, tuple(update.collaborator for update in updates), late, factors))
    context.emit(validation(context, state))


def validation(context: ExperimentContext, state: RoundState) -> ValidateUpdates:
    """Return the command that has the open phase's updates looked at."""
    answers = state.answers()
    bases = bases_of(context.plan, context.state.versions, state.number, answers)
    return ValidateUpdates(state.number, state.base, answers, bases)


def made(context: ExperimentContext) -> None:
    """Forget the updates that a model was made of: they are the round's."""
    if context.state.buffer is not None:
        context.state.buffer.taken = ()


def lose_update(context: ExperimentContext, state: RoundState, name: str) -> bool:
    """Have a site train once more whose update is lost; return whether it was in the buffer, or taken from it."""
    buffer = context.state.buffer
    if buffer is None:
        return False
    found = next((each for each in (*buffer.taken, *buffer.arrived) if each.update.collaborator == name), None)
    if found is None:
        return False
    if found in buffer.taken:
        buffer.arrived, buffer.taken = (*buffer.taken, *buffer.arrived), ()
        buffer.failed = {**state.absent, **buffer.failed}
        state.updates, state.absent, state.step = {}, {}, Step.COLLECT
    buffer.arrived = tuple(each for each in buffer.arrived if each is not found)
    buffer.training[name] = found.training
    context.roster.one(name).delivered.pop(Phase.TRAIN, None)
    context.announce(UpdateLost(found.update.round, Phase.TRAIN, name))
    return True
