"""Figures of one experiment (metrics by round, who took part, where the time went), and of several together."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from openfl_like.cli.experiment.report.course import ExperimentCourse
from openfl_like.drawing.curves import (
    MOST_METRICS,
    WIDTH,
    metric_curves,
    metric_names,
    panels_of,
    place_legend,
    points_of,
)
from openfl_like.drawing.figure import DrawnFigure
from openfl_like.drawing.style import HUES, STYLE

MOST_ROWS = 60
"""So many sites are shown in the figure of who took part: first those that were missing most often."""
_LONG = 5
"""A round that took so many times as long as the usual one hides the others."""
_PARTS = ("training", "combining", "evaluating", "publishing")
_STANDINGS = ("not asked", "contributed", "evaluated only", "missing")
_COLOURS = ("#eeeeee", HUES[0], HUES[9], HUES[2])


def figures_of(course: ExperimentCourse) -> list[DrawnFigure]:
    """Draw the figures of an experiment; without a finished round there is none."""
    with mpl.rc_context(STYLE):
        drawn = [metric_curves(course.metrics, course.reported), _participation(course), _times(course)]
    return [figure for figure in drawn if figure is not None]


def compared(courses: Sequence[ExperimentCourse]) -> list[DrawnFigure]:
    """Draw the metrics of several experiments beside each other; nothing if they have none in common."""
    names = [
        name
        for name in metric_names(courses[0].metrics)
        if any(name in metric_names(one.metrics) for one in courses[1:])
    ]
    if not names:
        return []
    with mpl.rc_context(STYLE):
        figure, panels = panels_of(names[:MOST_METRICS], legend=len(courses))
        for place, course in enumerate(courses):
            for name, axes in panels.items():
                points = points_of(course.metrics, name)
                hue, line = HUES[place % len(HUES)], ("-", "--", "-.", ":")[place % 4]
                axes.plot(*points, color=hue, linestyle=line, linewidth=1.5, label=course.id)
        place_legend(figure, next(iter(panels.values())))
    return [DrawnFigure("metrics", "Metrics of the global models, over all sites, after each round.", figure)]


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
    figure = Figure(figsize=(WIDTH, 0.9 + min(6.0, 0.19 * len(order) + 0.4)), layout="constrained")
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
    figure = Figure(figsize=(WIDTH, 2.6), layout="constrained")
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
    place_legend(figure, axes)
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
