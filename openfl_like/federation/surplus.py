"""Updates that cannot count: counted for each collaborator and kind, and told without letting a flood fill the history.

The first one of a kind in a round is told at once, the sum at the end of the round.
"""

from collections.abc import Iterable

from openfl_like.federation.desk import Desk
from openfl_like.federation.events import Notice, SurplusArrived
from openfl_like.federation.parties import EventRecord

TOLD = (Notice.UPDATE_SURPLUS, Notice.EXPERIMENT_RESUMED)
"""The kinds of announcements that `total` learns from."""


def note(desk: Desk, event: SurplusArrived) -> None:
    """Counts an update; it is told if it is the first of its kind in this round."""
    counts = desk.state.surplus.setdefault(event.collaborator, {})
    kind = event.standing.value
    counts[kind] = counts.get(kind, 0) + 1
    if counts[kind] == 1:
        _tell(desk, event.collaborator, kind, 1)


def sum_up(desk: Desk) -> None:
    """Tells the sums that are not told yet, and begins to count anew."""
    for name, counts in sorted(desk.state.surplus.items()):
        for kind, count in sorted(counts.items()):
            if count > 1:
                _tell(desk, name, kind, count)
    desk.state.surplus = {}


def total(history: Iterable[EventRecord]) -> dict[str, dict[str, int]]:
    """Adds up what a history tells: collaborator -> standing -> how many updates, in all rounds.

    Of a round the last word counts; one that was open when its experiment ended is counted anew when it is resumed.

    Args:
        history: Its announcements in order; those of `TOLD` are enough.
    """
    last: dict[tuple[int, int, str, str], int] = {}
    life = 0
    for event in history:
        if event.kind == Notice.EXPERIMENT_RESUMED:
            life += 1
        elif event.kind == Notice.UPDATE_SURPLUS:
            fields = event.fields
            key = life, int(str(fields["round"])), str(fields["collaborator"]), str(fields["standing"])
            last[key] = int(str(fields["count"]))
    sums: dict[str, dict[str, int]] = {}
    for (_, _, name, kind), count in sorted(last.items()):
        counts = sums.setdefault(name, {})
        counts[kind] = counts.get(kind, 0) + count
    return {name: dict(sorted(sums[name].items())) for name in sorted(sums)}


def _tell(desk: Desk, name: str, kind: str, count: int) -> None:
    number = desk.state.round.number if desk.state.round is not None else 0
    desk.announce(Notice.UPDATE_SURPLUS, round=number, collaborator=name, standing=kind, count=count)
