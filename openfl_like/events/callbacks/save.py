"""The metrics of an experiment as tables."""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, astuple, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from openfl_like.events.callbacks.base import ResultsFolder
from openfl_like.events.callbacks.tables import MetricDatabase, ParquetTable
from openfl_like.federation.announcements import Announced, RoundFinished, UpdateLost, UpdateReceived
from openfl_like.federation.history.metrics import MetricRecord, metric_records
from openfl_like.printable import harmless_cell

COLUMNS = tuple(item.name for item in fields(MetricRecord))
TableFormat = Literal["csv", "jsonl", "sqlite", "parquet"]


def csv_rows(rows: Sequence[Sequence[object]]) -> bytes:
    """Return rows as comma-separated values."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([[harmless_cell(cell) for cell in row] for row in rows])
    return text.getvalue().encode()


class FinishedMetrics:
    """Collects metrics until their round is finished: what was lost and came again counts once."""

    def __init__(self) -> None:
        self._open: list[Announced] = []

    def take(self, event: Announced) -> list[MetricRecord]:
        """Return the metrics of a round that finishes with an event, over all sites and of each; or nothing."""
        told = event.announcement
        if isinstance(told, UpdateReceived | UpdateLost):
            self._open.append(event)
        if not isinstance(told, RoundFinished):
            return []
        own = [item for item in metric_records(self._open, per_site=True) if item.round == told.round]
        self._open = [item for item in self._open if _round(item) > told.round]
        return [*metric_records([event]), *own]


def _round(event: Announced) -> int:
    told = event.announcement
    return told.round if isinstance(told, UpdateReceived | UpdateLost) else 0


@dataclass(kw_only=True, config=ConfigDict(extra="forbid"))
class Save:
    """Write the metrics of each finished round, over all sites and of each, a value a row.

    The columns are those of `MetricRecord`: round, site (empty: over all sites, weighted by samples), task, metric,
    value, samples. A file grows with every round; Parquet is complete, and there, when the experiment has ended.

    Attributes:
        formats: ``csv`` (metrics.csv), ``jsonl`` (metrics.jsonl), ``sqlite`` (metrics.db, table ``metrics``) and
            ``parquet`` (metrics.parquet; needs pyarrow where the Aggregator runs).
    """

    formats: Annotated[tuple[TableFormat, ...], Field(min_length=1)] = ("csv",)

    def __post_init__(self) -> None:
        """Begin with nothing."""
        self._metrics, self._rows = FinishedMetrics(), list[MetricRecord]()
        self._begun = False
        self._database, self._parquet = MetricDatabase(COLUMNS), ParquetTable(COLUMNS)

    def take(self, events: Sequence[Announced]) -> None:
        """Collect the metrics of rounds that have finished."""
        for event in events:
            self._rows += self._metrics.take(event)

    def write(self, folder: ResultsFolder) -> None:
        """Write what has come."""
        ways: Mapping[str, Callable[[ResultsFolder, list[MetricRecord]], None]] = {
            "csv": self._write_csv,
            "jsonl": _write_lines,
            "sqlite": lambda into, rows: self._database.add(into.directory / "metrics.db", _values(rows)),
            "parquet": self._write_parquet,
        }
        for name in dict.fromkeys(self.formats):
            ways[name](folder, self._rows)
        self._rows, self._begun = [], True

    def _write_csv(self, folder: ResultsFolder, rows: list[MetricRecord]) -> None:
        heading = [] if self._begun else [COLUMNS]
        folder.append("metrics.csv", csv_rows([*heading, *_values(rows)]))

    def _write_parquet(self, folder: ResultsFolder, rows: list[MetricRecord]) -> None:
        part: Path = folder.part("metrics.parquet")
        self._parquet.add(part, _values(rows))

    def finish(self, folder: ResultsFolder) -> None:
        """Complete the Parquet file, if there is one."""
        if "parquet" in self.formats:
            self._parquet.close()
            folder.place("metrics.parquet")


def _values(rows: Sequence[MetricRecord]) -> list[tuple[Any, ...]]:
    return [astuple(row) for row in rows]


def _write_lines(folder: ResultsFolder, rows: list[MetricRecord]) -> None:
    folder.append("metrics.jsonl", "".join(f"{json.dumps(asdict(row))}\n" for row in rows).encode())
