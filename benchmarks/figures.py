"""How a benchmark prints: words for people on stderr, one JSON line per figure on stdout."""

import json
import platform
import statistics
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version


def say(text: str) -> None:
    """Prints a line for people."""
    print(text, file=sys.stderr, flush=True)


def figure(bench: str, case: str, unit: str, values: Sequence[float], **extra: object) -> dict[str, object]:
    """Gives a figure: the median of the values, their spread, and what else is known of the run."""
    return {
        "bench": bench,
        "case": case,
        "value": round(statistics.median(values), 6),
        "unit": unit,
        "runs": len(values),
        "spread": [round(min(values), 6), round(max(values), 6)],
        **extra,
        "versions": versions(),
    }


def versions() -> Mapping[str, str]:
    """What was measured with."""
    return {"python": platform.python_version(), **{name: version(name) for name in ("grpcio", "numpy", "openfl_like")}}


def emit(value: Mapping[str, object]) -> None:
    """Prints one figure as a JSON line."""
    print(json.dumps(value), flush=True)
