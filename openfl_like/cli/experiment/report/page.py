"""The page of one experiment, and that of several beside each other."""

from collections.abc import Sequence

from openfl_like import __version__
from openfl_like.cli.experiment.advice import advice
from openfl_like.cli.experiment.outcome import best_text, reason_of, shortfall_text
from openfl_like.cli.experiment.report import tables
from openfl_like.cli.experiment.report.course import ExperimentCourse
from openfl_like.cli.output.console import clock, hours
from openfl_like.cli.output.page import ReportPage
from openfl_like.drawing.placed import PageFigure
from openfl_like.plan.digest import plan_text

MOST_LINES = 5
"""So many sites that were missing are named above the tables."""


NO_FIGURES = "There are no figures, since matplotlib is not installed: pip install 'openfl_like[studies]'."


def page_of(course: ExperimentCourse, figures: Sequence[PageFigure] | None) -> ReportPage:
    """Write the page of an experiment.

    Args:
        course: The experiment.
        figures: Its figures; None: they cannot be drawn here.
    """
    summary = course.record.summary
    facts = {
        "experiment": summary.id,
        "plan": summary.plan_digest,
        "owner": summary.owner,
        "submitted": clock(summary.submitted_at),
        **{f"SHA-256, round {item.version.round}": item.sha256 for item in course.record.versions if item.sha256},
        "openfl_like": __version__,
    }
    return ReportPage(
        title=summary.id,
        summary=tuple(_sentences(course)),
        warnings=tuple(_warnings(course)),
        remarks=(NO_FIGURES,) if figures is None else (),
        figures=tuple(figures or ()),
        tables=tuple(tables.tables_of(course)),
        facts=tuple((name, value) for name, value in facts.items() if value),
        plan=plan_text(course.plan) if course.plan is not None else course.record.plan,
    )


def comparison_of(courses: Sequence[ExperimentCourse], figures: Sequence[PageFigure] | None) -> ReportPage:
    """Write the page of several experiments; arguments as for `page_of`."""
    names = [course.id for course in courses]
    told = f"{len(names)} experiments: how they ended, how their models became better, in what their plans differ."
    return ReportPage(
        title=" and ".join([", ".join(names[:-1]), names[-1]]),
        summary=(told,),
        warnings=(),
        remarks=(
            *(f"{course.id}: {text}" for course in courses for text in _warnings(course)[:1]),
            *((NO_FIGURES,) if figures is None else ()),
        ),
        figures=tuple(figures or ()),
        tables=tuple(tables.compared(courses)),
        facts=tuple((f"plan of {course.id}", course.record.summary.plan_digest) for course in courses),
    )


def _sentences(course: ExperimentCourse) -> list[str]:
    summary, rounds = course.record.summary, [one for one in course.rounds if one.round and one.digest]
    reason = reason_of(summary)
    standing = f"The experiment {summary.name} is {summary.standing}{f': {reason}' if reason else ''}."
    length = summary.ended_at - summary.started_at if summary.ended_at and summary.started_at else 0
    took = f" in {hours(length)} (hours, minutes, seconds)" if length else ""
    sites = {name for one in rounds for name in one.contributors}
    made = f"{len(rounds)} rounds were made by {len(sites)} sites{took}." if rounds else "No round was made."
    best = best_text(course.record).partition(";")[0]
    return [standing, made, *([f"{best[:1].upper()}{best[1:]}."] if best else [])]


def _warnings(course: ExperimentCourse) -> list[str]:
    return [*_first_cause(course), *_missing(course)]


def _first_cause(course: ExperimentCourse) -> list[str]:
    found = course.explanation
    if found is None or found.why.cause is None:
        return []
    cause = found.why.cause
    what = ": ".join(part for part in (cause.error, cause.message) if part)
    where = f" ({cause.place})" if cause.place else ""
    when = f" at {clock(cause.time)}" if cause.time else ""
    return [f"First cause{when}: {what}{where}. What to do: {advice(found)}."]


def _missing(course: ExperimentCourse) -> list[str]:
    missing = list(course.record.summary.shortfalls.items())
    named = [f"{name}: {shortfall_text(failure)}" for name, failure in missing[:MOST_LINES]]
    named += [f"and {len(missing) - MOST_LINES} more sites"] if len(missing) > MOST_LINES else []
    return [f"Missing: {'; '.join(named)}."] if named else []
