"""Opening databases: sound and known ones only; the migrations lead to the schema that a new file gets."""

import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import Column, Integer, MetaData, create_engine, inspect
from sqlalchemy.exc import IntegrityError

from openfl_like.errors import ConflictError, DamagedError
from openfl_like.federation.parties import EnvoyRecord, ShardFacts
from openfl_like.store.director_files import DirectorFiles
from openfl_like.store.files import ExperimentFiles
from openfl_like.store.ports import DirectorStore, ExperimentStore, SiteStore
from openfl_like.store.site_files import SiteFiles
from openfl_like.store.sqlite import director, experiment, site
from openfl_like.store.sqlite.database import MIGRATIONS, Database, DatabaseSchema
from openfl_like.store.sqlite.director import DIRECTOR_DB
from openfl_like.store.sqlite.experiment import EXPERIMENT_DB
from openfl_like.store.sqlite.inspection import complaint, rows
from openfl_like.store.sqlite.rows import checksum
from openfl_like.store.sqlite.site import SITE_DB
from openfl_like.store.sqlite.stores import SQLITE


def director_in(place: Path) -> DirectorStore:
    return SQLITE.director(DirectorFiles(place))


def experiment_in(place: Path) -> ExperimentStore:
    return SQLITE.experiment(ExperimentFiles(place))


def site_in(place: Path) -> SiteStore:
    return SQLITE.site(SiteFiles(place))


Open = Callable[[Path], DirectorStore | ExperimentStore | SiteStore]
KINDS: dict[str, tuple[DatabaseSchema, str, Open]] = {
    "director": (director.SCHEMA, DIRECTOR_DB, director_in),
    "experiment": (experiment.SCHEMA, EXPERIMENT_DB, experiment_in),
    "site": (site.SCHEMA, SITE_DB, site_in),
}
each_kind = pytest.mark.parametrize("kind", KINDS)


def scripts_of(kind: str) -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS / kind))
    return ScriptDirectory.from_config(config)


@each_kind
def test_the_newest_revision_is_the_one_that_a_new_file_gets(kind: str) -> None:
    assert scripts_of(kind).get_heads() == [KINDS[kind][0].revision]


@each_kind
def test_all_migrations_in_a_row_give_the_schema_of_a_new_file(kind: str) -> None:
    metadata = KINDS[kind][0].metadata
    scripts = list(reversed(list(scripts_of(kind).walk_revisions())))
    migrated, created = create_engine("sqlite://"), create_engine("sqlite://")
    try:
        with migrated.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            with Operations.context(context):
                for script in scripts:
                    script.module.upgrade()
            context._ensure_version_table()
            assert compare_metadata(context, metadata) == []
            metadata.create_all(created)
            for table in metadata.tables:
                assert _shape(inspect(connection), table) == _shape(inspect(created), table)
    finally:
        migrated.dispose()
        created.dispose()


def _shape(inspector: object, table: str) -> object:
    columns = inspector.get_columns(table)  # type: ignore[attr-defined] # SQLAlchemy gives it no common type
    keys = inspector.get_pk_constraint(table)["constrained_columns"]  # type: ignore[attr-defined] # as above
    unique = inspector.get_unique_constraints(table)  # type: ignore[attr-defined] # as above
    return [(c["name"], str(c["type"]), c["nullable"]) for c in columns], keys, [u["column_names"] for u in unique]


def _of_the_first_release(path: Path, rows: Sequence[tuple[str, str, str]]) -> None:
    """Makes a director.db as 0.1.0 made it, with experiments of these ids, statuses and reasons."""
    engine = create_engine(f"sqlite:///{path}")
    scripts = {script.revision: script for script in scripts_of("director").walk_revisions()}
    with engine.begin() as connection:
        context = MigrationContext.configure(connection)
        with Operations.context(context):
            for revision in ("d0001", "d0002", "d0003"):
                scripts[revision].module.upgrade()
        context._ensure_version_table()
        connection.exec_driver_sql("INSERT INTO alembic_version VALUES ('d0003')")
        for position, (name, status, reason) in enumerate(rows, 1):
            values = (position, name, "r1", "n", "ada", "p", "b", "", "", status, reason, 1.0, 0.0, 0.0, "{}")
            marks = ", ".join("?" * (len(values) + 1))
            row = (*values, checksum(values))
            connection.exec_driver_sql(f"INSERT INTO experiments VALUES ({marks})", row)  # noqa: S608 (only marks)
            connection.exec_driver_sql("INSERT INTO requests VALUES (?, ?, ?)", ("ada", name, name))
    engine.dispose()


def test_who_resumed_an_experiment_is_moved_out_of_the_reason(tmp_path: Path) -> None:
    rows = [("one", "QUEUED", "resumed by bob"), ("two", "FAILED", "resumed by nobody"), ("three", "RUNNING", "")]
    _of_the_first_release(tmp_path / DIRECTOR_DB, rows)
    with closing(director_in(tmp_path)) as store:
        store.verify()
        found = [(item.id, item.reason, item.resumed_by) for item in store.experiments()]
    assert found == [("one", "", "bob"), ("two", "resumed by nobody", ""), ("three", "", "")]


