"""The pictures of docs/learning.md: courses with confidence bands, and the final accuracy of every seed."""

from collections.abc import Mapping, Sequence

import numpy as np
from learning_cases import METHODS, Case
from learning_figures import Curve
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from openfl_like.drawing.style import HUES
from openfl_like.studies.statistics import half_width

FAMILIES = {
    "server optimizers": ("FedAvgM", "FedAdagrad", "FedAdam", "FedYogi"),
    "against drift": ("FedProx", "SCAFFOLD", "FedDyn", "FedNova", "Mime", "MimeLite"),
    "for the sites' own sake": ("Per-FedAvg", "FedAvg, batch norm", "FedBN"),
}
"""Which methods share a panel; FedAvg is in all of them."""
_BASELINE, _BLACK = "FedAvg", "#333333"
_LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)))
_Found = Mapping[Case, Mapping[str, Sequence[Curve]]]


def curves_figure(found: _Found) -> Figure:
    """Draw a row for each case and a column for each family of methods."""
    figure = Figure(figsize=(7.2, 2.2 * len(found) + 1.0), layout="constrained")
    grid = figure.subplots(len(found), len(FAMILIES), sharex="row", sharey="row", squeeze=False)
    for row, (case, methods) in enumerate(found.items()):
        for column, names in enumerate(FAMILIES.values()):
            axes = grid[row, column]
            for place, name in enumerate(names):
                _course(axes, methods[name], name, HUES[place], _LINES[place])
            _course(axes, methods[_BASELINE], _BASELINE, _BLACK, "-")
            axes.axhline(100 * case.target, color="#999999", linewidth=0.6, linestyle=":")
            axes.grid()
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
        grid[row, 0].set_ylabel("accuracy, %")
        grid[row, 0].set_title(case.title, loc="left", fontsize=9, weight="bold")
        grid[row, 0].set_ylim(*_limits(methods))
    for column, family in enumerate(FAMILIES):
        grid[-1, column].set_xlabel("round")
        handles, names = grid[0, column].get_legend_handles_labels()
        grid[-1, column].legend(
            handles, names, title=family, loc="upper center", bbox_to_anchor=(0.5, -0.28), fontsize=8, title_fontsize=8
        )
    return figure


def _limits(methods: Mapping[str, Sequence[Curve]]) -> tuple[float, float]:
    """Return what is worth seeing: from where most are after a few rounds, to the best."""
    early = [100 * run.accuracy[min(2, len(run.accuracy) - 1)] for runs in methods.values() for run in runs]
    best = max(100 * max(run.accuracy) for runs in methods.values() for run in runs)
    return float(np.quantile(early, 0.1)), best + 1.5


def _course(axes: Axes, runs: Sequence[Curve], name: str, hue: str, line: object) -> None:
    rounds = min(len(run.accuracy) for run in runs)
    at = range(1, rounds + 1)
    values = [[100 * run.accuracy[number] for run in runs] for number in range(rounds)]
    means = [float(np.mean(each)) for each in values]
    halves = [half_width(each) or 0.0 for each in values]
    axes.plot(at, means, color=hue, linestyle=line, linewidth=1.3, label=name)
    axes.fill_between(at, np.subtract(means, halves), np.add(means, halves), color=hue, alpha=0.1, linewidth=0)


def final_figure(found: _Found) -> Figure:
    """Draw a point for each seed and a bar for their mean, a panel for each case."""
    names = [method.name for method in METHODS]
    figure = Figure(figsize=(7.2, 0.9 + 0.24 * len(names)), layout="constrained")
    panels = figure.subplots(1, len(found), sharey=True, squeeze=False)[0]
    for axes, (case, methods) in zip(panels, found.items(), strict=True):
        for place, name in enumerate(names):
            finals = [100 * run.final for run in methods[name]]
            hue = _BLACK if name == _BASELINE else HUES[0]
            axes.plot(finals, [place] * len(finals), "o", color=hue, alpha=0.4, markersize=3.5, markeredgewidth=0)
            axes.plot([float(np.mean(finals))], [place], "|", color=hue, markersize=11, markeredgewidth=2)
        axes.axvline(float(np.mean([100 * run.final for run in methods[_BASELINE]])), color=_BLACK, linewidth=0.6)
        axes.set_title(case.title.replace(": ", ":\n"), loc="left", fontsize=8)
        axes.set_xlabel("accuracy, %")
        axes.grid(axis="x")
    panels[0].set_yticks(range(len(names)), names)
    panels[0].invert_yaxis()
    return figure
