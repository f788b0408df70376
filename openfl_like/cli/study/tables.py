"""The tables of a report: what is in their cells."""

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence

from openfl_like.cli.output.page import Cell, DataCell, ReportTable
from openfl_like.cli.study.panels import panels_of
from openfl_like.cli.study.sentences import common_places, decimals, spread_text, state_text
from openfl_like.studies.results import StudyRunResult
from openfl_like.studies.statistics import LevelComparison, half_width
from openfl_like.studies.study import StudyDesign
from openfl_like.studies.summary import ConfigurationSummary, best_among

_MOST_COLUMNS = 6
_LEAST_P = 0.001


def tables(
    study: StudyDesign, found: Sequence[ConfigurationSummary], tested: Sequence[LevelComparison]
) -> list[ReportTable]:
    """Return the tables of a report."""
    made = [_matrix(study, found, tested), _configurations(study, found), _comparisons(study, tested)]
    return [table for table in (*made, _fairness(study, found), _spent(study, found)) if table is not None]


def _matrix(
    study: StudyDesign, found: Sequence[ConfigurationSummary], tested: Sequence[LevelComparison]
) -> ReportTable | None:
    """Return levels of the compared axis against the combinations of the others, where that fits on a page."""
    panels = panels_of(study, found)
    levels = list(dict.fromkeys(level for panel in panels.values() for level in panel))
    drawn = any(axis.drawn for axis in study.axes)
    if drawn or len(levels) < 2 or not 1 < len(panels) <= _MOST_COLUMNS:
        return None
    marked = {(_title(one.panel), one.level) for one in tested if one.significant}
    best = {title: best_among(study, panel.values()) for title, panel in panels.items()}
    places = common_places(one.spread for one in found)
    rows = []
    for level in levels:
        cells = [Cell(level)]
        for title, panel in panels.items():
            one = panel.get(level)
            star = " *" if (title, level) in marked else ""
            text = spread_text(one.spread, places) + star if one is not None else ""
            cells.append(Cell(text, strong=one in best[title]))
        rows.append(tuple(cells))
    caption = (
        f"{capital(study.metric)} after the last round, mean ± standard deviation over the seeds; the best of each "
        f"column in bold.{_stars(study, tested)}"
    )
    return ReportTable("results", caption, (study.compare, *panels), tuple(rows))


def _stars(study: StudyDesign, tested: Sequence[LevelComparison]) -> str:
    if not any(one.p is not None for one in tested):
        return " Nothing is tested: that needs two seeds."
    if not any(one.significant for one in tested):
        return f" No difference to {study.baseline} is significant at 5 %."
    return f" * differs from {study.baseline} at 5 %, over all comparisons together."


def _title(panel: Mapping[str, str]) -> str:
    return ", ".join(f"{axis} {level}" for axis, level in panel.items())


def _configurations(study: StudyDesign, found: Sequence[ConfigurationSummary]) -> ReportTable:
    best = best_among(study, found)
    axes = [axis.name for axis in study.axes]
    rows, data = [], list[Mapping[str, DataCell]]()
    places = common_places(one.spread for one in found)
    typical = _typical(half_width(list(one.values.values())) for one in found)
    for one in found:
        half = half_width(list(one.values.values()))
        state, n = state_text(one, 0), one.spread.n if one.spread else 0
        mean = one.spread.mean if one.spread is not None else None
        rows.append(
            (
                Cell(str(one.configuration.number)),
                *(Cell(one.configuration.levels[axis]) for axis in axes),
                Cell(state),
                Cell(str(n)),
                Cell(spread_text(one.spread, places), strong=one in best and len(found) > 1),
                Cell(_interval(mean, half, typical)),
            )
        )
        data.append(
            {
                "number": one.configuration.number,
                **{f"axis.{axis}": one.configuration.levels[axis] for axis in axes},
                "state": state,
                "n": n,
                "mean": mean,
                "sd": one.spread.sd if one.spread is not None else None,
                **_bounds(mean, half),
                "changes": json.dumps(dict(one.configuration.changes)),
            }
        )
    columns = ("no", *axes, "state", "n", study.metric, "95 % interval of the mean")
    caption = f"All configurations: {study.metric} after the last round, mean ± standard deviation over n seeds."
    return ReportTable("configurations", caption, columns, tuple(rows), len(axes) + 2, tuple(data))


def _typical(halves: Iterable[float | None]) -> float:
    """Return an error with whose decimals all intervals of a table stand well below each other; 0: there is none."""
    known = [half for half in halves if half]
    return statistics.median_low(known) if known else 0.0


def _interval(middle: float | None, half: float | None, typical: float) -> str:
    if middle is None or half is None:
        return ""
    return f"{_signed(middle - half, typical)} to {_signed(middle + half, typical)}"