def test_a_row_that_was_damaged_before_a_migration_is_damaged_after_it(tmp_path: Path) -> None:
    _of_the_first_release(tmp_path / DIRECTOR_DB, [("one", "QUEUED", "resumed by bob")])
    with closing(sqlite3.connect(tmp_path / DIRECTOR_DB)) as connection, connection:
        connection.execute("UPDATE experiments SET owner = 'eve'")
    with closing(director_in(tmp_path)) as store, pytest.raises(DamagedError, match="the row one"):
        store.experiments()


NEXT = f'''"""Adds a column."""

from alembic import op
from sqlalchemy import Column, Integer

revision = "d9999"
down_revision = "{director.SCHEMA.revision}"


def upgrade():
    op.add_column("envoys", Column("visits", Integer, server_default="1"))
'''


@pytest.fixture
def next_release(tmp_path: Path) -> Callable[[Path], Database]:
    """A release that has one more revision of director.db."""
    folder = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "director" / "versions" / "d9999_visits.py").write_text(NEXT)
    newer = MetaData()
    for table in director.METADATA.tables.values():
        table.to_metadata(newer)
    newer.tables["envoys"].append_column(Column("visits", Integer, server_default="1"))
    schema = replace(director.SCHEMA, revision="d9999", metadata=newer, migrations=folder)
    return lambda path: Database(path, schema)


def test_a_file_of_the_last_release_is_migrated_with_its_rows(
    tmp_path: Path, next_release: Callable[[Path], Database]
) -> None:
    with closing(director_in(tmp_path)) as old:
        old.record_envoy(EnvoyRecord("bern", online=False, last_seen=2.0, shard=ShardFacts((1,), ())))
    for _ in range(2):  # the second time there is nothing to do
        with closing(next_release(tmp_path / DIRECTOR_DB)) as opened:
            opened.check()
        path = tmp_path / DIRECTOR_DB
        assert [(row["name"], row["visits"]) for row in rows(path, "envoys")] == [("bern", 1)]
        assert rows(path, "alembic_version") == [{"version_num": "d9999"}]
        assert complaint(path) == ""


def test_a_file_of_a_newer_release_is_refused(tmp_path: Path, next_release: Callable[[Path], Database]) -> None:
    next_release(tmp_path / DIRECTOR_DB).close()
    with pytest.raises(ConflictError, match=r"unknown schema revision d9999 .*the version of the platform that wrote"):
        director_in(tmp_path)


@each_kind
@pytest.mark.parametrize("content", [b"this is no database at all" * 50, b"SQLite format 3\0" + bytes(4080)])
def test_a_damaged_file_is_refused_with_a_way_out(kind: str, content: bytes, tmp_path: Path) -> None:
    _, name, store = KINDS[kind]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DamagedError, match=r"put its directory back from a backup") as caught:
        store(tmp_path)
    assert name in caught.value.place


@each_kind
def test_a_file_that_was_cut_is_refused(kind: str, tmp_path: Path) -> None:
    _, name, store = KINDS[kind]
    with closing(store(tmp_path)):
        pass
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:4096])
    with pytest.raises(DamagedError, match="database"):
        store(tmp_path)


@each_kind
def test_a_place_that_cannot_be_written_is_refused(kind: str, tmp_path: Path) -> None:
    with pytest.raises(ConflictError, match="unable to open database file"):
        KINDS[kind][2](tmp_path / "missing")


@each_kind
def test_a_file_is_in_wal_mode_and_sound(kind: str, tmp_path: Path) -> None:
    schema, name, _ = KINDS[kind]
    with closing(Database(tmp_path / name, schema)) as opened:
        opened.check()
    assert complaint(tmp_path / name) == ""
    with closing(sqlite3.connect(tmp_path / name)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_failed_transaction_is_rolled_back(tmp_path: Path) -> None:
    opened = Database(tmp_path / "d.db", director.SCHEMA)

    def insert_twice() -> None:
        with opened.transaction(durable=True) as connection:
            for _ in range(2):
                connection.exec_driver_sql("INSERT INTO envoys VALUES ('bern', 1.0, '{}')")

    with pytest.raises(IntegrityError):
        insert_twice()
    with opened.transaction() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM envoys").scalar_one() == 0
    opened.close()


def test_a_transaction_is_as_durable_as_it_was_asked_to_be(tmp_path: Path) -> None:
    opened = Database(tmp_path / "d.db", director.SCHEMA)
    levels = []
    for durable in (False, True, True, False):
        with opened.transaction(durable=durable) as connection:
            levels.append(connection.exec_driver_sql("PRAGMA synchronous").scalar_one())
    assert levels == [1, 2, 2, 1]
    opened.close()


def test_a_prepared_statement_takes_its_parameters_by_name(tmp_path: Path) -> None:
    opened = Database(tmp_path / "d.db", director.SCHEMA)
    add = opened.prepare(director.METADATA.tables["envoys"].insert())
    rows = [{"name": name, "last_seen": 1.0, "shard": "{}"} for name in ("bern", "zurich")]
    with opened.transaction() as connection:
        connection.exec_driver_sql(add, rows)
    with opened.transaction() as connection:
        assert connection.exec_driver_sql("SELECT name FROM envoys").scalars().all() == ["bern", "zurich"]
    opened.close()
