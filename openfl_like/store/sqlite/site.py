"""`site.db`: what a site has taken part in."""

import json
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Float,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    delete,
    insert,
    select,
    true,
    update,
)  # fmt: skip

from openfl_like.federation.history.site import PartEnd, PerformedTasks, SitePart
from openfl_like.federation.task import Phase
from openfl_like.store.site_files import SiteFiles
from openfl_like.store.sqlite.database import Database, DatabaseSchema, version_table
from openfl_like.store.sqlite.rows import checked, checksum_column, seal

METADATA = MetaData()
version_table(METADATA)
PARTS = Table(
    "parts",
    METADATA,
    Column("number", Integer, primary_key=True),
    Column("experiment", String(96), nullable=False),
    Column("identity", Text, nullable=False),
    Column("bundle", String(64), nullable=False),
    Column("began_at", Float, nullable=False),
    Column("ended_at", Float, nullable=False),
    Column("end", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    checksum_column(),
)
PERFORMED = Table(
    "performed",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("part", Integer, ForeignKey("parts.number"), nullable=False, index=True),
    Column("time", Float, nullable=False),
    Column("round", Integer, nullable=False),
    Column("phase", String(16), nullable=False),
    Column("tasks", Text, nullable=False),
    Column("failure", Text, nullable=False),
)
SITE_DB = "site.db"
SCHEMA = DatabaseSchema("site", "s0001", METADATA)


def site_database(files: SiteFiles) -> Path:
    """Return where the database of a site is."""
    return files.directory / SITE_DB


class SqliteSiteStore:
    """The record of a site, in one file of the Envoy's directory.

    Args:
        files: The Envoy's.
    """

    def __init__(self, files: SiteFiles) -> None:
        self._database = Database(site_database(files), SCHEMA)

    def begin(self, part: SitePart) -> int:
        """Record that an order was taken, and return the part's number; on disk when it returns."""
        values = {
            "experiment": part.experiment,
            "identity": part.identity,
            "bundle": part.bundle,
            "began_at": part.began_at,
            "ended_at": 0.0,
            "end": "",
            "reason": "",
        }
        with self._database.transaction(durable=True) as connection:
            number = connection.execute(insert(PARTS).values(**values)).inserted_primary_key
            assert number is not None  # noqa: S101 (SQLite gives one)
            seal(connection, PARTS, PARTS.c.number == number[0])
        return int(number[0])

    def end(self, part: int, end: PartEnd, reason: str, now: float, performed: Sequence[PerformedTasks]) -> None:
        """Record how a part ended, and what was done for it; on disk when it returns."""
        rows = [
            {
                "part": part,
                "time": item.time,
                "round": item.round,
                "phase": item.phase.value,
                "tasks": json.dumps(item.tasks),
                "failure": item.failure,
            }
            for item in performed
        ]
        values = {"ended_at": now, "end": end.value, "reason": reason}
        with self._database.transaction(durable=True) as connection:
            open_one = update(PARTS).where(PARTS.c.number == part, PARTS.c.end == "")
            if connection.execute(open_one.values(**values)).rowcount and rows:
                connection.execute(insert(PERFORMED), rows)
            seal(connection, PARTS, PARTS.c.number == part)

    def parts(self, experiment: str | None = None, *, performed: bool = True) -> list[SitePart]:
        """Return the parts in the order in which they began.

        Args:
            experiment: Only those in this one; None: all.
            performed: Whether with what was done for them.
        """
        asked = true() if experiment is None else PARTS.c.experiment == experiment
        with self._database.transaction() as connection:
            rows = connection.execute(select(PARTS).where(asked).order_by(PARTS.c.number)).all()
            for row in rows:
                checked("parts", row.number, row)
            done = _performed(connection, asked) if performed else {}
        return [
            SitePart(
                row.experiment,
                row.identity,
                row.bundle,
                row.began_at,
                row.ended_at,
                PartEnd(row.end) if row.end else None,
                row.reason,
                tuple(done.get(row.number, ())),
                row.number,
            )
            for row in rows
        ]

    def remove(self, parts: Sequence[int]) -> None:
        """Forget parts, with what was done for them; on disk when it returns."""
        with self._database.transaction(durable=True) as connection:
            connection.execute(delete(PERFORMED).where(PERFORMED.c.part.in_(parts)))
            connection.execute(delete(PARTS).where(PARTS.c.number.in_(parts)))

    def close(self) -> None:
        """Close the database."""
        self._database.close()


def _performed(connection: Connection, asked: ColumnElement[bool]) -> dict[int, list[PerformedTasks]]:
    """Return what was done for the parts that are asked for, by their numbers."""
    parts = select(PARTS.c.number).where(asked)
    found: dict[int, list[PerformedTasks]] = {}
    for row in connection.execute(select(PERFORMED).where(PERFORMED.c.part.in_(parts)).order_by(PERFORMED.c.id)):
        item = PerformedTasks(row.time, row.round, Phase(row.phase), tuple(json.loads(row.tasks)), row.failure)
        found.setdefault(row.part, []).append(item)
    return found
