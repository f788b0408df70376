"""The phase between training and combining in which every update is scored by another site, on that site's data.

An answer belongs to the update that its sender was asked to score, so that what is made of it falls on whose update it
is. Whoever does not answer in time holds nobody up: the update then counts as the plan says.
"""

from openfl_like.federation.context import ExperimentContext
from openfl_like.federation.events import PlaceUpdates
from openfl_like.federation.phases import drop_judged, mark_absent, open_phase
from openfl_like.federation.round_state import RoundState, Step
from openfl_like.federation.seeds import derive_seed
from openfl_like.federation.task import Phase, Update
from openfl_like.federation.validation.scoring import (
    Scoring,
    Unscored,
    UpdatesScored,
    draw_pairs,
    judge_scores,
    nobody_reports,
)


def begin(context: ExperimentContext, state: RoundState) -> bool:
    """Have the updates of a round placed where others can fetch them; return whether there is anything to score."""
    section, updates = context.plan.cross_evaluation, state.learned()
    if section is None or state.phase is not Phase.TRAIN or not updates:
        return False
    names = [update.collaborator for update in updates]
    if len(names) == 1:
        context.announce(UpdatesScored(state.number, section.metric, unscored={names[0]: Unscored.ALONE}))
        return False
    pairs = draw_pairs(names, derive_seed(context.plan.seed, state.number, "cross evaluation"))
    state.scoring = Scoring(pairs)
    state.step = Step.PLACE
    context.emit(placement(state, updates))
    return True


def placement(state: RoundState, updates: tuple[Update, ...]) -> PlaceUpdates:
    """Return the command that has updates placed where those can fetch them who score them."""
    return PlaceUpdates(state.number, state.base, updates)


def placed(state: RoundState) -> PlaceUpdates | None:
    """Return the command that has placed the updates that are being scored; None: none are."""
    scoring = state.scoring
    if scoring is None or state.phase is not Phase.CROSS_EVALUATE:
        return None
    scored = {*scoring.pairs.values()}
    return placement(state, tuple(scoring.updates[name] for name in sorted(scored)))


def ask(context: ExperimentContext, state: RoundState, models: dict[str, str]) -> None:
    """Have every site that has trained score the update of another one.

    One whose connection has just broken is asked, too: it may come back in time.

    Args:
        context: The experiment.
        state: The round.
        models: Whose update -> the model file that it stands for.
    """
    scoring = state.scoring
    if scoring is None:
        return
    scoring.models, scoring.updates, scoring.assigned = dict(models), state.updates, state.assigned
    scoring.absent, state.absent = state.absent, {}
    scoring.work, scoring.limit_s = state.work, state.limit_s
    scorers = sorted(scoring.pairs)
    awaited = tuple(context.roster.awaited(scorers))
    open_phase(context, state, Phase.CROSS_EVALUATE, awaited)
    for name in sorted({*scorers} - {*awaited}):
        mark_absent(context, state, name, context.roster.one(name).absence)


def close(context: ExperimentContext, state: RoundState) -> str:
    """Go back to the updates of the training, and do about them what their scores say.

    Returns:
        Why the experiment cannot go on; empty if it can.
    """
    section, scoring, answers = context.plan.cross_evaluation, state.scoring, state.updates
    if section is None or scoring is None:
        return ""
    undefined = {name: context.roster.one(name).undefined.get(state.phase, ()) for name in answers}
    told, verdicts = judge_scores(section, state.number, scoring.pairs, answers, undefined)
    _take_back(state, scoring)
    state.step = Step.VALIDATE
    context.announce(told)
    context.state.scored = context.state.scored or bool(told.scores)
    if nobody_reports(told) and not context.state.scored:
        return (
            f"round {state.number}: no site reports the metric '{section.metric}' of an update that it has scored "
            "(cross_evaluation.metric)"
        )
    state.verdicts = (*state.verdicts, *verdicts)
    drop_judged(context, state, verdicts)
    return ""


def lose(context: ExperimentContext, state: RoundState) -> None:
    """Go back to the training since an update is lost; scores that have come are asked for again with it."""
    if state.scoring is None:
        return
    if state.phase is Phase.CROSS_EVALUATE:
        for name in state.updates:
            context.roster.one(name).delivered.pop(state.phase, None)
        _take_back(state, state.scoring)
    state.scoring = None


def _take_back(state: RoundState, scoring: Scoring) -> None:
    state.phase, state.updates, state.absent = Phase.TRAIN, scoring.updates, scoring.absent
    state.assigned, state.scoring = scoring.assigned, None
    state.work, state.limit_s = scoring.work, scoring.limit_s
