"""A row for each run and round, for programs: the same values as JSON lines, CSV and Parquet."""

import json
from collections.abc import Iterator, Mapping, Sequence

from openfl_like.studies.results import StudyRunResult
from openfl_like.studies.study import StudyDesign, StudyRun

Cell = str | int | float | None


def rows_of_run(study: StudyDesign, run: StudyRun, result: StudyRunResult) -> Iterator[dict[str, Cell | list[str]]]:
    """Yield the rows of a run, one for each finished round."""
    configuration = study.configuration(run)
    for row in result.rows:
        spent = {"hours": row.hours, "joules": row.joules}
        yield {
            "run": run.id,
            "configuration": run.configuration,
            "repetition": run.repetition,
            "seed": run.seed,
            **{f"axis.{name}": level for name, level in configuration.levels.items()},
            "state": result.state.value,
            "round": row.round,
            **{f"metric.{name}": value for name, value in sorted(row.metrics.items())},
            **{name: value for name, value in spent.items() if value is not None},
            "selected": list(row.selected),
            "contributors": list(row.contributors),
            "model": row.digest,
        }


def line_of(row: Mapping[str, Cell | list[str]]) -> str:
    """Return a row as a line of JSON."""
    return json.dumps(row, allow_nan=False) + "\n"


def flat(rows: Sequence[Mapping[str, Cell | list[str]]]) -> tuple[list[str], list[dict[str, Cell]]]:
    """Return the columns of a table, and its rows with one value in each cell: names of sites stand beside each other.

    Columns of metrics that not every run has stand beside the others of their kind.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    before = [name for name in names if not name.startswith("metric.") and name not in _LAST]
    metrics = sorted(name for name in names if name.startswith("metric."))
    columns = [*before, *metrics, *(name for name in _LAST if name in names)]
    return columns, [{name: _cell(row.get(name)) for name in columns} for row in rows]


_LAST = ("hours", "joules", "selected", "contributors", "model")


def _cell(value: Cell | list[str]) -> Cell:
    return " ".join(value) if isinstance(value, list) else value
