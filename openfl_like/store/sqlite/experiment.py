"""`experiment.db`: snapshot, events and model versions of one experiment, committed together."""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    Row,
    String,
    Table,
    Text,
    bindparam,
    delete,
    func,
    select,
    update,
)
from sqlalchemy.dialects.sqlite import Insert, insert
from sqlalchemy.exc import IntegrityError

from openfl_like.failpoints import failpoint
from openfl_like.federation.announcements import Announced, Announcement, from_json
from openfl_like.federation.events import ModelVersion
from openfl_like.federation.parties import PublishedVersion
from openfl_like.store.files import ExperimentFiles
from openfl_like.store.ports import Commit, FileContent, Recorded
from openfl_like.store.refusals import not_empty, superseded
from openfl_like.store.sqlite.database import Database, DatabaseSchema, version_table
from openfl_like.store.sqlite.rows import CHECK, checked, checksum, checksum_column, seal, with_checksum

METADATA = MetaData()
version_table(METADATA)
SNAPSHOT = Table(
    "snapshot",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("state", Text, nullable=False),
    Column("epoch", Integer, nullable=False, server_default="0"),
    checksum_column(),
)
EVENTS = Table(
    "events",
    METADATA,
    Column("sequence", Integer, primary_key=True),
    Column("time", Float, nullable=False),
    Column("kind", String(64), nullable=False),
    Column("fields", Text, nullable=False),
    Column("epoch", Integer, nullable=False, server_default="0"),
    checksum_column(),
)
VERSIONS = Table(
    "versions",
    METADATA,
    Column("round", Integer, primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("metrics", Text, nullable=False),
    Column("best", Boolean, nullable=False),
    Column("published_at", Float, nullable=False),
    Column("epoch", Integer, nullable=False, server_default="0"),
    checksum_column(),
)
CONTENTS = Table(
    "contents",
    METADATA,
    Column("round", Integer, primary_key=True),
    Column("is_state", Boolean, primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("data", LargeBinary, nullable=False),
)
EXPERIMENT_DB = "experiment.db"
SCHEMA = DatabaseSchema("experiment", "e0004", METADATA)
_TABLES = (SNAPSHOT, EVENTS, VERSIONS)
_ROWS_AT_ONCE = 1000
_dump = json.JSONEncoder(separators=(",", ":"), sort_keys=True).encode


def experiment_database(files: ExperimentFiles) -> Path:
    """Return where the database of an experiment is."""
    return files.directory / EXPERIMENT_DB


class SqliteExperimentStore:
    """The record of one experiment, in one file of its directory.

    Args:
        files: The experiment's.
    """

    def __init__(self, files: ExperimentFiles) -> None:
        self._database = Database(experiment_database(files), SCHEMA, checkpoints=False)
        ours = update(SNAPSHOT).where(SNAPSHOT.c.epoch == bindparam("ours"))
        self._put_snapshot = self._database.prepare(ours.values(state=bindparam("state"), **{CHECK: bindparam("sum")}))
        self._add_event = self._database.prepare(insert(EVENTS))
        self._put_version = self._database.prepare(_replacing(VERSIONS))
        self._put_content = self._database.prepare(_replacing(CONTENTS))
        self._drop_content = self._database.prepare(delete(CONTENTS).where(CONTENTS.c.round == bindparam("settled")))
        with ExitStack() as undo:
            undo.callback(self._database.close)  # nobody can close a record that could not be opened
            with self._database.transaction() as connection:
                self._sequence = _last(connection)
            undo.pop_all()
        self._epoch = 0

    def take_epoch(self) -> int:
        """Make this process the only one that may commit, and return the number of its epoch, from 1.

        Whoever held the record before is refused from now on, were it only asleep. The first commit does it, too.
        """
        with self._database.transaction(durable=True) as connection:
            connection.execute(insert(SNAPSHOT).values(id=1, state="", epoch=0).on_conflict_do_nothing())
            connection.execute(update(SNAPSHOT).values(epoch=SNAPSHOT.c.epoch + 1))
            self._epoch = connection.execute(select(SNAPSHOT.c.epoch)).scalar_one()
            self._sequence = _last(connection)
        return self._epoch

    @property
    def epoch(self) -> int:
        """The epoch that this process has taken; taken now if it has none."""
        return self._epoch or self.take_epoch()

    def check_epoch(self) -> None:
        """Raise ConflictError if another process has taken the record over."""
        with self._database.transaction() as connection:
            newest = connection.execute(select(SNAPSHOT.c.epoch)).scalar_one_or_none()
        if newest is not None and newest > self._epoch:
            raise superseded(self._epoch)

    def snapshot(self) -> dict[str, Any] | None:
        """Return the state after the last commit, or None before the first."""
        with self._database.transaction() as connection:
            row = connection.execute(select(SNAPSHOT.c.state, SNAPSHOT.c[CHECK])).one_or_none()
            if row is None or not row.state:  # no row, or one that only has an epoch
                return None
            checked("snapshot", 1, row)
        state = row.state
        found: dict[str, Any] = json.loads(state)
        return found

    def commit(self, step: Commit) -> list[Announced]:
        """Record a step in one transaction and return its announcements as they are now in the history.

        Raises:
            ConflictError: If another process has taken the record over; nothing is written then.
        """
        epoch = self.epoch
        records = step.numbered(self._sequence)
        try:
            with self._database.transaction(durable=step.durable) as connection:
                self._write(connection, step, records)
        except IntegrityError:  # somebody has told something under our next number
            raise superseded(epoch) from None
        self._sequence += len(records)
        return records

    def checkpoint(self) -> None:
        """Move what was committed to where it is kept."""
        self._database.checkpoint()

    def _write(self, connection: Connection, step: Commit, records: Sequence[Announced]) -> None:
        text = _dump(dict(step.snapshot))
        state = {"state": text, "sum": checksum([text]), "ours": self._epoch}
        if connection.exec_driver_sql(self._put_snapshot, state).rowcount == 0:  # first: it takes the lock, and decides
            raise superseded(self._epoch)
        if records:
            connection.exec_driver_sql(self._add_event, [_event_row(record, self._epoch) for record in records])
        failpoint("aggregator.commit.inside")
        for version in step.versions:
            connection.exec_driver_sql(self._put_version, _row(version, step.now, self._epoch))
        if step.contents:
            connection.exec_driver_sql(self._put_content, [asdict(content) for content in step.contents])
        if step.settled:
            connection.exec_driver_sql(self._drop_content, [{"settled": number} for number in sorted(step.settled)])
        for number, sha256 in step.sha256.items():
            connection.execute(update(VERSIONS).where(VERSIONS.c.round == number).values(sha256=sha256))
            seal(connection, VERSIONS, VERSIONS.c.round == number)

    def announce(self, now: float, announcement: Announcement) -> Announced:
        """Add to the history from outside the experiment; only while nobody commits to it."""
        with self._database.transaction(durable=True) as connection:
            record = Announced(_last(connection) + 1, now, announcement)
            connection.exec_driver_sql(self._add_event, _event_row(record, 0))
        self._sequence = record.sequence
        return record

    def events(self, after: int = 0, kinds: Sequence[str] = ()) -> list[Announced]:
        """Return the events after a sequence number, in order; only those of some kinds if these are named."""
        query = select(EVENTS).where(EVENTS.c.sequence > after).order_by(EVENTS.c.sequence)
        if kinds:
            query = query.where(EVENTS.c.kind.in_(kinds))
        with self._database.transaction() as connection:
            return [_event(row) for row in connection.execute(query)]

    def latest(self, *kinds: str) -> Announced | None:
        """Return the newest event that is of one of these kinds."""
        query = select(EVENTS).where(EVENTS.c.kind.in_(kinds)).order_by(EVENTS.c.sequence.desc()).limit(1)
        with self._database.transaction() as connection:
            row = connection.execute(query).one_or_none()
            return None if row is None else _event(row)

    def versions(self) -> list[PublishedVersion]:
        """Return the published versions by round; of those marked best the newest is the best."""
        with self._database.transaction() as connection:
            return list(_versions(connection))

    def recorded(self) -> Recorded:
        """Return all but the events and the contents of files, as of one moment."""
        with self._database.transaction() as connection:
            row = connection.execute(select(SNAPSHOT)).one_or_none()
            if row is not None and row.state:
                checked("snapshot", 1, (row.state, row.checksum))
            versions = _versions(connection)
        if row is None:
            return Recorded(None, 0, versions)
        return Recorded(json.loads(row.state) if row.state else None, row.epoch, versions)

    def contents(self) -> list[FileContent]:
        """Return the files that may not be on disk, by round."""
        query = select(CONTENTS).order_by(CONTENTS.c.round, CONTENTS.c.is_state)
        with self._database.transaction() as connection:
            rows = connection.execute(query).all()
        return [FileContent(row.round, row.digest, row.data, row.is_state) for row in rows]

    def fill(self, recorded: Recorded, events: Iterable[Announced]) -> None:
        """Make an empty record what another one was, in one transaction; the history is never held in memory.

        Raises:
            ConflictError: If it is not empty.
        """
        state = "" if recorded.snapshot is None else _dump(dict(recorded.snapshot))
        with self._database.transaction(durable=True) as connection:
            if any(connection.execute(select(func.count()).select_from(table)).scalar_one() for table in _TABLES):
                raise not_empty()
            if recorded.epoch or state:
                values = {"state": state, CHECK: checksum([state]) if state else None}
                connection.execute(insert(SNAPSHOT).values(id=1, epoch=recorded.epoch, **values))
            if recorded.versions:
                rows = [_row(item.version, item.published_at, 0, item.sha256) for item in recorded.versions]
                connection.execute(insert(VERSIONS), rows)
            for several in _batches(events):
                connection.execute(insert(EVENTS), [_event_row(event, 0) for event in several])
            last = _last(connection)
        self._sequence = last

    def verify(self) -> None:
        """Read everything and compare it with itself.

        Raises:
            DamagedError: If anything is not as it was written.
        """
        self._database.check()
        self.snapshot()
        for what, numbers, first in (
            ("events", [event.sequence for event in self.events()], 1),
            ("versions", [version.version.round for version in self.versions()], 0),
        ):
            if numbers != list(range(first, first + len(numbers))):
                raise self._database.damaged(f"rows of '{what}' are missing")

    def close(self) -> None:
        """Close the database."""
        self._database.close()


def _replacing(table: Table) -> Insert:
    """Return the statement that puts a row in the place of the one with its key, if there is one."""
    row, keys = insert(table), [column.name for column in table.primary_key]
    others = {column.name: row.excluded[column.name] for column in table.c if not column.primary_key}
    return row.on_conflict_do_update(index_elements=keys, set_=others)


def _versions(connection: Connection) -> tuple[PublishedVersion, ...]:
    rows = connection.execute(select(VERSIONS).order_by(VERSIONS.c.round)).all()
    for row in rows:
        checked("versions", row.round, row)
    return tuple(
        PublishedVersion(
            ModelVersion(row.round, row.digest, json.loads(row.metrics), row.best), row.sha256, row.published_at
        )
        for row in rows
    )


def _batches(events: Iterable[Announced]) -> Iterator[list[Announced]]:
    iterator = iter(events)
    while several := list(islice(iterator, _ROWS_AT_ONCE)):
        yield several


def _last(connection: Connection) -> int:
    """Return the number of the newest event."""
    return connection.execute(select(func.max(EVENTS.c.sequence))).scalar_one() or 0


def _event(row: Row[Any]) -> Announced:
    checked("events", row.sequence, row)
    return Announced(row.sequence, row.time, from_json(row.kind, row.fields))


def _event_row(record: Announced, epoch: int) -> dict[str, object]:
    # As `with_checksum` does it, but at once: nothing is written so often. The order is that of the columns.
    sequence, time, kind, fields = record.sequence, float(record.time), record.kind, record.fields_json
    found = checksum((sequence, time, kind, fields, epoch))
    return {"sequence": sequence, "time": time, "kind": kind, "fields": fields, "epoch": epoch, CHECK: found}


def _row(version: ModelVersion, now: float, epoch: int, sha256: str = "") -> dict[str, object]:
    fields = {
        "round": version.round,
        "digest": version.digest,
        "sha256": sha256,
        "metrics": _dump(dict(version.metrics)),
        "best": bool(version.best),
        "published_at": float(now),
        "epoch": epoch,
    }
    return with_checksum(fields, VERSIONS)
