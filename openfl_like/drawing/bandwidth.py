"""The bytes of updates by round, and how fast they came."""

from collections import Counter
from collections.abc import Sequence

from openfl_like.drawing.curves import MOST_SITES, panels_of, place_legend
from openfl_like.drawing.figure import DrawnFigure
from openfl_like.drawing.style import HUES
from openfl_like.federation.history.traffic import UpdateTransfer

_GREY = "#b5b5b5"
_UNITS = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "bytes"))


def bandwidth_curves(transfers: Sequence[UpdateTransfer]) -> DrawnFigure:
    """Draw the bytes of all updates of each round, and the rate of each site's; a logarithmic axis where they differ.

    Args:
        transfers: At least one.
    """
    total = Counter[int]()
    for one in transfers:
        total[one.round] += one.size_bytes
    rates = [one for one in transfers if one.bytes_per_s]
    sites = sorted({one.site for one in rates})
    size, unit = _unit(max(total.values()))
    fastest, per = _unit(max((one.bytes_per_s or 0.0 for one in rates), default=1.0))
    titles = (f"updates of a round ({unit})", f"rate of each update ({per}/s)")
    told_apart = len(sites) <= MOST_SITES
    figure, panels = panels_of(titles, legend=len(sites) if told_apart else 1)
    rounds = sorted(total)
    panels[titles[0]].bar(rounds, [total[number] / size for number in rounds], color=HUES[0], width=0.8)
    axes = panels[titles[1]]
    for place, site in enumerate(sites):
        own = [one for one in rates if one.site == site]
        label = site if told_apart else "a site" if not place else None
        values = [(one.bytes_per_s or 0.0) / fastest for one in own]
        hue = HUES[place] if told_apart else _GREY
        axes.plot([one.round for one in own], values, ".-", color=hue, linewidth=0.8, markersize=4, label=label)
    seen = [one.bytes_per_s or 0.0 for one in rates]
    if seen and max(seen) > 20 * min(seen):
        axes.set_yscale("log")
    elif seen:
        axes.set_ylim(bottom=0)
    place_legend(figure, axes)
    return DrawnFigure("bandwidth", "The bytes of all updates of each round, and how fast each site's came.", figure)


def _unit(most: float) -> tuple[int, str]:
    return next((size, name) for size, name in _UNITS if most >= size or size == 1)
