"""Checksums of rows: SQLite's own check finds broken pages, but not a changed letter in a text."""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

from sqlalchemy import BigInteger, Column, Connection, Table, select, update
from sqlalchemy.sql.elements import ColumnElement

from openfl_like.errors import DamagedError

CHECK = "checksum"


def checksum_column() -> "Column[int]":
    """The column; rows of a former version have none and are not checked."""
    return Column(CHECK, BigInteger, nullable=True)


def checksum(values: Iterable[object]) -> int:
    """Return the checksum of a row's values, in the order of its columns."""
    return zlib.crc32("\x1f".join(map(str, values)).encode())


def checked(table: str, key: object, row: Sequence[object]) -> None:
    """Compare a row with its checksum.

    Args:
        table: Its table.
        key: Which row.
        row: All columns, the checksum last.

    Raises:
        DamagedError: If it is another row than the one that was written.
    """
    values: tuple[object, ...] = tuple(row)
    if values[-1] is not None and checksum(values[:-1]) != values[-1]:
        raise DamagedError(f"the row {key} of '{table}' is not the one that was written")


def seal(connection: Connection, table: Table, which: ColumnElement[bool]) -> None:
    """Give changed rows their new checksum, within the transaction that has changed them."""
    keys = list(table.primary_key)
    for row in connection.execute(select(table).where(which)).all():
        found = row._mapping  # noqa: SLF001 (SQLAlchemy's public name for it)
        one = [column == found[column.name] for column in keys]
        connection.execute(update(table).where(*one).values({CHECK: checksum(tuple(row)[:-1])}))


def with_checksum(values: Mapping[str, object], table: Table) -> dict[str, object]:
    """Return the values of a new row with its checksum; every column must be there."""
    return {**values, CHECK: checksum([values[name] for name in _names(table)])}


@cache
def _names(table: Table) -> tuple[str, ...]:
    """The columns that a checksum is of, in their order."""
    return tuple(column.name for column in table.columns if column.name != CHECK)
