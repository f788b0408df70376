"""Tables of metrics that other programs read: a SQLite database, and a Parquet file."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

TABLE = "metrics"
_TYPES = {"round": "INTEGER", "samples": "INTEGER", "value": "REAL"}


class MetricDatabase:
    """A database with one table, made anew by each process.

    Args:
        columns: Of the table.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = columns
        self._begun = False

    def add(self, path: Path, rows: Sequence[tuple[Any, ...]]) -> None:
        """Add rows."""
        if not self._begun:
            path.unlink(missing_ok=True)
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("PRAGMA synchronous = OFF")  # nobody waits for a disk: it would be made again
            if not self._begun:
                columns = ", ".join(f"{name} {_TYPES.get(name, 'TEXT')} NOT NULL" for name in self._columns)
                connection.execute(f"CREATE TABLE {TABLE} ({columns})")
            places = ", ".join("?" for _ in self._columns)
            connection.executemany(f"INSERT INTO {TABLE} VALUES ({places})", rows)  # noqa: S608 (names are ours)
        self._begun = True


class ParquetTable:
    """A Parquet file, of which each `add` makes a group of rows; complete when it is closed.

    Args:
        columns: Of the table.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = columns
        self._writer: Any = None

    def add(self, path: Path, rows: Sequence[tuple[Any, ...]]) -> None:
        """Add rows; raises ModuleNotFoundError where pyarrow is not installed."""
        import pyarrow as pa  # noqa: PLC0415 (an extra)
        import pyarrow.parquet as pq  # noqa: PLC0415 (as above)

        types = {"round": pa.int64(), "samples": pa.int64(), "value": pa.float64()}
        schema = pa.schema([(name, types.get(name, pa.string())) for name in self._columns])
        if self._writer is None:
            self._writer = pq.ParquetWriter(path, schema)
        if rows:
            columns = dict(zip(self._columns, zip(*rows, strict=True), strict=True))
            self._writer.write_table(pa.table({name: list(values) for name, values in columns.items()}, schema=schema))

    def close(self) -> None:
        """Complete the file; after that another one begins."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
