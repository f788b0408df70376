"""Figures of one experiment (metrics by round, who took part, where the time went), and of several together."""

from collections.abc import Iterable, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from openfl_like.cli.experiment.report.course import ExperimentCourse
from openfl_like.cli.output.figure import DrawnFigure
from openfl_like.cli.output.pictures import HUES, STYLE
from openfl_like.federation.history.metrics import MetricRecord

MOST_METRICS = 6
MOST_SITES = 10
"""So many sites are told apart in a figure; the curves of more are grey."""
MOST_ROWS = 60
"""So many sites are shown in the figure of who took part: first those that were missing most often."""
_WIDTH = 7.2
_LONG = 5
"""A round that took so many times as long as the usual one hides the others."""
_GREY = "#b5b5b5"
_PARTS = ("training", "combining", "evaluating", "publishing")
_STANDINGS = ("not asked", "contributed", "evaluated only", "missing")
_COLOURS = ("#eeeeee", HUES[0], HUES[9], HUES[2])


def figures_of(course: ExperimentCourse) -> list[DrawnFigure]:
    """Draw the figures of an experiment; without a finished round there is none."""
    with mpl.rc_context(STYLE):
        drawn = [_curves(course), _participation(course), _times(course)]
    return [figure for figure in drawn if figure is not None]


def compared(courses: Sequence[ExperimentCourse]) -> list[DrawnFigure]:
    """Draw the metrics of several experiments beside each other; nothing if they have none in common."""
    names = [name for name in _names(courses[0].metrics) if any(name in _names(one.metrics) for one in courses[1:])]
    if not names:
        return []
    with mpl.rc_context(STYLE):
        figure, panels = _panels(names[:MOST_METRICS], legend=len(courses))
        for place, course in enumerate(courses):
            for name, axes in panels.items():
                points = _points(course.metrics, name)
                hue, line = HUES[place % len(HUES)], ("-", "--", "-.", ":")[place % 4]
                axes.plot(*points, color=hue, linestyle=line, linewidth=1.5, label=course.id)
        _legend(figure, next(iter(panels.values())))
    return [DrawnFigure("metrics", "Metrics of the global models, over all sites, after each round.", figure)]


def _names(records: Iterable[MetricRecord]) -> list[str]:
    """Return the names of metrics: those of evaluation first."""
    names = dict.fromkeys(record.metric for record in records)
    return sorted(names, key=lambda name: ("." in name, name))


def _points(records: Iterable[MetricRecord], name: str, site: str = "") -> tuple[list[int], list[float]]:
    found = [(one.round, one.value) for one in records if one.metric == name and one.site == site]
    return [number for number, _ in found], [value for _, value in found]


