"""Who takes part in a phase: gathering a cohort, an initialiser, those who evaluate, and who comes late."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from openfl_like.federation import buffered, lifecycle, phases
from openfl_like.federation.announcements import ModelKept, RoundStarted
from openfl_like.federation.context import ExperimentContext
from openfl_like.federation.events import StartTimer
from openfl_like.federation.participation.membership import Presence
from openfl_like.federation.participation.selection import Budgeted, SelectionView, share_of
from openfl_like.federation.participation.training_history import UNKNOWN
from openfl_like.federation.round_state import RoundState, Step, chose_too_few, list_absences, wants_too_few
from openfl_like.federation.status import Status
from openfl_like.federation.task import Phase
from openfl_like.plan.schema import Participation

Here = Callable[[Sequence[str]], Sequence[str]]


def begin_phase(context: ExperimentContext, state: RoundState) -> None:
    """Begin the open phase if enough collaborators are here, wait for them, or give up."""
    if state.phase is Phase.INITIALISE:
        lifecycle.fail(context, gather_initialiser(context, state))
    elif (coming := gather(context, state)) is not None:
        if end := _used_up(context, state):
            lifecycle.finish(context, Status.FINISHED, end)
        else:
            lifecycle.fall_short(context, state, coming)


def give_up(context: ExperimentContext, state: RoundState) -> None:
    """Stop to wait for enough collaborators."""
    if context.plan.mode.settings is not None and state.phase is not Phase.INITIALISE:
        lifecycle.fail(context, buffered.shortfall(context, state))
        return
    phase, cohort = _select(context, state, context.roster.present)
    if len(cohort) >= state.quorum:
        _begin(context, state, phase, cohort)
    else:
        lifecycle.fall_short(context, state, len(cohort))


def gather(context: ExperimentContext, state: RoundState) -> int | None:
    """Begin the training of a round if enough collaborators are here, or wait for them.

    A round that wants all whom it chooses does so among those, too, whose connection has just broken, and waits for
    them: a process that was killed does not change who trains.

    Returns:
        How many could begin it, if they are too few and waiting is in vain; otherwise None.
    """
    context.roster.promote()
    context.deal()
    if context.plan.mode.settings is not None:
        _begin_buffered(context, state)
        return None
    exact = context.plan.participation.policy == "exact"
    phase, cohort = _select(context, state, context.roster.awaited if exact else context.roster.present)
    enough = len(cohort) >= state.quorum
    if enough and len(context.roster.present(cohort)) == len(cohort):
        _begin(context, state, phase, cohort)
        return None
    gone = state.absent and all(context.roster.one(name).presence is Presence.GONE for name in state.absent)
    chose = wants_too_few(state) or (not state.absent and chose_too_few(state, len(cohort)))
    if not enough and (gone or chose or (phase is Phase.TRAIN and _nobody_is_asked(context, state))):
        return len(cohort)
    if not state.waiting:
        state.waiting = True
        context.emit(StartTimer(state.gather_timer, context.return_limit_s))
    return None


def _nobody_is_asked(context: ExperimentContext, state: RoundState) -> bool:
    """Whether there are members, and each was skipped or has no training task: nobody's coming changes that."""
    return bool(context.roster.members()) and not state.control.asked(context.members_with_calls(Phase.TRAIN))


def _begin(context: ExperimentContext, state: RoundState, phase: Phase, cohort: tuple[str, ...]) -> None:
    context.announce(RoundStarted(state.number, cohort, state.quorum))
    for name, failure in sorted(state.absent.items()):
        phases.announce_absence(context, state, name, failure)
    state.selected = cohort
    if phase is Phase.TRAIN:
        _note_asked(context, cohort)
    phases.open_phase(context, state, phase, cohort)


def _used_up(context: ExperimentContext, state: RoundState) -> str:
    """Say what has been used up of the budget by which the selector goes, so that it is the end; empty otherwise."""
    selector = context.selector
    if state.phase is not Phase.TRAIN or not isinstance(selector, Budgeted):
        return ""
    eligible = selector.eligible(context.members_with_calls(Phase.TRAIN))
    return selector.used_up(eligible, state.quorum, context.state.histories)


def gather_initialiser(context: ExperimentContext, state: RoundState) -> str:
    """Ask the next site for the initial model; return why none can make it, empty if one is asked."""
    candidate = phases.next_initialiser(context, state)
    if candidate is None:
        tried = f"none of the {phases.MOST_INITIALISERS} sites that were asked"
        who = tried if len(state.absent) >= phases.MOST_INITIALISERS else "no site"
        return f"round 0: {who} could make the initial model: {list_absences(state.absent)}"
    if not state.absent:
        context.announce(RoundStarted(0, (candidate,)))
    state.selected = (candidate,)
    phases.open_phase(context, state, Phase.INITIALISE, (candidate,))
    return ""


