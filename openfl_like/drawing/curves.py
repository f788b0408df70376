"""Metrics by round as curves."""

from collections.abc import Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from openfl_like.drawing.figure import DrawnFigure
from openfl_like.drawing.style import HUES
from openfl_like.federation.history.metrics import MetricRecord

MOST_METRICS = 6
MOST_DRAWN = 1e30
"""Values beyond it, which a site may tell, have no place on an axis."""
MOST_SITES = 10
"""So many sites are told apart in a figure; the curves of more are grey."""
WIDTH = 7.2
MOST_BARS = 60
"""So many sites have a bar each in the comparison at the end; of more, the lowest and the highest have."""
_GREY = "#b5b5b5"


def metric_names(records: Iterable[MetricRecord]) -> list[str]:
    """Return the names of metrics: those of evaluation first."""
    names = dict.fromkeys(record.metric for record in records)
    return sorted(names, key=lambda name: ("." in name, name))


def points_of(records: Iterable[MetricRecord], name: str, site: str = "") -> tuple[list[int], list[float]]:
    """Return the rounds in which a metric was measured, and its values."""
    found = [
        (one.round, one.value)
        for one in records
        if one.metric == name and one.site == site and abs(one.value) <= MOST_DRAWN
    ]
    return [number for number, _ in found], [value for _, value in found]


def panels_of(names: Sequence[str], legend: int) -> tuple[Figure, dict[str, Axes]]:
    """Return a figure with a panel for each metric, and room for a legend of so many lines."""
    columns = min(2, len(names))
    rows = -(-len(names) // columns)
    above = 0.3 + 0.2 * -(-legend // 3) if legend else 0.2
    figure = Figure(figsize=(WIDTH if columns > 1 else 4.8, above + 2.2 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, squeeze=False).ravel()
    panels = dict(zip(names, grid, strict=False))
    for name, axes in panels.items():
        axes.set_title(name, loc="left", fontsize=9, parse_math=False)
        axes.grid()
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, steps=[1, 2, 5, 10]))
        axes.tick_params(labelbottom=True)
    for axes in grid[len(names) :]:
        axes.set_axis_off()
    for axes in list(panels.values())[-columns:]:
        axes.set_xlabel("round")
    return figure, panels


def place_legend(figure: Figure, axes: Axes) -> None:
    """Put what an axes' lines are called above a figure."""
    handles, names = axes.get_legend_handles_labels()
    if handles:
        columns = max(1, min(4, 90 // max(map(len, names))))
        legend = figure.legend(handles, names, loc="outside upper center", ncols=columns)
        for text in legend.get_texts():
            text.set_parse_math(False)


def metric_curves(metrics: Sequence[MetricRecord], reported: Sequence[MetricRecord]) -> DrawnFigure | None:
    """Draw every metric by round, over all sites and of each; nothing if there is none."""
    names = metric_names(metrics)[:MOST_METRICS]
    if not names:
        return None
    sites = sorted({record.site for record in reported})
    told_apart = len(sites) <= MOST_SITES
    apart = {"train", *(name.rpartition(".")[0] for name in metric_names(metrics))}
    figure, panels = panels_of(names, legend=1 + (len(sites) if told_apart else 1))
    for name, axes in panels.items():
        task, _, metric = name.rpartition(".")
        own = [one for one in reported if one.metric == metric and (one.task == task or not task)]
        own = [one for one in own if task or one.task not in apart]
        for place, site in enumerate(sites):
            at, values = points_of(own, metric, site)
            hue = HUES[place] if told_apart else _GREY
            label = site if told_apart else "a site" if not place else None
            axes.plot(at, values, color=hue, linewidth=0.8, alpha=0.9, label=label, zorder=2)
        axes.plot(*points_of(metrics, name), color="#111111", linewidth=1.8, label="all sites", zorder=3)
    place_legend(figure, next(iter(panels.values())))
    left = len(metric_names(metrics)) - len(names)
    more = f" {left} more metrics are not shown." if left else ""
    caption = f"Metrics after each round: over all sites, weighted by their samples, and of each site.{more}"
    return DrawnFigure("metrics", caption, figure)


def final_values(reported: Sequence[MetricRecord]) -> DrawnFigure | None:
    """Draw the last value of each metric at each site, the lowest first; nothing if there is none."""
    last: dict[tuple[str, str], dict[str, MetricRecord]] = {}
    for one in reported:
        last.setdefault((one.task, one.metric), {})[one.site] = one
    shown = sorted(last, key=lambda key: (key[0] == "train", key))[:MOST_METRICS]
    if not shown:
        return None
    titles = {key: f"{key[1]} ({key[0]})" for key in shown}
    figure, panels = panels_of(list(titles.values()), legend=0)
    for key, title in titles.items():
        axes = panels[title]
        values = sorted(last[key].values(), key=lambda one: one.value)
        if len(values) > MOST_BARS:
            values = [*values[: MOST_BARS // 2], *values[-MOST_BARS // 2 :]]
        axes.bar(range(len(values)), [one.value for one in values], color=HUES[0])
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        axes.set_xlabel("sites, from the lowest value to the highest")
        if len(values) <= MOST_SITES:
            axes.set_xticks(range(len(values)), [one.site for one in values])
            axes.set_xlabel("site")
        axes.grid(visible=False, axis="x")
    return DrawnFigure("final", "The last value of each metric at each site.", figure)
