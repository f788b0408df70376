"""Turns recorded figures into the tables of docs/benchmarks/README.md and the plots beside it.

`results.jsonl` holds our figures as `suite.py` writes them; `peers.jsonl`, if it is there, those of other systems, with
the keys peer, version, workload (W1, W1b, W2, W3, W4), clients, s_per_round, cpu_s_per_round, server_rss_mb,
client_rss_mb, first_task_s; of W3 also per_round, rounds, trainings_per_s.

Example: python benchmarks/report.py --directory docs/benchmarks
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plots import draw_all

Line = Mapping[str, Any]
BEGIN, END = "<!-- figures: written by benchmarks/report.py -->", "<!-- end of figures -->"
NAMES = {
    "w1_transfer": "W1: moving a model",
    "w1_memory": "W1: memory of an Aggregator",
    "w2_round_overhead": "W2: a round without training",
    "w3_simulation": "W3: a training in a simulation",
    "w4_first_round": "W4: from submission until the first round of training is over",
    "w4_help": "W4: the command line",
    "w5_idle_memory": "W5: memory of an idle envoy",
    "w5_idle_cpu": "W5: CPU time of all idle envoys",
    "w5_connect": "W5: until all envoys are connected",
    "w6_aggregation": "W6: combining updates",
    "w7_compression": "W7: compressing updates",
    "w8_director_ready": "W8: until a killed Director listens again",
    "w8_envoys_back": "W8: then until its envoys are back",
    "w8_herd": "W8: how many of them come at once",
    "w9_callbacks": "W9: a round beside a callback",
}
PLOTS = {
    "w1_transfer": "transfer",
    "w2_round_overhead": "round_overhead",
    "w4_first_round": "startup",
    "w5_idle_memory": "idle_envoys",
    "w6_aggregation": "aggregation",
    "w7_compression": "compression",
}
PEER_WORKLOADS = {
    "W1": "w1_transfer",
    "W1b": "w1_transfer",
    "W2": "w2_round_overhead",
    "W3": "w3_simulation",
    "W4": "w4_first_round",
}
PEER_SIZES = {"W1": "100MB in 10", "W1b": "1000MB in 10"}


@dataclass(frozen=True, slots=True)
class Figures:
    """Everything there is to show.

    Attributes:
        ours: Our lines, in the order they were measured.
        peers: Other systems' lines.
        machine: What ours were measured on.
    """

    ours: Sequence[Line]
    peers: Sequence[Line]
    machine: Line

    def of(self, bench: str) -> list[Line]:
        """Our lines of one benchmark."""
        return [line for line in self.ours if line["bench"] == bench]

    def peers_of(self, bench: str) -> list[Line]:
        """Other systems' lines of one benchmark, with the case they compare to."""
        found = [line for line in self.peers if PEER_WORKLOADS.get(line["workload"]) == bench and not line.get("note")]
        return [{**line, "case": peer_case(line)} for line in found]


def peer_case(line: Line) -> str:
    """Names the case of a peer's line as ours names it."""
    if line["workload"] in PEER_SIZES:
        return f"{PEER_SIZES[line['workload']]} x {line['clients']}"
    if line["workload"] == "W3":
        how = f", {line['case']}" if "case" in line else ""
        return f"{line['per_round']} of {line['clients']}, {line['rounds']} rounds{how}"
    return f"{line['clients']} x 1000" if line["workload"] == "W2" else str(line.get("case", "first task"))


def load(directory: Path) -> Figures:
    """Reads the figures of a directory."""
    lines = _lines(directory / "results.jsonl")
    machines = [line["machine"] for line in lines if "machine" in line]
    peers = directory / "peers.jsonl"
    return Figures(
        [line for line in lines if "bench" in line],
        _lines(peers) if peers.exists() else [],
        machines[-1] if machines else {},
    )


def _lines(path: Path) -> list[Line]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


# ---- tables -------------------------------------------------------------------------------------------------------


def number(value: object) -> str:
    """Writes a number with three digits that mean something."""
    if not isinstance(value, int | float):
        return "" if value is None else str(value)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _spread(line: Line) -> str:
    low, high = line["spread"]
    return f"{number(low)} to {number(high)}" if line["runs"] > 1 else ""


def _ratio(line: Line) -> str:
    if "ratio" not in line:
        return ""
    low, high = line.get("ratio_spread", (line["ratio"], line["ratio"]))
    return number(line["ratio"]) + (f" ({number(low)} to {number(high)})" if line["runs"] > 1 else "")


