"""The rounds of an experiment as the rows of a table: rounds that went alike share one."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from openfl_like.cli.experiment.sentences import rejected

if TYPE_CHECKING:
    from openfl_like.federation.history.rounds import RoundRecord

from openfl_like.cli.experiment.sentences import counted

_ALWAYS = ("round", "status", "contributors")


def round_rows(records: Iterable["RoundRecord"]) -> list[dict[str, object]]:
    """Return a row for all rounds in a row that went alike, without the columns that would be empty.

    Args:
        records: The rounds, in order.
    """
    found: list[tuple[int, int, dict[str, object]]] = []
    for record in records:
        cells = _cells(record)
        if found and found[-1][2] == cells and found[-1][1] == record.round - 1:
            found[-1] = found[-1][0], record.round, cells
        else:
            found.append((record.round, record.round, cells))
    wanted = [name for name in _names(found) if name in _ALWAYS or any(cells[name] for _, _, cells in found)]
    return [
        {"round": str(first) if first == last else f"{first} to {last}", **{name: cells[name] for name in wanted}}
        for first, last, cells in found
    ]


def _names(found: Iterable[tuple[int, int, Mapping[str, object]]]) -> list[str]:
    return list(next((cells for _, _, cells in found), {}))


def _cells(one: "RoundRecord") -> dict[str, object]:
    absent = {f"{name}:": str(failure) for name, failure in one.absent.items()}
    unevaluated = {name: str(failure) for name, failure in one.unevaluated.items() if name not in one.absent}
    contributors = {name: part.weight for name, part in one.contributors.items()}
    others = [name for name in one.selected if name not in one.contributors and name not in one.absent]
    return {
        "status": one.status.value,
        "contributors": contributors,
        "partial": {f"{name}:": counted(samples, "sample") for name, samples in one.partial.items()},
        "also selected": others,
        "absent": absent,
        "evaluated by": "contributors" if _same(one) else one.evaluators,
        "scores": _scores(one),
        "clipped or capped": {f"{v.collaborator}:": str(v) for v in one.verdicts if v.action != "drop"},
        "rejected": rejected(one.rejected) if one.rejected is not None else "",
        "not evaluated by": {f"{name}:": reason for name, reason in unevaluated.items()},
    }


def _scores(one: "RoundRecord") -> dict[str, str]:
    """What other sites have found each update to be like: ``ada: 0.91 by bern``."""
    if one.scored is None:
        return {}
    return {f"{name}:": f"{score:.4g} by {one.scored.scorers[name]}" for name, score in one.scored.scores.items()}


def _same(one: "RoundRecord") -> bool:
    return bool(one.evaluators) and {*one.evaluators} == {*one.contributors}
