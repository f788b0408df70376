"""Opening a database: durable where it must be, at the newest schema, or refused with a way out."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import cast

from sqlalchemy import (
    URL,
    Column,
    Connection,
    Delete,
    Insert,
    MetaData,
    String,
    Table,
    Update,
    create_engine,
    event,
    inspect,
    select,
)
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DatabaseError, IntegrityError
from sqlalchemy.pool import StaticPool

from openfl_like.errors import ConflictError, DamagedError, FederationError, StorageError
from openfl_like.failpoints import failpoint
from openfl_like.store.sqlite.commit_count import mark_of, read_mark, write_mark
from openfl_like.store.sqlite.log_length import LogLength

_PRIMARY = 0xFF
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_MAYBE_NO_ROOM = {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}
_FEWEST_BYTES = 1 << 16
MIGRATIONS = Path(__file__).parent / "migrations"


def version_table(metadata: MetaData) -> Table:
    """Add the table in which the migrations keep the schema's revision."""
    return Table("alembic_version", metadata, Column("version_num", String(32), primary_key=True))


@dataclass(frozen=True, slots=True)
class DatabaseSchema:
    """What a database must be like.

    Attributes:
        kind: ``director`` or ``experiment``.
        revision: The newest revision.
        metadata: The tables as that revision has them.
        migrations: The folder with a folder of migrations for each kind.
    """

    kind: str
    revision: str
    metadata: MetaData
    migrations: Path = MIGRATIONS


