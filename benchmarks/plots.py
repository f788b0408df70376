"""The plots of the figures: blue is this platform, grey and black are floors, red limits; other hues other systems."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from openfl_like.drawing.style import STYLE

Line = Mapping[str, Any]
Lines = Sequence[Line]
OURS, FLOOR, SECOND_FLOOR, LIMIT = "#1f5fa8", "#8a8a8a", "#c4c4c4", "#c0392b"
PEERS = ("#e08214", "#4d9221", "#8e44ad", "#b8860b", "#16a085", "#d6604d", "#5d6d7e")


def _hues(peers: Lines) -> dict[str, str]:
    names = sorted({str(line["peer"]) for line in peers})
    return {name: PEERS[place % len(PEERS)] for place, name in enumerate(names)}


def _bars(axes: Axes, rows: Sequence[tuple[str, float, str]], form: str) -> None:
    """Draws horizontal bars, the first on top, each with its number behind it."""
    places = range(len(rows))
    axes.barh(places, [value for _, value, _ in rows], color=[hue for _, _, hue in rows], height=0.72)
    axes.set_yticks(places, [name for name, _, _ in rows])
    axes.invert_yaxis()
    axes.grid(axis="x")
    axes.tick_params(axis="y", length=0)
    for place, (_, value, _) in enumerate(rows):
        axes.annotate(f" {value:{form}}", (value, place), va="center", fontsize=8)
    axes.margins(x=0.14)


def _log_room(axes: Axes, values: Sequence[float]) -> None:
    axes.set_xscale("log")
    axes.set_xlim(min(values) / 2, max(values) * 2.2)


def transfer(ours: Lines, peers: Lines) -> Figure:
    """W1: seconds a round for each size, beside both floors."""
    hues = _hues(peers)
    cases = list(dict.fromkeys(str(line["case"]) for line in ours))
    figure = Figure(figsize=(7.2, 0.9 + 0.28 * (3 * len(cases) + len(peers)) + 0.45 * len(cases)), layout="constrained")
    counts = [3 + sum(peer["case"] == case for peer in peers) for case in cases]
    panels = figure.subplots(len(cases), 1, squeeze=False, height_ratios=counts)[:, 0]
    for axes, case in zip(panels, cases, strict=True):
        line = next(one for one in ours if one["case"] == case)
        rows = [
            ("TLS sockets (floor)", line["floor"], FLOOR),
            ("gRPC streams (floor)", line["grpc_floor"], SECOND_FLOOR),
            ("openfl_like", line["value"], OURS),
        ]
        others = [one for one in peers if one["case"] == case and one.get("s_per_round")]
        rows += [(str(one["peer"]), one["s_per_round"], hues[one["peer"]]) for one in others]
        _bars(axes, rows, ".3g")
        if others:
            _log_room(axes, [value for _, value, _ in rows])
        size, _, sites = case.rpartition(" x ")
        axes.set_title(f"{size} tensors, collaborators: {sites}", loc="left", fontsize=9, weight="bold")
    panels[-1].set_xlabel("seconds a round (down, through the worker, up, aggregated, published)")
    return figure


def _count(line: Mapping[str, Any]) -> int:
    return int(str(line["case"]).split(" x ")[0])


def round_overhead(ours: Lines, peers: Lines) -> Figure:
    """W2: milliseconds a round against the number of collaborators, on this machine as it is."""
    usual = [line for line in ours if "floor" in line]
    ours = [next(line for line in usual if _count(line) == count) for count in dict.fromkeys(map(_count, usual))]
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    counts = [_count(line) for line in ours]
    axes.plot(counts, [1000 * line["floor"] for line in ours], "s--", color=FLOOR, label="bare gRPC messages (floor)")
    axes.plot(counts, [1000 * line["value"] for line in ours], "o-", color=OURS, linewidth=2, label="openfl_like")
    low, high = ([1000 * line["spread"][end] for line in ours] for end in (0, 1))
    axes.fill_between(counts, low, high, color=OURS, alpha=0.15, linewidth=0)
    for peer, hue in _hues(peers).items():
        points = sorted((one["clients"], 1000 * one["s_per_round"]) for one in peers if one["peer"] == peer)
        axes.plot(*zip(*points, strict=True), "o-", color=hue, label=peer)
        counts += [count for count, _ in points]
    axes.set(xscale="log", yscale="log", xlabel="collaborators", ylabel="milliseconds a round")
    axes.set_xticks(sorted(set(counts)), [str(count) for count in sorted(set(counts))])
    axes.xaxis.set_minor_locator(mpl.ticker.NullLocator())
    axes.yaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axes.grid()
    axes.legend(fontsize=8)
    return figure


STAGES = {
    "experiment_queued": "checked and queued",
    "experiment_started": "Aggregator is up",
    "collaborator_joined": "first site joined",
    "assignment_sent": "assignment sent",
    "first_round": "first round of training is over",
}


def startup(ours: Lines, peers: Lines) -> Figure:
    """W4: what happens between submission and the end of the first round; of others, until the first task."""
    figure = Figure(figsize=(7.2, 1.5 + 0.42 * (len(ours) + len(peers))), layout="constrained")
    axes = figure.subplots()
    names = [f"openfl_like, {line['case']}" for line in ours]
    shades = mpl.colormaps["Blues"]
    for place, line in enumerate(ours):
        before = 0.0
        for number, stage in enumerate(STAGES):
            until = max(before, line["stages_s"].get(stage, before))
            axes.barh(place, until - before, left=before, height=0.6, color=shades(0.3 + 0.16 * number))
            before = until
        axes.plot([line["floor"]] * 2, [place - 0.4, place + 0.4], color="black", linewidth=1.5)
        axes.plot([line["limit"]] * 2, [place - 0.4, place + 0.4], color=LIMIT, linewidth=1.5)
        axes.annotate(f" {line['value']:.2f} s", (max(before, line["limit"]), place), va="center", fontsize=8)
    others = [one for one in peers if one.get("first_task_s")]
    for place, one in enumerate(others, len(ours)):
        names.append(f"{one['peer']}, first task")
        axes.barh(place, one["first_task_s"], height=0.6, color=_hues(peers)[one["peer"]])
        axes.annotate(f" {one['first_task_s']:.1f} s", (one["first_task_s"], place), va="center", fontsize=8)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.grid(axis="x")
    axes.margins(x=0.12)
    axes.set_xlim(left=0)
    axes.set_xlabel("seconds after submission")
    handles: list[Patch | Line2D] = [
        Patch(color=shades(0.3 + 0.16 * number), label=text) for number, text in enumerate(STAGES.values())
    ]
    handles += [
        Line2D([], [], color="black", label="bare import and first step (floor)"),
        Line2D([], [], color=LIMIT, label="limit"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8)
    return figure


def idle_envoys(memory: Lines, cpu: Lines) -> Figure:
    """W5: memory for each envoy and CPU time for all."""
    figure = Figure(figsize=(7.2, 2.2), layout="constrained")
    panels = figure.subplots(1, 2)
    for axes, line, unit, scale in (
        (panels[0], memory[-1], "kB of the Director for each envoy", 1),
        (panels[1], cpu[-1], f"% of one core, {cpu[-1]['case']} in all", 100),
    ):
        rows = [
            ("bare streams\n(floor)", line["floor"] * scale, FLOOR),
            ("openfl_like", line["value"] * scale, OURS),
        ]
        _bars(axes, rows, ".3g")
        axes.axvline(line["limit"] * scale, color=LIMIT, linewidth=1.5)
        axes.annotate("limit ", (line["limit"] * scale, -0.42), color=LIMIT, ha="right", va="bottom", fontsize=8)
        axes.set_xlabel(unit)
        axes.set_xlim(0, 1.15 * max(line["limit"] * scale, *(value for _, value, _ in rows)))
    return figure


def aggregation(ours: Lines, _peers: Lines) -> Figure:
    """W6: gigabytes of updates a second for each rule."""
    figure = Figure(figsize=(6.6, 0.9 + 0.4 * len(ours)), layout="constrained")
    axes = figure.subplots()
    _bars(axes, [(str(line["case"]).partition(",")[0], line["value"], OURS) for line in ours], ".2f")
    axes.axvline(ours[0]["floor"], color=FLOOR, linestyle="--", label="numpy adds the same bytes up (floor)")
    axes.axvline(ours[0]["copy_floor"], color="black", linestyle=":", label="numpy copies the same bytes (floor)")
    axes.set_xlabel(f"gigabytes of updates a second ({str(ours[0]['case']).partition(', ')[2]})")
    figure.legend(loc="outside lower center", ncols=2, fontsize=8)
    return figure


def compression(ours: Lines, _peers: Lines) -> Figure:
    """W7: how small an update gets, against what it takes to write and read it."""
    found: dict[str, dict[str, float]] = {}
    for line in ours:
        verb, _, name = str(line["case"]).partition(" ")
        found.setdefault(name, {})[verb] = line["value"]
    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    axes = figure.subplots()
    verbs = ("encode", "decode")
    found = {name: parts for name, parts in found.items() if {"size", *verbs} <= parts.keys()}
    taken: list[tuple[float, float]] = []
    for name, parts in sorted(found.items(), key=lambda item: -item[1]["size"]):
        x, y = 100 * parts["size"], sum(parts[verb] for verb in verbs)
        axes.plot(x, y, "o", color=FLOOR if name == "none" else OURS)
        near = sum(abs(math.log(x / u)) < 0.7 and abs(math.log(y / v)) < 0.15 for u, v in taken)
        axes.annotate(name, (x, y), xytext=(6, 3 - 10 * near), textcoords="offset points", fontsize=8)
        taken.append((x, y))
    axes.set(xscale="log", yscale="log", xlabel="size of the update, % of the model's")
    axes.set_ylabel(f"{' + '.join(verbs)}, seconds for 100 MB")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(mpl.ticker.FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_major_locator(mpl.ticker.LogLocator(subs=(1, 2, 5)))
        axis.set_minor_formatter(mpl.ticker.NullFormatter())
    axes.grid()
    axes.margins(x=0.25, y=0.15)
    return figure


DRAWN: Mapping[str, tuple[str, Callable[[Lines, Lines], Figure]]] = {
    "transfer": ("w1_transfer", transfer),
    "round_overhead": ("w2_round_overhead", round_overhead),
    "startup": ("w4_first_round", startup),
    "aggregation": ("w6_aggregation", aggregation),
    "compression": ("w7_compression", compression),
}


def draw_all(directory: Path, form: str, ours: Mapping[str, Lines], peers: Mapping[str, Lines]) -> dict[str, str]:
    """Draws what there are figures for; gives the name of each plot's file."""
    files = {}
    with mpl.rc_context(STYLE):
        figures = {name: draw(ours[of], peers[of]) for name, (of, draw) in DRAWN.items() if ours[of]}
        if ours["w5_idle_memory"] and ours["w5_idle_cpu"]:
            figures["idle_envoys"] = idle_envoys(ours["w5_idle_memory"], ours["w5_idle_cpu"])
        for name, figure in figures.items():
            files[name] = f"{name}.{form}"
            figure.savefig(directory / files[name], dpi=150, metadata={"Date": None} if form == "svg" else None)
    return files
