"""The tables of one experiment, and of several beside each other."""

import json
import textwrap
from collections.abc import Sequence
from statistics import fmean

from openfl_like.cli.experiment.report.course import ExperimentCourse
from openfl_like.cli.output.page import Cell, DataCell, ReportTable
from openfl_like.federation.announcements import only
from openfl_like.federation.failure import Failure
from openfl_like.federation.validation.scoring import UpdatesScored
from openfl_like.plan.difference import differences

MOST_ROWS = 100
_REASON = 120
"""Of a reason, so many characters."""


def tables_of(course: ExperimentCourse) -> list[ReportTable]:
    """Make the tables of an experiment; those that would be empty are left out."""
    made = (_sites(course), _models(course), _scores(course), _times(course))
    return [table for table in made if table.rows]


def compared(courses: Sequence[ExperimentCourse]) -> list[ReportTable]:
    """Make the tables of several experiments: how they ended, and in what their plans differ."""
    return [table for table in (_ends(courses), _differences(courses)) if table.rows]


def _table(name: str, caption: str, rows: Sequence[dict[str, DataCell]], words: int = 1) -> ReportTable:
    columns = tuple(dict.fromkeys(key for row in rows for key in row))
    cells = tuple(tuple(Cell(_shown(row.get(key))) for key in columns) for row in rows)
    return ReportTable(name, caption, columns, cells, words, tuple(rows))


def _shown(value: DataCell) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _sites(course: ExperimentCourse) -> ReportTable:
    """What each site did: those that were missing first."""
    rounds = [one for one in course.rounds if one.round]
    names = {name for one in rounds for name in (*one.selected, *one.evaluators, *one.absent, *one.unevaluated)}
    rows: list[dict[str, DataCell]] = []
    for name in sorted(names):
        weights = [one.contributors[name].weight for one in rounds if name in one.contributors]
        reasons = [_reason(one.round, one.absent[name]) for one in rounds if name in one.absent]
        reasons += [_reason(one.round, one.unevaluated[name]) for one in rounds if name in one.unevaluated]
        rows.append(
            {
                "site": name,
                "asked": sum(name in one.selected for one in rounds),
                "contributed": len(weights),
                "mean weight": fmean(weights) if weights else None,
                "evaluated": sum(name in one.evaluators for one in rounds),
                "missing": sum(name in one.absent or name in one.unevaluated for one in rounds),
                "first reason": reasons[0] if reasons else "",
            }
        )
    rows.sort(key=lambda row: -int(row["missing"] or 0))
    more = f" The first {MOST_ROWS} of {len(rows)}." if len(rows) > MOST_ROWS else ""
    caption = f"Sites: in how many rounds each was asked, contributed, evaluated, was missing.{more}"
    return _table("sites", caption, rows[:MOST_ROWS])


def _reason(number: int, failure: Failure) -> str:
    text = " ".join(str(failure).split())
    return f"round {number}: {textwrap.shorten(text, _REASON)}"


def _models(course: ExperimentCourse) -> ReportTable:
    best = max((item.version.round for item in course.record.versions if item.version.best), default=-1)
    rows: list[dict[str, DataCell]] = [
        {
            "round": item.version.round,
            **{name: item.version.metrics[name] for name in sorted(item.version.metrics)},
            "best": "best" if item.version.round == best else "",
            "model": "" if item.kept is None else "kept" if item.kept else "gone",
        }
        for item in course.record.versions
    ]
    shown = rows if len(rows) <= MOST_ROWS else [*rows[: MOST_ROWS // 2], *rows[-MOST_ROWS // 2 :]]
    more = f" The first and the last {MOST_ROWS // 2} of {len(rows)}." if len(rows) > MOST_ROWS else ""
    return _table("models", f"Models: the metrics of each version over all sites.{more}", shown)


def _scores(course: ExperimentCourse) -> ReportTable:
    """What sites said of each other's updates."""
    rows: list[dict[str, DataCell]] = []
    for told in only(course.history, UpdatesScored):
        rows += [
            {
                "round": told.round,
                "update of": owner,
                "scored by": told.scorers[owner],
                told.metric: told.scores.get(owner),
                "limit": told.limit,
                "no score": told.unscored[owner].value if owner in told.unscored else "",
            }
            for owner in sorted(told.scorers)
        ]
    shown = rows if len(rows) <= MOST_ROWS else [*rows[: MOST_ROWS // 2], *rows[-MOST_ROWS // 2 :]]
    more = f" The first and the last {MOST_ROWS // 2} of {len(rows)}." if len(rows) > MOST_ROWS else ""
    return _table("scores", f"Cross evaluation: each update, measured by another site.{more}", shown, words=3)


def _times(course: ExperimentCourse) -> ReportTable:
    times = [one for one in course.times if one.round]
    rows: list[dict[str, DataCell]] = []
    parts = {name: sorted(one.parts[name] for one in times) for name in (times[0].parts if times else ())}
    parts = {name: values for name, values in parts.items() if any(values)}
    for name, values in (parts | ({"whole round": sorted(one.total_s for one in times)} if times else {})).items():
        rows.append(
            {
                "part": name,
                "mean s": fmean(values),
                "median s": values[len(values) // 2],
                "longest s": values[-1],
                "together s": sum(values),
            }
        )
    return _table("times", "Time: what the parts of a round took.", rows)


def _ends(courses: Sequence[ExperimentCourse]) -> ReportTable:
    rows: list[dict[str, DataCell]] = []
    for course in courses:
        versions = course.record.versions
        best = next((item.version for item in reversed(versions) if item.version.best), None)
        times = [one.total_s for one in course.times if one.round]
        rows.append(
            {
                "experiment": course.id,
                "status": course.record.summary.standing,
                "rounds": versions[-1].version.round if versions else 0,
                "sites": len({name for one in course.rounds for name in one.contributors}),
                "s a round": fmean(times) if times else None,
                "best round": best.round if best is not None else None,
                **{f"best {name}": value for name, value in sorted((best.metrics if best else {}).items())},
                **{f"last {name}": value for name, value in sorted(_last(course).items())},
            }
        )
    return _table("experiments", "Experiments: how they ended.", rows, words=2)


def _last(course: ExperimentCourse) -> dict[str, float]:
    versions = course.record.versions
    return dict(versions[-1].version.metrics) if versions else {}


def _differences(courses: Sequence[ExperimentCourse]) -> ReportTable:
    """Every key in which plans differ from that of the first experiment, with the value of each."""
    known = [(course.id, course.plan) for course in courses if course.plan is not None]
    values: dict[str, dict[str, DataCell]] = {}
    for name, plan in known[1:]:
        for item in differences(known[0][1], plan):
            values.setdefault(item.key, {"key": item.key, known[0][0]: _written(item.first)})[name] = _written(
                item.second
            )
    for row in values.values():
        for name, _ in known[1:]:
            row.setdefault(name, row[known[0][0]])  # as the first one has it
    return _table("plans", "Plans: the keys in which they differ.", list(values.values()), words=1 + len(known))


def _written(value: object) -> str:
    return "-" if value is None else value if isinstance(value, str) else json.dumps(value)