def _memory(line: Line, field: str) -> str:
    peaks = line.get(field, {})
    if isinstance(peaks, Mapping):
        return ", ".join(f"{name} {value:.0f}".removeprefix("process ") for name, value in peaks.items())
    return number(peaks)


COLUMNS: Mapping[str, Callable[[Line], str]] = {
    "case": lambda line: str(line["case"]),
    "median": lambda line: f"{number(line['value'])} {line['unit']}".strip(),
    "range": _spread,
    "trainings/s": lambda line: number(1 / line["value"]) if line["unit"] == "s/training" else "",
    "floor": lambda line: number(line.get("floor")),
    "ratio": _ratio,
    "second floor": lambda line: number(line.get("grpc_floor", line.get("copy_floor", line.get("import_floor")))),
    "NumPy": lambda line: number(line.get("naive_ratio")),
    "moved": lambda line: f"{line['moved_share']:.1%}" if "moved_share" in line else "",
    "limit": lambda line: number(line.get("limit")),
    "CPU s": lambda line: number(line.get("cpu_s")),
    "anonymous, MB": lambda line: _memory(line, "anonymous_mb"),
    "PSS, MB": lambda line: _memory(line, "pss_mb"),
    "RSS, MB": lambda line: _memory(line, "rss_mb"),
    "fsync, ms": lambda line: number(line.get("fsync_ms")),
}
PEER_COLUMNS: Mapping[str, Callable[[Line], str]] = {
    "system": lambda line: f"{line['peer']} {line['version']}",
    "case": lambda line: line["case"],
    "s/round": lambda line: number(line.get("s_per_round")),
    "trainings/s": lambda line: number(line.get("trainings_per_s")),
    "CPU s/round": lambda line: number(line.get("cpu_s_per_round")),
    "server, RSS MB": lambda line: number(line.get("server_rss_mb")),
    "client, RSS MB": lambda line: number(line.get("client_rss_mb")),
    "first task, s": lambda line: number(line.get("first_task_s")),
}


def table(lines: Sequence[Line], columns: Mapping[str, Callable[[Line], str]]) -> str:
    """Writes lines as a Markdown table; a column in which nothing would stand is left out."""
    cells = {name: [cell(line) for line in lines] for name, cell in columns.items()}
    kept = {name: column for name, column in cells.items() if any(column)}
    rows = [list(kept), ["---"] * len(kept), *zip(*kept.values(), strict=True)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def section(bench: str, figures: Figures, plots: Mapping[str, str]) -> str:
    """Writes what there is of one benchmark: table, other systems, plot; empty when there is nothing."""
    ours, peers = figures.of(bench), figures.peers_of(bench)
    if not ours:
        return ""
    parts = [f"### {NAMES[bench]}", table(ours, COLUMNS)]
    if peers:
        parts += ["Other systems, on the same machine:", table(peers, PEER_COLUMNS)]
    plot = PLOTS.get(bench, "")
    if plot in plots:
        parts.append(f"![{NAMES[bench]}]({plots[plot]})")
    return "\n\n".join(parts)


def hardware(figures: Figures) -> str:
    """Says what was measured with."""
    machine, versions = figures.machine, figures.ours[0]["versions"] if figures.ours else {}
    where = (
        f"{machine['cores']} cores of {machine['cpu']} ({machine['family']}), {machine['memory_gb']} GB of memory; "
        if machine
        else ""
    )
    return f"Measured on {where}" + ", ".join(f"{name} {version}" for name, version in versions.items()) + "."


def put(text: str, generated: str) -> str:
    """Puts the generated part between its markers.

    Raises:
        SystemExit: If the document has no markers.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"the document lacks '{BEGIN}' or '{END}'")
    return f"{before}{BEGIN}\n\n{generated}\n\n{END}{after}"


def main() -> None:
    """Writes tables and plots."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--directory", type=Path, default=Path(__file__).parents[1] / "docs" / "benchmarks")
    parser.add_argument("--format", choices=["svg", "png"], default="svg")
    arguments = parser.parse_args()
    figures = load(arguments.directory)
    benches = (*PLOTS, "w5_idle_cpu")
    plots = draw_all(
        arguments.directory,
        arguments.format,
        {bench: figures.of(bench) for bench in benches},
        {bench: figures.peers_of(bench) for bench in benches},
    )
    sections = [section(bench, figures, plots) for bench in NAMES]
    document = arguments.directory / "README.md"
    text = document.read_text(encoding="utf-8") if document.exists() else f"{BEGIN}\n{END}\n"
    parts = [hardware(figures), *(part for part in sections if part)]
    document.write_text(put(text, "\n\n".join(parts)), encoding="utf-8")


if __name__ == "__main__":
    main()