def join_round(context: ExperimentContext, state: RoundState, name: str) -> None:
    """Have a site that has just come train with those who train already, if the selector would have chosen it.

    How many updates the round needs does not change: it is no worse off if the site leaves again.
    """
    if state.phase is not Phase.TRAIN or state.step is not Step.COLLECT:
        return
    context.roster.one(name).member = True
    context.deal()
    if context.plan.mode.settings is not None:
        return  # whoever is free is asked as soon as somebody may train
    view = _training_view(context, state)
    if name not in context.selector.select(replace(view, count=context.selector.wanted(view))):
        return
    state.eligible = len(view.eligible)
    state.assigned = tuple(sorted({*state.assigned, name}))
    state.selected = tuple(sorted({*state.selected, name}))
    state.work = {**state.work, **context.work_of((name,))}
    _note_asked(context, (name,))


def open_evaluation(context: ExperimentContext, state: RoundState) -> None:
    """Have those evaluate that are selected, but for those that nobody waits for any more.

    One whose connection has just broken is asked, too: it may come back in time.
    """
    view = _evaluation_view(context)
    awaited = context.roster.awaited(view.eligible)
    view = replace(view, present=awaited)
    wanted = context.evaluation_selector.wanted(view)
    chosen = context.evaluation_selector.select(replace(view, count=wanted))
    phases.open_phase(context, state, Phase.EVALUATE, chosen)
    missed = set(view.eligible) - set(awaited) if len(chosen) < wanted else set()
    for name in sorted(missed):
        phases.mark_absent(context, state, name, context.roster.one(name).absence)


def keep_model(context: ExperimentContext, state: RoundState) -> None:
    """Go on with the model that the round began with: no site had anything to train on."""
    state.keep(state.base, state.base_state)
    buffered.made(context)
    digests = {name: state.trained[name].digest for name in sorted(state.trained)}
    context.announce(ModelKept(state.number, state.base, digests))
    open_evaluation(context, state)


def _evaluation_view(context: ExperimentContext) -> SelectionView:
    """Return what the selector of those who evaluate sees."""
    eligible = context.evaluation_selector.eligible(context.members_with_calls(Phase.EVALUATE))
    busy = buffered.busy(context)
    eligible = [name for name in eligible if name not in busy] if busy else eligible
    return context.view_of(eligible, "evaluation selection")


def _select(context: ExperimentContext, state: RoundState, here: Here) -> tuple[Phase, tuple[str, ...]]:
    """Choose who begins a round, of those who train if anybody does, and note who is missing.

    Args:
        context: The experiment.
        state: The round.
        here: Which of some names may be chosen.
    """
    if any(task.is_training for task in context.plan.tasks.values()):
        return Phase.TRAIN, _select_cohort(context, state, here)
    return Phase.EVALUATE, _select_evaluators(context, state)


def _select_cohort(context: ExperimentContext, state: RoundState, here: Here) -> tuple[str, ...]:
    """Draw the cohort and note what is wanted, needed, and who is missing if it is too small."""
    view = _training_view(context, state)
    view = replace(view, present=here(view.eligible))
    state.eligible, state.wanted = len(view.eligible), context.selector.wanted(view)
    state.quorum = _quorum(context.plan.participation, state.wanted)
    cohort = context.selector.select(replace(view, count=state.wanted))
    lost = set(view.eligible) - set(view.present) if len(cohort) < state.wanted else set()
    state.absent = {name: context.roster.one(name).absence for name in sorted(lost)}
    return cohort


def _training_view(context: ExperimentContext, state: RoundState) -> SelectionView:
    """Return what the selector of those who train sees."""
    eligible = state.control.asked(context.selector.eligible(context.members_with_calls(Phase.TRAIN)))
    return context.view_of(eligible, "selection")


def _select_evaluators(context: ExperimentContext, state: RoundState) -> tuple[str, ...]:
    """A plan that trains nothing needs one site that evaluates."""
    view = _evaluation_view(context)
    state.eligible, state.wanted = len(view.eligible), context.evaluation_selector.wanted(view)
    state.quorum = 1
    chosen = context.evaluation_selector.select(replace(view, count=state.wanted))
    lost = set(view.eligible) - set(view.present) if len(chosen) < state.wanted else set()
    state.absent = {name: context.roster.one(name).absence for name in sorted(lost)}
    return chosen


def _note_asked(context: ExperimentContext, names: Iterable[str]) -> None:
    """Remember who is asked to train, if somebody goes by it."""
    if context.remembers:
        known = context.state.histories
        known.update({name: known.get(name, UNKNOWN).asked_again() for name in names})


def _quorum(participation: Participation, wanted: int) -> int:
    """How many of the updates that are wanted a round needs."""
    if participation.policy == "exact":
        return max(1, wanted)
    fraction = participation.min_fraction
    return max(participation.min_updates or 1, share_of(fraction, wanted) if fraction is not None else 1)


def _begin_buffered(context: ExperimentContext, state: RoundState) -> None:
    """Begin with a version that is made of the first updates that come; who trains goes on."""
    settings = context.plan.mode.settings
    state.eligible = len(state.control.asked(context.selector.eligible(context.members_with_calls(Phase.TRAIN))))
    state.wanted = max(1, min(settings.buffer, state.eligible)) if settings is not None else 1
    state.quorum = _quorum(context.plan.participation, state.wanted)
    buffered.begin(context, state)
    buffered.fill(context, state)
    context.announce(RoundStarted(state.number, tuple(sorted(buffered.busy(context))), state.quorum))