class Database:
    """One database behind one connection that threads take turns with.

    SQLite runs in WAL mode. A transaction opened with ``durable=True`` is on disk when it ends
    (``synchronous=FULL``); others survive the death of the process, but a power cut may take the newest of them.

    Args:
        path: The file; made if there is none.
        schema: What is in it; an older file is migrated.
        checkpoints: Whether a commit moves the write-ahead log into the database when it has become long, which takes
            two more syncs; otherwise `checkpoint` is called beside the commits.

    Raises:
        ConflictError: If it cannot be opened or is of a newer version of the platform.
        DamagedError: If the file is damaged, or has lost transactions.
        StorageError: If there is no room.
    """

    def __init__(self, path: Path, schema: DatabaseSchema, *, checkpoints: bool = True) -> None:
        self.path = path
        url = URL.create("sqlite", database=str(path))
        connect = {"check_same_thread": False}
        self._engine = create_engine(url, poolclass=StaticPool, connect_args=connect, paramstyle="named")
        self._lock = Lock()
        self._durable: bool | None = None
        self._log = LogLength()
        event.listen(self._engine, "connect", _set_up)
        expected = read_mark(mark_of(path))  # before anything can be written
        with ExitStack() as undo:
            undo.callback(self._engine.dispose)  # nobody can close what could not be opened whole
            try:
                # kept: taking it from the pool costs more than a small statement
                self._connection = self._engine.connect()
                if not checkpoints:
                    _configure(self._connection.connection, "wal_autocheckpoint=0")
                self._compare(expected)
                self._bring_up_to_date(schema)
            except DatabaseError as error:
                raise self._explain(error) from error
            undo.pop_all()

    @contextmanager
    def transaction(self, *, durable: bool = False) -> Iterator[Connection]:
        """Open a transaction that is committed when the block ends without an error.

        Raises:
            DamagedError: If the file is damaged.
            StorageError: If there is no room; nothing was changed then.
        """
        try:
            with self._lock:
                if durable is not self._durable:
                    _configure(self._connection.connection, f"synchronous={'FULL' if durable else 'NORMAL'}")
                    self._durable = durable
                with self._connection.begin():
                    yield self._connection
                    count = self._count() if durable else 0
                self._log.committed()
                if count:
                    write_mark(mark_of(self.path), count)
        except IntegrityError:
            raise
        except DatabaseError as error:
            raise self._explain(error) from error
        except DamagedError as error:
            raise error if error.place else self.damaged(error.message) from error

    def checkpoint(self) -> None:
        """Move the write-ahead log into the database if it has become long; who commits does not wait for that."""
        with suppress(
            OSError, sqlite3.Error
        ):  # somebody else is at it, or there is no room: next time; a commit tells more
            file_bytes = self.path.with_name(f"{self.path.name}-wal").stat().st_size
            if self._log.is_long(file_bytes):
                with closing(sqlite3.connect(self.path, timeout=0.0)) as beside:
                    _, pages, _ = beside.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                    (page_bytes,) = beside.execute("PRAGMA page_size").fetchone()
                self._log.moved(pages * page_bytes, file_bytes)

    def prepare(self, statement: Insert | Update | Delete) -> str:
        """Return the text of a statement for `Connection.exec_driver_sql`, parameters by name.

        To build and look up a statement at each execution costs several times what SQLite needs for a small one.
        """
        return str(statement.compile(self._engine))

    def close(self) -> None:
        """Close the connection, when no other thread is in a transaction."""
        with self._lock:
            self._connection.close()
            self._engine.dispose()

    def check(self) -> None:
        """Read the whole file and compare it with itself.

        Raises:
            DamagedError: If it is damaged.
        """
        with self.transaction() as connection:
            verdict = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
        if verdict != ["ok"]:
            raise self.damaged("; ".join(str(line).partition("\n")[0] for line in verdict[:3]))

    def damaged(self, what: str) -> DamagedError:
        """Return the error for damage that was found in it."""
        files = f"{self.path.name} together with its -wal and -mark"
        cure = f"put its directory back from a backup, {files}; nothing was changed"
        return DamagedError(f"the database is damaged: {what}", place=str(self.path), cure=cure)

    def _count(self) -> int:
        """Count a durable transaction within it; the number is no part of any table."""
        driver = cast("sqlite3.Connection", self._connection.connection.driver_connection)  # a fifth of the time
        try:
            count = int(driver.execute("PRAGMA user_version").fetchone()[0]) + 1
            driver.execute(f"PRAGMA user_version={count}")
        except sqlite3.DatabaseError as error:
            raise DatabaseError("PRAGMA user_version", None, error) from error
        return count

    def _compare(self, expected: int) -> None:
        with self.transaction() as connection:
            found = int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())
        if found < expected:
            raise self.damaged(f"it has {found} of {expected} transactions that were acknowledged; the others are lost")

    def _explain(self, error: DatabaseError) -> FederationError:
        code = getattr(error.orig, "sqlite_errorcode", 0) & _PRIMARY
        place = str(self.path)
        if code in _DAMAGED or (not code and "decode to UTF-8" in str(error.orig)):  # the driver has no number for that
            return self.damaged(str(error.orig))
        if code == sqlite3.SQLITE_FULL or (code in _MAYBE_NO_ROOM and self._crowded()):
            cure = "make room; it goes on by itself then"
            return StorageError(f"there is no room on the disk: {error.orig}", place=place, cure=cure)
        cure = "look at the file and its directory: it must be readable and writable"
        return ConflictError(f"the database cannot be used: {error.orig}", place=place, cure=cure)

    def _crowded(self) -> bool:
        if not self.path.parent.is_dir():
            return False
        room = os.statvfs(self.path.parent)
        return room.f_bavail * room.f_frsize < _FEWEST_BYTES

    def _bring_up_to_date(self, schema: DatabaseSchema) -> None:
        versions = schema.metadata.tables["alembic_version"]
        with self.transaction() as connection:
            exists = inspect(connection).has_table("alembic_version")
        if not exists:
            self._create(schema)
        with self.transaction() as connection:
            found = connection.execute(select(versions.c.version_num)).scalar_one()
        if found != schema.revision:
            failpoint("store.migrate.before")
            self._migrate(schema, found)
            failpoint("store.migrate.after")

    def _create(self, schema: DatabaseSchema) -> None:
        """Make all tables at once; another process may be doing the same, so it looks again with the lock in hand."""
        with self.transaction(durable=True) as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # the driver would commit each CREATE TABLE by itself
            if not inspect(connection).has_table("alembic_version"):
                schema.metadata.create_all(connection)
                versions = schema.metadata.tables["alembic_version"]
                connection.execute(versions.insert().values(version_num=schema.revision))

    def _migrate(self, schema: DatabaseSchema, found: str) -> None:
        # imported here: it takes half a second, and a database that is up to date does not need it
        from alembic.config import Config
        from alembic.migration import MigrationContext
        from alembic.runtime.environment import EnvironmentContext
        from alembic.script import ScriptDirectory

        config = Config()
        config.set_main_option("script_location", str(schema.migrations / schema.kind))
        scripts = ScriptDirectory.from_config(config)
        if found not in {script.revision for script in scripts.walk_revisions()}:
            cure = "run it with the version of the platform that wrote it, or a newer one"
            raise ConflictError(f"the database has the unknown schema revision {found}", cure=cure)

        def steps(current: str, _context: MigrationContext) -> object:
            return scripts._upgrade_revs(schema.revision, current)  # noqa: SLF001 (how alembic.command.upgrade does it too)

        with self.transaction(durable=True) as connection, EnvironmentContext(config, scripts, fn=steps) as environment:
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # as above; a crash must not leave half of a migration behind
            environment.configure(connection=connection)
            environment.run_migrations()
            failpoint("store.migrate.inside")


def _set_up(connection: DBAPIConnection, _record: object) -> None:
    _configure(connection, "journal_mode=WAL", "busy_timeout=5000", "foreign_keys=ON")


def _configure(connection: DBAPIConnection, *pragmas: str) -> None:
    """Make settings of SQLite, which are no part of a transaction."""
    cursor = connection.cursor()
    for pragma in pragmas:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
