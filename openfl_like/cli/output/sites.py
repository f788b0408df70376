"""What each made site has: as rows of a table, as JSON values, as a picture, and as shard files."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from openfl_like.data.made_sites import MadeSites
from openfl_like.drawing.style import HUES, STYLE
from openfl_like.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SHOWN_LABELS = 3
_FORMS = (".png", ".svg", ".pdf")
_FEW_SITES = 40
"""So many have their names below their columns."""
_SHORT_ROW = 10
"""So many names have room beside each other."""
_MANY_SITES = 150
"""Of more, columns would be too narrow to be told apart."""


@dataclass(frozen=True, slots=True)
class SiteFacts:
    """What one site has.

    Attributes:
        site: Its name.
        part: Which part of the data set it is, from 1.
        train: Samples that it trains on.
        held_out: Samples that are held out.
        labels: Label -> samples that it trains on; empty if they have none.
    """

    site: str
    part: int
    train: int
    held_out: int
    labels: Mapping[int, int]


def facts_of(made: MadeSites) -> list[SiteFacts]:
    """Return what each site has, by name."""
    return list(_facts(made))


def _facts(made: MadeSites) -> Iterator[SiteFacts]:
    found = made.distribution
    rows = {int(site): row for row, site in enumerate(found.sites)}
    for name, number in made.numbers.items():
        counts = found.counts[rows[number]].tolist()
        labels = dict(zip(found.labels, counts, strict=True)) if found.labels else {}
        yield SiteFacts(name, number + 1, sum(counts), int(found.held_out[rows[number]]), labels)


def rows_of(made: MadeSites) -> list[dict[str, object]]:
    """Return the rows of a table for 80 columns: how many samples, and which labels a site has most of."""
    return [
        {
            "site": one.site,
            "trains on": one.train,
            "held out": one.held_out,
            **({"labels": sum(count > 0 for count in one.labels.values()), "most": _most(one)} if one.labels else {}),
        }
        for one in _facts(made)
    ]


def _most(one: SiteFacts) -> str:
    ranked = sorted(((count, -label) for label, count in one.labels.items() if count), reverse=True)
    shown = ", ".join(f"{-label}: {100 * count / one.train:.0f} %" for count, label in ranked[:_SHOWN_LABELS])
    return f"{shown} …" if len(ranked) > _SHOWN_LABELS else shown


def write_shards(made: MadeSites, folder: Path) -> int:
    """Write the shard file of each site into a folder, and return how many there are.

    Raises:
        UsageError: If the folder has files of other sites, which a simulation would take for some of these, or cannot
            be written.
    """
    files = made.files(folder)
    others = sorted(path.name for path in folder.glob("*.y*ml") if path.stem not in files)
    if others:
        told = f"the folder has shard files of other sites, such as {others[0]}"
        raise UsageError(told, place=str(folder), cure="name another folder, or remove them")
    try:
        return len(list(files.values()))
    except OSError as error:
        told = f"the shard files cannot be written: {error.strerror}"
        raise UsageError(told, place=str(folder), cure="name another folder") from error


def draw_sites(made: MadeSites, path: Path) -> None:
    """Draw a column for each site: how many samples it trains on, of which labels.

    Raises:
        UsageError: If the file has another suffix, or matplotlib is not installed.
    """
    if path.suffix not in _FORMS:
        told = f"a picture is {', '.join(_FORMS[:-1])} or {_FORMS[-1]}, not '{path.suffix}'"
        raise UsageError(told, place=str(path), cure="name another file")
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        cure = "pip install matplotlib, or leave --picture out"
        raise UsageError("a picture needs the package 'matplotlib', which is not installed", cure=cure) from error
    with mpl.rc_context(STYLE):
        many = len(made.numbers) > _MANY_SITES
        figure = Figure(figsize=(7.2, 4.2 if many else 3.4), layout="constrained")
        (_shares if many else _columns)(figure, made)
        metadata = {"Date": None} if path.suffix == ".svg" else None
        figure.savefig(path, dpi=150, metadata=metadata)


def _columns(figure: "Figure", made: MadeSites) -> None:
    import numpy as np

    axes, sites = figure.subplots(), facts_of(made)
    places = np.arange(1, len(sites) + 1)
    labels = made.distribution.labels
    counts = np.array([list(one.labels.values()) or [one.train] for one in sites])
    floor = np.zeros(len(sites))
    hues = _hues(len(labels) or 1)
    for number, column in enumerate(counts.T):
        name = str(labels[number]) if labels else None
        there = column > 0
        if there.any():
            axes.bar(places[there], column[there], 0.86, floor[there], color=hues[number], label=name, linewidth=0)
        floor += column
    _name_sites(axes, [one.site for one in sites])
    axes.margins(y=0.03)
    axes.set_ylabel("training samples")
    axes.grid(axis="y")
    axes.set_title(_heading(made), loc="left", fontsize=9)
    if labels:
        _tell_labels(figure, axes, labels)


def _shares(figure: "Figure", made: MadeSites) -> None:
    """Draw many sites beside each other: their sizes, and below them the parts of the labels."""
    import numpy as np

    sites, labels = facts_of(made), made.distribution.labels
    counts = np.array([list(one.labels.values()) or [one.train] for one in sites])
    sizes = counts.sum(axis=1)
    order = np.lexsort((-counts.max(axis=1) / sizes, counts.argmax(axis=1))) if labels else np.argsort(-sizes)
    panels = figure.subplots(
        2 if labels else 1, 1, sharex=True, squeeze=False, height_ratios=[1, 2][: 1 + bool(labels)]
    )
    edges = np.arange(len(sites) + 1) + 0.5
    panels[0, 0].stairs(sizes[order], edges, fill=True, color=HUES[0])
    panels[0, 0].set(ylabel="training samples", xlim=(edges[0], edges[-1]))
    panels[0, 0].grid(axis="y")
    panels[0, 0].set_title(_heading(made), loc="left", fontsize=9)
    panels[-1, 0].set_xlabel(f"{len(sites)} sites, by {'their most frequent label' if labels else 'size'}")
    if labels:
        mixes = (counts / sizes[:, None])[order].T
        extent = (edges[0], edges[-1], len(labels) - 0.5, -0.5)
        shown = panels[1, 0].imshow(
            mixes, aspect="auto", cmap="Blues", vmin=0, vmax=1, extent=extent, interpolation="nearest"
        )
        panels[1, 0].set_ylabel("label")
        if len(labels) <= _FEW_SITES // 2:
            panels[1, 0].set_yticks(range(len(labels)), [str(label) for label in labels])
        figure.colorbar(shown, ax=panels[1, 0], label="part of the site's samples")


def _heading(made: MadeSites) -> str:
    alike = made.distribution.iidness
    return made.title if alike is None else f"{made.title}, iid-ness {alike:.2f}"


def _hues(number: int) -> list[object]:
    import matplotlib as mpl

    if number <= len(HUES):
        return list(HUES)
    shades = mpl.colormaps["viridis"]
    return [shades(place / (number - 1)) for place in range(number)]


def _name_sites(axes: "Axes", names: list[str]) -> None:
    axes.set_xlim(0.4, len(names) + 0.6)
    if len(names) <= _FEW_SITES:
        axes.set_xticks(range(1, len(names) + 1), names, rotation=0 if len(names) <= _SHORT_ROW else 90)
        axes.tick_params(axis="x", length=0)
    else:
        axes.set_xlabel(f"{len(names)} sites")
        axes.set_xticks([])


def _tell_labels(figure: "Figure", axes: "Axes", labels: tuple[int, ...]) -> None:
    import matplotlib as mpl

    if len(labels) <= len(HUES):
        figure.legend(loc="outside right upper", title="label", reverse=True)
        return
    norm = mpl.colors.Normalize(labels[0], labels[-1])
    figure.colorbar(mpl.cm.ScalarMappable(norm, "viridis"), ax=axes, label="label")