def _bounds(middle: float | None, half: float | None) -> dict[str, DataCell]:
    if middle is None or half is None:
        return {"low": None, "high": None}
    return {"low": middle - half, "high": middle + half}


def _signed(value: float, error: float) -> str:
    """Return a number with the sign that print has for a minus."""
    return decimals(value, error).replace("-", "\N{MINUS SIGN}")


def _comparisons(study: StudyDesign, tested: Sequence[LevelComparison]) -> ReportTable | None:
    if not tested:
        return None
    others = [axis.name for axis in study.axes if axis.name != study.compare]
    rows, data = [], list[Mapping[str, DataCell]]()
    typical = _typical(one.half_width for one in tested)
    for one in tested:
        rows.append(
            (
                *(Cell(one.panel[axis]) for axis in others),
                Cell(f"{one.level} \N{EN DASH} {study.baseline}"),
                Cell(str(one.n)),
                Cell(_signed(one.difference, typical or one.difference)),
                Cell(_interval(one.difference, one.half_width, typical)),
                Cell("" if one.statistic is None else f"{one.statistic:.2f}".replace("-", "\N{MINUS SIGN}")),
                Cell(_p_text(one.p)),
                Cell(_p_text(one.corrected), strong=one.significant),
            )
        )
        data.append(
            {
                **{f"axis.{axis}": one.panel[axis] for axis in others},
                "level": one.level,
                "baseline": study.baseline,
                "n": one.n,
                "difference": one.difference,
                **_bounds(one.difference, one.half_width),
                "t": one.statistic,
                "p": one.p,
                "p_holm": one.corrected,
            }
        )
    columns = (*others, study.compare, "n", "difference", "95 % interval", "t", "p", "p (Holm)")
    caption = (
        f"Differences to {study.baseline} in {study.metric}: two-sided paired t-test over runs of the same seed, which "
        f"have the same sites and the same first model. {_corrected_text(tested)}"
    )
    return ReportTable("comparisons", caption, columns, tuple(rows), len(others) + 1, tuple(data))


def _corrected_text(tested: Sequence[LevelComparison]) -> str:
    count = sum(one.p is not None for one in tested)
    if not count:
        return "Nothing is tested: that needs two seeds that differ."
    return f"p (Holm) is corrected for all {count} comparisons."


def capital(text: str) -> str:
    """Return a text that begins a sentence."""
    return f"{text[:1].upper()}{text[1:]}"


def _p_text(p: float | None) -> str:
    if p is None:
        return "\N{EN DASH}"
    return f"< {_LEAST_P}" if p < _LEAST_P else f"{p:.3f}"


def _selections(result: StudyRunResult) -> list[int]:
    """Return how often sites were asked; of all that never were there is one 0."""
    asked = list(result.selections().values())
    return [*asked, 0] if len(asked) < result.sites else asked


def _fairness(study: StudyDesign, found: Sequence[ConfigurationSummary]) -> ReportTable | None:
    rows, data = [], list[Mapping[str, DataCell]]()
    for one in found:
        counts = [count for result in one.results for count in _selections(result)]
        if one.fairness is None or not counts:
            continue
        sites = max(result.sites for result in one.results)
        levels = [one.configuration.levels[axis.name] for axis in study.axes]
        span = f"{min(counts)} to {max(counts)}"
        rows.append((*map(Cell, levels), Cell(str(sites)), Cell(span), Cell(f"{one.fairness:.3f}")))
        data.append(
            {
                "number": one.configuration.number,
                "sites": sites,
                "selected_least": min(counts),
                "selected_most": max(counts),
                "jain": one.fairness,
            }
        )
    if not rows:
        return None
    columns = (*(axis.name for axis in study.axes), "sites", "selected", "Jain's index")
    caption = (
        "Fairness of selection: how often a site was asked to train in a run, and Jain's index of that, the mean over "
        "the runs (1: all sites alike; 1/sites: always the same one)."
    )
    return ReportTable("fairness", caption, columns, tuple(rows), len(study.axes), tuple(data))


def _spent(study: StudyDesign, found: Sequence[ConfigurationSummary]) -> ReportTable | None:
    """Return time and energy of the devices, where the rows have them."""
    there = [one for one in found if one.hours is not None or one.joules is not None]
    if not there:
        return None
    rows = tuple(
        (
            *(Cell(one.configuration.levels[axis.name]) for axis in study.axes),
            Cell("" if one.hours is None else f"{one.hours:,.2f}"),
            Cell("" if one.joules is None else f"{one.joules:,.0f}"),
        )
        for one in there
    )
    data = tuple({"number": one.configuration.number, "hours": one.hours, "joules": one.joules} for one in there)
    columns = (*(axis.name for axis in study.axes), "hours", "joules")
    caption = "What the devices took until the last round, the mean over the runs: virtual time and energy."
    return ReportTable("devices", caption, columns, rows, len(study.axes), data)
