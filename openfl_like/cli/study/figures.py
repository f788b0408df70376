"""The figures of a report: learning curves with confidence bands, and the final value along a numeric axis."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from openfl_like.cli.study.panels import line_of, panels_of
from openfl_like.drawing.figure import DrawnFigure
from openfl_like.drawing.style import HUES, STYLE
from openfl_like.studies.results import RunState, StudyRunResult
from openfl_like.studies.statistics import half_width
from openfl_like.studies.study import Level, StudyDesign
from openfl_like.studies.summary import ConfigurationSummary

_MOST_PANELS = 12
_COLUMNS = 3
_MOST_LINES = len(HUES)
_MOST_DRAWN = 5
"""So many of those that were drawn are told apart: their names are long."""
_LINES = (
    "-",
    "--",
    "-.",
    ":",
    (0, (5, 1)),
    (0, (1, 1)),
    (0, (3, 1, 1, 1)),
    (0, (7, 2)),
    (0, (2, 2)),
    (0, (9, 1, 1, 1)),
)
_MARKERS = "osD^vPX<>*"
_FEWEST_NUMBERS = 3
_WIDTH = 7.2
_LEGEND_CHARS = 60
_OTHER = "#d9d9d9"
_PARTS = frozenset({"accuracy", "auc"})
"""Metrics from 0 to 1."""
_LOSS = "loss"
_LEAST_LOSS = 1e-9
_MAGNITUDES = 20
"""From such a ratio on, a logarithm shows more than the number itself."""
_APART = 0.012
"""Between points of two lines at the same value, as a part of the axis: their intervals would hide each other."""


def figures(study: StudyDesign, found: Sequence[ConfigurationSummary]) -> list[DrawnFigure]:
    """Draw the figures of a study; without any round there is none."""
    if not any(result.rows for one in found for result in one.results):
        return []
    with mpl.rc_context(STYLE):
        drawn = [_curves(study, found, "curves")]
        if any(row.hours is not None for one in found for result in one.results for row in result.rows):
            drawn.append(_curves(study, found, "time"))
        for axis in study.axes:
            numbers = [level for level in axis.levels if level.number is not None]
            if len(numbers) >= _FEWEST_NUMBERS and len(numbers) == len(axis.levels):
                drawn += _along(study, found, axis.name)
    return drawn


def _curves(study: StudyDesign, found: Sequence[ConfigurationSummary], name: str) -> DrawnFigure:
    """Draw the courses of all configurations over rounds, or over virtual time if the figure is called so."""
    timed = name == "time"
    panels = panels_of(study, found)
    shown = dict(list(panels.items())[:_MOST_PANELS])
    columns = min(_COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    narrow = columns == 1
    looks = _looks(study, found)
    above = 0.25 + 0.2 * -(-len(looks) // _legend_columns(looks))
    size = (4.8, above + 2.6) if narrow else (_WIDTH, above + 2.2 * rows)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for place, (title, panel) in enumerate(shown.items()):
        axes = grid[divmod(place, columns)]
        for level, one in panel.items():
            _curve(axes, study.metric, _course(study, one, timed=timed), level, looks.get(level))
        axes.set_title(title, loc="left", fontsize=9)
        axes.grid()
        axes.margins(x=0.02)
        axes.xaxis.set_major_locator(MaxNLocator(integer=not timed, nbins=5, steps=[1, 2, 5, 10]))
    for place in range(len(shown), rows * columns):
        grid[divmod(place, columns)].set_axis_off()
    for column in range(columns):
        below = (len(shown) - 1 - column) // columns
        grid[below, column].set_xlabel("virtual hours" if timed else "round")
        grid[below, column].tick_params(labelbottom=True)
    for row in range(rows):
        grid[row, 0].set_ylabel(study.metric)
    _keep_within(grid[0, 0], study, found)
    grey = _grey(study, found, looks)
    _legend(figure, grid[0, 0], ("the best" if grey else study.compare) if len(looks) > 1 else "")
    more = (
        f" The first {len(shown)} of {len(panels)} combinations of the other axes." if len(panels) > len(shown) else ""
    )
    over = "over virtual time" if timed else "after each round"
    return DrawnFigure(name, f"{_what(study)} {over}: {_band(found)}.{more}{grey}", figure)


def _what(study: StudyDesign) -> str:
    return f"{study.metric[:1].upper()}{study.metric[1:]} of the global model"


def _band(found: Sequence[ConfigurationSummary]) -> str:
    counts = sorted({one.spread.n for one in found if one.spread is not None})
    if counts == [1]:
        return "one seed, so no interval can be given"
    seeds = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}" if counts else "no"
    return f"mean over {seeds} seeds, with its 95 % confidence interval (Student's t)"


def _grey(study: StudyDesign, found: Sequence[ConfigurationSummary], looks: Mapping[str, "_Look"]) -> str:
    names = {line_of(study, one) for one in found}
    return " The best are in colour, all others in grey." if len(looks) < len(names) else ""


@dataclass(frozen=True, slots=True)
class _Look:
    hue: str
    line: object
    marker: str


_Course = tuple[list[float], list[float], list[float]]
"""Where, the means there, and half of the interval of each."""


def _looks(study: StudyDesign, found: Sequence[ConfigurationSummary]) -> dict[str, _Look]:
    """Return how each line looks, by its name; of many, only the best have colours."""
    levels = list(dict.fromkeys(line_of(study, one) for one in found))
    most = _MOST_DRAWN if any(axis.drawn for axis in study.axes) else _MOST_LINES
    if len(levels) > most:
        means: dict[str, list[float]] = {level: [] for level in levels}
        for one in found:
            if one.spread is not None and not one.stopped_after:
                means[line_of(study, one)].append(one.spread.mean)
        sign = -1 if study.mode == "max" else 1
        ranks = {level: min(sign * mean for mean in own) for level, own in means.items() if own}
        ranked = sorted(ranks, key=lambda level: ranks[level])
        best = set(ranked[:most])
        levels = [level for level in levels if level in best]
    return {level: _Look(HUES[place], _LINES[place], _MARKERS[place]) for place, level in enumerate(levels)}


def _curve(axes: Axes, metric: str, course: _Course, level: str, look: _Look | None) -> None:
    at, means, halves = course
    if not at:
        return
    if look is None:
        axes.plot(at, means, color=_OTHER, linewidth=0.8, zorder=1)
        return
    marker = look.marker if len(at) == 1 else None
    axes.plot(at, means, color=look.hue, linestyle=look.line, marker=marker, linewidth=1.5, label=level or None)
    if any(half > 0 for half in halves):
        low, high = np.subtract(means, halves), np.add(means, halves)
        if _kind(metric) == _LOSS:
            low = np.maximum(low, _LEAST_LOSS)  # what is below 0 has no logarithm
        axes.fill_between(at, low, high, color=look.hue, alpha=0.15, linewidth=0)


def _course(study: StudyDesign, one: ConfigurationSummary, *, timed: bool) -> _Course:
    """Return the rounds of a configuration, or their virtual hours, with mean and half an interval over its seeds."""
    values: dict[int, dict[int, float]] = {}
    hours: dict[int, list[float]] = {}
    seeds = {run.id: run.seed for run in one.runs}
    for result in one.results:
        for row in result.rows if result.state in {RunState.FINISHED, RunState.STOPPED} else ():
            if study.metric in row.metrics:
                values.setdefault(row.round, {})[seeds[result.run]] = row.metrics[study.metric]
                hours.setdefault(row.round, []).extend([] if row.hours is None else [row.hours])
    rounds = sorted(number for number in values if hours[number] or not timed)
    means = [float(np.mean(list(values[number].values()))) for number in rounds]
    halves = [half_width(list(values[number].values())) or 0.0 for number in rounds]
    at = [float(np.mean(hours[number])) if timed else float(number) for number in rounds]
    return at, means, halves


def _along(study: StudyDesign, found: Sequence[ConfigurationSummary], axis_name: str) -> list[DrawnFigure]:
    """Draw the final value along a numeric axis: a line for each level of the compared one, if that is another one."""
    axis = next(one for one in study.axes if one.name == axis_name)
    own = {axis_name, study.compare}
    others = [one for one in study.axes if one.name not in own and not one.drawn and len(one.levels) > 1]
    if others:  # what would be in one line differs in more than this axis
        return []
    figure = Figure(figsize=(4.8, 3.2), layout="constrained")
    axes = figure.subplots()
    levels = _compared_levels(study, axis_name)
    logarithmic = axis.geometric or _spans_magnitudes(axis.levels)
    joined = not any(one.drawn for one in study.axes)
    for place, level in enumerate(levels):
        look = _Look(HUES[place], "-" if joined else "none", _MARKERS[place])
        mine = [one for one in found if not level or one.configuration.levels[study.compare] == level]
        at = _places(axis.levels, _APART * (place - (len(levels) - 1) / 2), logarithmic=logarithmic)
        _line_along(axes, mine, axis_name, at, (level, look))
    if logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    if len(axis.levels) <= _MOST_LINES and not axis.drawn:
        axes.set_xticks([level.number or 0.0 for level in axis.levels], [level.name for level in axis.levels])
        axes.xaxis.set_minor_locator(NullLocator())
    axes.set(xlabel=axis_name, ylabel=study.metric)
    axes.grid()
    _keep_within(axes, study, found)
    _legend(figure, axes, study.compare if len(levels) > 1 else "")
    caption = f"{_what(study)} after the last round, along {axis_name}: {_band(found)}."
    stopped = (
        " Configurations that were stopped early have fewer rounds: open."
        if any(one.stopped_after for one in found)
        else ""
    )
    return [DrawnFigure(f"along-{axis_name.replace(' ', '-')}", caption + stopped, figure)]


def _compared_levels(study: StudyDesign, axis: str) -> list[str]:
    """Return the levels that are told apart along an axis; of more than there are colours, and of drawn ones, none."""
    names = [level.name for one in study.axes if one.name == study.compare and not one.drawn for level in one.levels]
    return names if study.compare != axis and 0 < len(names) <= _MOST_LINES else [""]


def _places(levels: Sequence[Level], shift: float, *, logarithmic: bool) -> dict[str, float]:
    """Return where each level of a numeric axis is drawn, shifted by a part of the axis."""
    numbers = {level.name: level.number or 0.0 for level in levels}
    low, high = min(numbers.values()), max(numbers.values())
    if logarithmic:
        return {name: number * (high / low) ** shift for name, number in numbers.items()}
    return {name: number + (high - low) * shift for name, number in numbers.items()}


def _line_along(
    axes: Axes, found: Sequence[ConfigurationSummary], axis: str, places: Mapping[str, float], named: tuple[str, _Look]
) -> None:
    level, look = named
    points = [(places[one.configuration.levels[axis]], one) for one in found if one.spread is not None]
    if not points:
        return
    points.sort(key=lambda point: point[0])
    at = [number for number, _ in points]
    means = [one.spread.mean if one.spread else 0.0 for _, one in points]
    halves = [half_width(list(one.values.values())) or 0.0 for _, one in points]
    axes.errorbar(
        at, means, yerr=halves if any(halves) else None, color=look.hue, linestyle=look.line, marker=look.marker,
        markersize=4, capsize=2, linewidth=1.5, elinewidth=1, label=level or None,
    )  # fmt: skip
    early = [place for place, (_, one) in enumerate(points) if one.stopped_after]
    axes.plot(
        [at[place] for place in early], [means[place] for place in early], linestyle="none", marker=look.marker,
        markersize=4, markerfacecolor="white", markeredgecolor=look.hue, zorder=5,
    )  # fmt: skip


def _keep_within(axes: Axes, study: StudyDesign, found: Sequence[ConfigurationSummary]) -> None:
    """Show nothing where a metric cannot be, though an interval may go so far; losses of all sizes by logarithm."""
    low, high = axes.get_ylim()
    if _kind(study.metric) in _PARTS:
        axes.set_ylim(max(low, 0.0), min(high, 1.0))
    elif _kind(study.metric) == _LOSS:
        values = [value for one in found for result in one.results for value in _values(result, study.metric)]
        least = min(values, default=0.0)
        if least > 0 and max(values) / least >= _MAGNITUDES:
            axes.set_yscale("log")
            axes.set_ylim(least / 1.5, max(values) * 1.5)
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        else:
            axes.set_ylim(max(low, 0.0), min(high, 1.5 * max(values)) if values and max(values) > 0 else high)


def _kind(metric: str) -> str:
    """Return what sort of metric it is, whichever task it is of."""
    return metric.rpartition(".")[2]


def _values(result: StudyRunResult, metric: str) -> list[float]:
    return [row.metrics[metric] for row in result.rows if metric in row.metrics]


def _spans_magnitudes(levels: Sequence[Level]) -> bool:
    numbers = [level.number or 0.0 for level in levels]
    return min(numbers) > 0 and max(numbers) / min(numbers) >= _MAGNITUDES


def _legend_columns(names: Collection[str]) -> int:
    return max(1, min(len(names), 5, _LEGEND_CHARS // max(1, *map(len, names)))) if names else 1


def _legend(figure: Figure, axes: Axes, title: str) -> None:
    handles, names = axes.get_legend_handles_labels()
    if title and handles:
        figure.legend(
            handles,
            names,
            title=title,
            loc="outside upper center",
            ncols=_legend_columns(names),
        )
