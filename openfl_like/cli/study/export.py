"""The rows of a study as tables for other programs: CSV always, Parquet where pyarrow is installed."""

from collections.abc import Mapping
from pathlib import Path

from openfl_like.cli.output.spreadsheet import write_csv
from openfl_like.errors import UsageError
from openfl_like.studies.results import StudyRunResult
from openfl_like.studies.rows import flat, rows_of_run
from openfl_like.studies.study import StudyDesign


def export(study: StudyDesign, results: Mapping[str, StudyRunResult], folder: Path) -> list[Path]:
    """Write ``rows.csv`` and, where pyarrow is installed, ``rows.parquet`` into a folder; return what was written.

    Raises:
        UsageError: If they cannot be written.
    """
    rows = [
        row
        for run in study.runs
        if (result := results.get(run.id)) is not None and result.state.settled
        for row in rows_of_run(study, run, result)
    ]
    columns, cells = flat(rows)
    written = [folder / "rows.csv"]
    try:
        with written[0].open("w", encoding="utf-8", newline="") as file:
            write_csv(file, columns, cells)
        if _write_parquet(folder / "rows.parquet", columns, cells):
            written.append(folder / "rows.parquet")
    except OSError as error:
        raise UsageError(f"the rows cannot be written: {error.strerror}", place=str(folder)) from error
    return written


def _write_parquet(path: Path, columns: list[str], rows: list[dict[str, str | int | float | None]]) -> bool:
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError:
        return False
    table = pyarrow.table({name: [row[name] for row in rows] for name in columns})
    parquet.write_table(table, path)
    return True