def _panels(names: Sequence[str], legend: int) -> tuple[Figure, dict[str, Axes]]:
    """Return a figure with a panel for each metric, and room for a legend of so many lines."""
    columns = min(2, len(names))
    rows = -(-len(names) // columns)
    above = 0.3 + 0.2 * -(-legend // 3) if legend else 0.2
    figure = Figure(figsize=(_WIDTH if columns > 1 else 4.8, above + 2.2 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, squeeze=False).ravel()
    panels = dict(zip(names, grid, strict=False))
    for name, axes in panels.items():
        axes.set_title(name, loc="left", fontsize=9)
        axes.grid()
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, steps=[1, 2, 5, 10]))
        axes.tick_params(labelbottom=True)
    for axes in grid[len(names) :]:
        axes.set_axis_off()
    for axes in list(panels.values())[-columns:]:
        axes.set_xlabel("round")
    return figure, panels


def _legend(figure: Figure, axes: Axes) -> None:
    handles, names = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, names, loc="outside upper center", ncols=max(1, min(4, 90 // max(map(len, names)))))


def _curves(course: ExperimentCourse) -> DrawnFigure | None:
    names = _names(course.metrics)[:MOST_METRICS]
    if not names:
        return None
    sites = sorted({record.site for record in course.reported})
    told_apart = len(sites) <= MOST_SITES
    figure, panels = _panels(names, legend=1 + (len(sites) if told_apart else 1))
    for name, axes in panels.items():
        task, _, metric = name.rpartition(".")
        own = [one for one in course.reported if one.metric == metric and (one.task == task or not task)]
        own = [one for one in own if task or one.task != "train"]
        for place, site in enumerate(sites):
            at, values = _points(own, metric, site)
            hue = HUES[place] if told_apart else _GREY
            label = site if told_apart else "a site" if not place else None
            axes.plot(at, values, color=hue, linewidth=0.8, alpha=0.9, label=label, zorder=2)
        axes.plot(*_points(course.metrics, name), color="#111111", linewidth=1.8, label="all sites", zorder=3)
    _legend(figure, next(iter(panels.values())))
    left = len(_names(course.metrics)) - len(names)
    more = f" {left} more metrics are not shown." if left else ""
    caption = f"Metrics after each round: over all sites, weighted by their samples, and of each site.{more}"
    return DrawnFigure("metrics", caption, figure)


def _participation(course: ExperimentCourse) -> DrawnFigure | None:
    rounds = [one for one in course.rounds if one.round]
    sites = sorted({name for one in rounds for name in (*one.selected, *one.evaluators, *one.absent, *one.unevaluated)})
    if not sites or not rounds:
        return None
    standing = np.zeros((len(sites), len(rounds)), dtype=np.int64)
    place = {name: row for row, name in enumerate(sites)}
    for column, one in enumerate(rounds):
        for names, what in ((one.evaluators, 2), (one.contributors, 1), (one.absent, 3), (one.unevaluated, 3)):
            for name in names:
                standing[place[name], column] = what
    order = sorted(range(len(sites)), key=lambda row: (-int((standing[row] == len(_STANDINGS) - 1).sum()), sites[row]))
    order = order[:MOST_ROWS] if len(sites) > MOST_ROWS else sorted(order)
    figure = Figure(figsize=(_WIDTH, 0.9 + min(6.0, 0.19 * len(order) + 0.4)), layout="constrained")
    axes = figure.subplots()
    edges = (rounds[0].round - 0.5, rounds[-1].round + 0.5, len(order) - 0.5, -0.5)
    axes.imshow(
        standing[order], cmap=ListedColormap(_COLOURS), vmin=-0.5, vmax=len(_COLOURS) - 0.5, aspect="auto",
        interpolation="nearest", extent=edges,
    )  # fmt: skip
    axes.set_yticks(range(len(order)), [sites[row] for row in order], fontsize=7)
    axes.set_xlabel("round")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10, steps=[1, 2, 5, 10]))
    for row in range(1, len(order)):
        axes.axhline(row - 0.5, color="white", linewidth=0.8)
    seen = [number for number in range(len(_STANDINGS)) if (standing == number).any()]
    patches = [Patch(facecolor=_COLOURS[number], label=_STANDINGS[number]) for number in seen]
    figure.legend(handles=patches, loc="outside upper center", ncols=4)
    more = f" The {len(order)} of {len(sites)} sites that were missing most often." if len(order) < len(sites) else ""
    return DrawnFigure("participation", f"Who took part in which round.{more}", figure)


def _times(course: ExperimentCourse) -> DrawnFigure | None:
    times = [one for one in course.times if one.round]
    if not times:
        return None
    at = [one.round for one in times]
    figure = Figure(figsize=(_WIDTH, 2.6), layout="constrained")
    axes = figure.subplots()
    below = np.zeros(len(times))
    for name, hue in zip(_PARTS, (HUES[0], HUES[1], HUES[9], HUES[3]), strict=True):
        values = np.array([one.parts[name] for one in times])
        if values.any():
            axes.bar(at, values, 1.0 if len(at) > MOST_ROWS else 0.8, bottom=below, color=hue, label=name)
        below += values
    axes.set(xlabel="round", ylabel="seconds")
    axes.margins(x=0.01)
    cut = _shorten(axes, [(one.round, one.total_s) for one in times])
    axes.grid(axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10, steps=[1, 2, 5, 10]))
    _legend(figure, axes)
    caption = (
        "Where the time of each round went: sites train, updates are checked and combined, sites evaluate, the version "
        f"is published. Transfers are part of training and evaluating.{cut}"
    )
    return DrawnFigure("time", caption, figure)


def _shorten(axes: Axes, totals: Sequence[tuple[int, float]]) -> str:
    """Cut bars off that would make all others too small to see; return the sentence that tells which, or nothing."""
    usual = sorted(total for _, total in totals)[len(totals) // 2]
    long = [(number, total) for number, total in totals if total > _LONG * usual]
    others = [total for _, total in totals if total <= _LONG * usual]
    if not long or not max(others, default=0.0):
        return ""
    axes.set_ylim(0, 1.25 * max(others))
    longest = max(long, key=lambda one: one[1])
    if len(long) == 1:
        return f" Round {longest[0]}, which took {longest[1]:.3g} s, is cut off."
    return f" {len(long)} rounds are cut off; round {longest[0]} took longest, {longest[1]:.3g} s."
