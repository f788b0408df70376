"""Whatever is done to a database, it is refused, or has everything that was acknowledged: never less, never other."""

import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from openfl_like.errors import DamagedError, StorageError
from openfl_like.federation.announcements import RoundFinished
from openfl_like.federation.events import ModelVersion
from openfl_like.federation.parties import EnvoyRecord, ExperimentSummary, ShardFacts
from openfl_like.federation.status import Status
from openfl_like.store.director_files import DirectorFiles
from openfl_like.store.files import ExperimentFiles
from openfl_like.store.ports import Commit, StoredExperiment, TimedAnnouncement
from openfl_like.store.sqlite.commit_count import mark_of, read_mark
from openfl_like.store.sqlite.director import DIRECTOR_DB, SqliteDirectorStore
from openfl_like.store.sqlite.experiment import EXPERIMENT_DB, SqliteExperimentStore
from openfl_like.testing.faults.damage import Damage, damage

SEEDS = range(6)
CELLS = [(part, kind) for part in ("", "-wal", "-mark") for kind in Damage]
each_cell = pytest.mark.parametrize(("part", "kind"), CELLS, ids=[f"db{part}-{kind}" for part, kind in CELLS])


def stored(number: int) -> StoredExperiment:
    summary = ExperimentSummary(f"e-{number}", "e", Status.QUEUED, "", "user", float(number), plan_digest="ab" * 32)
    return StoredExperiment(summary, "cd" * 32, b"signature" * 8, b"certificate" * 40)


def fill_director(place: Path) -> SqliteDirectorStore:
    store = SqliteDirectorStore(DirectorFiles(place))
    for number in range(12):
        store.add(f"{number:016x}", stored(number))
    store.set_status("e-1", Status.FAILED, "the director failed on purpose", 5.0)
    store.record_envoy(EnvoyRecord("site-1", online=False, last_seen=3.0, shard=ShardFacts((1,), (), "a shard", {})))
    return store


def read_director(place: Path) -> object:
    with closing(SqliteDirectorStore(DirectorFiles(place))) as store:
        store.verify()
        return store.experiments(), [store.experiment(f"e-{number}") for number in range(12)]


def fill_experiment(place: Path) -> SqliteExperimentStore:
    store = SqliteExperimentStore(ExperimentFiles(place))
    store.take_epoch()
    for number in range(12):
        version = ModelVersion(number, f"{number:064x}", {"loss": 0.5}, best=number % 3 == 0)
        announcement = RoundFinished(number, "d", contributors=("site-1", "site-2") * 4)
        told = [TimedAnnouncement(float(number), announcement)]
        store.commit(Commit(float(number), {"round": number}, told, [version], durable=True))
    store.commit(Commit(13.0, {"round": 12}, sha256={11: "ef" * 32}, durable=True))
    return store


def read_experiment(place: Path) -> object:
    with closing(SqliteExperimentStore(ExperimentFiles(place))) as store:
        store.verify()
        return store.snapshot(), store.events(), store.versions()


Fill = Callable[[Path], SqliteDirectorStore | SqliteExperimentStore]
STORES: dict[str, tuple[str, Fill, Callable[[Path], object]]] = {
    "director": (DIRECTOR_DB, fill_director, read_director),
    "experiment": (EXPERIMENT_DB, fill_experiment, read_experiment),
}
each_store = pytest.mark.parametrize("which", STORES)


def killed(place: Path, fill: Fill) -> Path:
    """What a store leaves behind when its process is killed: the last transactions are in the log only."""
    place.mkdir()
    with closing(fill(place)):
        shutil.copytree(place, place.with_suffix(".killed"))
    return place.with_suffix(".killed")


def refuses(read: Callable[[Path], object], origin: Path, whole: object, name: str, kind: Damage, seed: int) -> bool:
    """Damages a file of a copy; tells whether it is refused, with file and cure, or else has all that was written."""
    place = origin.with_name(f"damaged-{kind}-{seed}")
    shutil.copytree(origin, place)
    what = damage(place / name, kind, seed)
    try:
        found = read(place)
    except DamagedError as error:
        return name.partition("-")[0] in error.place and "backup" in error.cure
    assert found == whole, what
    return False


@each_store
@each_cell
def test_what_is_damaged_is_refused_or_has_lost_nothing(which: str, part: str, kind: Damage, tmp_path: Path) -> None:
    name, fill, read = STORES[which]
    origin = killed(tmp_path / "origin", fill)
    shutil.copytree(origin, tmp_path / "whole")
    whole = read(tmp_path / "whole")
    refused = sum(refuses(read, origin, whole, f"{name}{part}", kind, seed) for seed in SEEDS)
    if part == "-wal":  # the file itself is not read where the log has its pages, and a mark only helps
        assert refused


@each_store
@pytest.mark.parametrize("part", ["", "-wal"])
def test_a_file_that_has_vanished_is_missed(which: str, part: str, tmp_path: Path) -> None:
    name, fill, read = STORES[which]
    place = killed(tmp_path / "origin", fill)
    (place / f"{name}{part}").unlink()
    with pytest.raises(DamagedError, match=r"transactions that were acknowledged|not a database|malformed"):
        read(place)


@each_store
@pytest.mark.parametrize("kind", Damage)
def test_what_is_damaged_in_a_closed_database_is_refused_or_has_lost_nothing(
    which: str, kind: Damage, tmp_path: Path
) -> None:
    name, fill, read = STORES[which]
    origin = tmp_path / "origin"
    origin.mkdir()
    fill(origin).close()
    shutil.copytree(origin, tmp_path / "whole")
    whole = read(tmp_path / "whole")
    refused = sum(refuses(read, origin, whole, name, kind, seed) for seed in range(24))
    assert refused


def fill_up(store: SqliteDirectorStore) -> None:
    for number in range(100, 200):
        store.add(f"{number:016x}", stored(number))


def test_a_database_without_room_says_so_and_has_what_it_had(tmp_path: Path) -> None:
    with closing(fill_director(tmp_path)) as store:
        with store._database.transaction() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")  # SQLite says of it what it says of a disk
        with pytest.raises(StorageError, match="no room on the disk") as caught:
            fill_up(store)
        assert caught.value.code == "E307"
        with store._database.transaction() as connection:
            connection.exec_driver_sql("PRAGMA max_page_count=1000000")
        assert store.add("f" * 16, stored(999)).id == "e-999"
        store.verify()


@each_store
def test_the_mark_counts_what_must_be_there(which: str, tmp_path: Path) -> None:
    name, fill, read = STORES[which]
    fill(tmp_path).close()
    before = read_mark(mark_of(tmp_path / name))
    assert before > 12
    read(tmp_path)
    assert read_mark(mark_of(tmp_path / name)) == before


def test_a_row_that_was_changed_by_hand_does_not_get_a_new_checksum(tmp_path: Path) -> None:
    with closing(fill_director(tmp_path)) as store:
        with store._database.transaction() as connection:
            connection.exec_driver_sql("UPDATE experiments SET bundle = 'another' WHERE id = 'e-3'")
        with pytest.raises(DamagedError, match="row e-3 of 'experiments'"):
            store.set_status("e-3", Status.STARTING, "", 1.0)
        with pytest.raises(DamagedError, match="row e-3 of 'experiments'"):
            store.verify()
