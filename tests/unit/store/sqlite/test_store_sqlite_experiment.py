"""The record of an experiment in SQLite: what lies below the promises of every record."""

import sqlite3
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from openfl_like.errors import ConflictError
from openfl_like.store.files import ExperimentFiles
from openfl_like.store.ports import Commit, FileContent
from openfl_like.store.sqlite.experiment import EXPERIMENT_DB, SqliteExperimentStore


def test_a_record_that_cannot_be_read_is_not_left_open(tmp_path: Path) -> None:
    SqliteExperimentStore(ExperimentFiles(tmp_path)).close()
    with closing(sqlite3.connect(tmp_path / EXPERIMENT_DB)) as connection:
        connection.execute("DROP TABLE events")
    with pytest.raises(ConflictError, match="no such table: events") as caught:
        SqliteExperimentStore(ExperimentFiles(tmp_path))
    assert [file.path for file in psutil.Process().open_files() if file.path.startswith(str(tmp_path))] == []
    assert caught.tb is not None  # it keeps the store alive, so that nobody else has closed it


@pytest.mark.parametrize(("durable", "mode"), [(True, 2), (False, 1)], ids=["FULL", "NORMAL"])
def test_a_durable_transaction_is_synchronous(tmp_path: Path, mode: int, *, durable: bool) -> None:
    with closing(SqliteExperimentStore(ExperimentFiles(tmp_path))) as store:
        for _ in range(2):
            with store._database.transaction(durable=not durable):
                pass
            with store._database.transaction(durable=durable) as connection:
                assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == mode


def test_no_commit_moves_the_log_into_the_database_but_a_checkpoint_does(tmp_path: Path) -> None:
    with closing(SqliteExperimentStore(ExperimentFiles(tmp_path))) as store:
        log, database = tmp_path / f"{EXPERIMENT_DB}-wal", tmp_path / EXPERIMENT_DB
        before = database.stat().st_size
        for number in range(24):
            content = FileContent(number, "aa" * 32, bytes(1 << 18))
            store.commit(Commit(1.0, {}, durable=True, contents=[content]))
        assert database.stat().st_size == before
        store.checkpoint()
        assert database.stat().st_size > 24 << 18
        grown = log.stat().st_size
        for _ in range(2):
            store.commit(Commit(1.0, {}, durable=True))
        assert log.stat().st_size == grown, "it is written over from its beginning"
        moved = database.stat().st_mtime_ns
        store.checkpoint()
        assert database.stat().st_mtime_ns == moved, "its file is long, but not the log"
