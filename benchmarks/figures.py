"""How a benchmark prints: words for people on stderr, one JSON line per figure on stdout."""

import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version

from processes import Memory, Use

SYNCS = 21
BLOCK = bytes(4096)


def say(text: str) -> None:
    """Prints a line for people."""
    print(text, file=sys.stderr, flush=True)


def figure(
    bench: str, case: str, unit: str, values: Sequence[float], use: Use | None, **extra: object
) -> dict[str, object]:
    """Return a figure: the median of the values, their spread, what was used, and what else is known of the run.

    Args:
        bench: Name of the benchmark.
        case: What was measured.
        unit: Of the values.
        values: One for each run or round.
        use: CPU seconds and memory; None for a value that no time belongs to, as a size.
        extra: Further fields.
    """
    return {
        "bench": bench,
        "case": case,
        "value": round(statistics.median(values), 6),
        "unit": unit,
        "runs": len(values),
        "spread": [round(min(values), 6), round(max(values), 6)],
        **extra,
        **(asdict(use) if use is not None else {}),
        "fsync_ms": fsync_ms(),
        "versions": versions(),
    }


def beside(values: Sequence[float], floors: Sequence[float], prefix: str = "") -> dict[str, object]:
    """Return the fields of a floor that was measured in turn with the values: its median, and the ratios pair by pair.

    Args:
        values: What was measured.
        floors: The floor beside each.
        prefix: Of the fields' names, for a second floor.
    """
    ratios = [value / floor for value, floor in zip(values, floors, strict=True)]
    return {
        f"{prefix}floor": round(statistics.median(floors), 6),
        f"{prefix}ratio": round(statistics.median(ratios), 3),
        f"{prefix}ratio_spread": [round(min(ratios), 3), round(max(ratios), 3)],
    }


def use_of(cpu_s: float, memory: Memory) -> Use:
    """Return what one process used, or by how much its memory grew; it stands for all of its side."""
    anonymous, resident, proportional = (
        {"process": round(value, 1)} for value in (memory.anonymous, memory.resident, memory.proportional)
    )
    return Use(round(cpu_s, 4), anonymous, resident, proportional)


def fsync_ms() -> float:
    """Return how long the disk of temporary files takes just now to have 4 KiB: the median of some writes."""
    times = []
    with tempfile.NamedTemporaryFile(prefix="fx-bench-") as file:
        for _ in range(SYNCS):
            start = time.perf_counter()
            file.write(BLOCK)
            file.flush()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - start)
    return round(1000 * statistics.median(times), 3)


def versions() -> Mapping[str, str]:
    """What was measured with."""
    return {"python": platform.python_version(), **{name: version(name) for name in ("grpcio", "numpy", "openfl_like")}}


def emit(value: Mapping[str, object]) -> None:
    """Prints one figure as a JSON line."""
    print(json.dumps(value), flush=True)
