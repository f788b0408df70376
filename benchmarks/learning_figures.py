"""The kept figures of docs/learning.md: a line for each run, and what is counted from them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from learning_cases import METHODS, Case, Stage

LAST = 5
"""Rounds over which the final accuracy is taken: with some of the sites in a round, a single one goes up and down."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A run.

    Attributes:
        case: Name of the federation.
        stage: What it was for.
        method: What was run.
        settings: Name of its settings.
        seed: Its seed: of the plan, or of the split into trained on and held out.
        accuracy: After each round, of the model that the sites get, on what all sites hold out.
        own: After each round, of what each site of the round has trained, on what it holds out itself.
    """

    case: str
    stage: Stage
    method: str
    settings: str
    seed: int
    accuracy: tuple[float, ...]
    own: tuple[float, ...]

    @property
    def final(self) -> float:
        """Mean over the last rounds."""
        return _mean(self.accuracy[-LAST:])

    @property
    def final_own(self) -> float:
        """The same of what sites have trained."""
        return _mean(self.own[-LAST:])

    def rounds_to(self, target: float) -> int | None:
        """Return the first round whose model is as good; None: there is none."""
        return next((number for number, value in enumerate(self.accuracy, 1) if value >= target), None)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else 0.0


def curves_of(
    case: Case, stage: Stage, rows: Path, named: Mapping[str, tuple[str, str]], seeds: Sequence[int]
) -> list[Curve]:
    """Read the rows of a study.

    Args:
        case: The federation.
        stage: What the study was for.
        rows: Its ``rows.jsonl``.
        named: Level of the study -> method and settings.
        seeds: With which each of them was run.

    Raises:
        SystemExit: If one of the runs is missing, or has not come to its end.
    """
    runs: dict[tuple[str, int], list[Mapping[str, object]]] = {}
    for line in rows.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        seed = row["seed"] if case.seeded == "seed" else int(row["axis.split"])
        if row["state"] == "finished":
            runs.setdefault((row["axis.method"], seed), []).append(row)
    missing = [f"{level}, seed {seed}" for level in named for seed in seeds if (level, seed) not in runs]
    if missing:
        raise SystemExit(f"not finished in {rows.parent}: {'; '.join(missing)} (fx study show {rows.parent})")
    return [_curve(case, stage, named[level], seed, runs[level, seed]) for level in named for seed in seeds]


def _curve(case: Case, stage: Stage, named: tuple[str, str], seed: int, rows: Sequence[Mapping[str, object]]) -> Curve:
    def course(metric: str) -> tuple[float, ...]:
        return tuple(round(float(str(row.get(metric, 0.0))), 4) for row in rows)

    return Curve(case.name, stage, *named, seed, course("metric.accuracy"), course("metric.validate_own.accuracy"))


def chosen(curves: Iterable[Curve]) -> dict[str, str]:
    """Return method -> the settings with the best final accuracy over the seeds of tuning; of equals the first."""
    finals: dict[tuple[str, str], list[float]] = {}
    for curve in curves:
        finals.setdefault((curve.method, curve.settings), []).append(curve.final)
    best = {}
    for method in METHODS:
        means = {settings: _mean(finals.get((method.name, settings), [])) for settings in method.settings}
        best[method.name] = max(means, key=lambda settings: means[settings])
    return best


def write_curves(path: Path, curves: Iterable[Curve]) -> None:
    """Keep runs; of those that settings were chosen by, the last rounds only."""
    lines = []
    for curve in curves:
        tail = -LAST if curve.stage is Stage.TUNING else 0
        lines.append(json.dumps({**asdict(curve), "accuracy": curve.accuracy[tail:], "own": curve.own[tail:]}))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_curves(path: Path) -> list[Curve]:
    """Return what was kept."""
    return [_read(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def _read(line: Mapping[str, object]) -> Curve:
    fields = {
        **line,
        "stage": Stage(str(line["stage"])),
        "accuracy": _tuple(line, "accuracy"),
        "own": _tuple(line, "own"),
    }
    return Curve(**fields)  # type: ignore[arg-type]  # the fields of a line that write_curves has written


def _tuple(line: Mapping[str, object], name: str) -> tuple[float, ...]:
    values = line[name]
    return tuple(values) if isinstance(values, list) else ()
