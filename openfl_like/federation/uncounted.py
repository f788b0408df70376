"""Updates that cannot count: counted for each collaborator and kind, and told without letting a flood fill the history.

The first one of a kind in a round is told at once, the sum at the end of the round.
"""

from openfl_like.federation.announcements import UpdateSurplus
from openfl_like.federation.context import ExperimentContext
from openfl_like.federation.deliveries import UpdateStatus
from openfl_like.federation.events import UncountedUpdateArrived


def note(context: ExperimentContext, event: UncountedUpdateArrived) -> None:
    """Count an update; it is told if it is the first of its kind in this round."""
    counts = context.state.surplus.setdefault(event.collaborator, {})
    kind = event.standing.value
    counts[kind] = counts.get(kind, 0) + 1
    if counts[kind] == 1:
        _tell(context, event.collaborator, kind, 1)


def sum_up(context: ExperimentContext) -> None:
    """Tell the sums that are not told yet, and begin to count anew."""
    for name, counts in sorted(context.state.surplus.items()):
        for kind, count in sorted(counts.items()):
            if count > 1:
                _tell(context, name, kind, count)
    context.state.surplus = {}


def _tell(context: ExperimentContext, name: str, kind: str, count: int) -> None:
    number = context.state.round.number if context.state.round is not None else 0
    context.announce(UpdateSurplus(number, name, UpdateStatus(kind), count))
