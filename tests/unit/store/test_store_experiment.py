"""The record of an experiment: each step is there as a whole or not at all."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openfl_like.errors import ConflictError
from openfl_like.federation.announcements import Announced, UnknownAnnouncement
from openfl_like.federation.events import ModelVersion
from openfl_like.store.experiment import EXPERIMENT_DB, Commit, ExperimentStore

FIRST, SECOND = ModelVersion(0, "aa" * 32), ModelVersion(1, "bb" * 32, {"accuracy": 0.5, "loss": 0.1}, best=True)


@pytest.fixture
def store(location: Path | None) -> Iterator[ExperimentStore]:
    opened = ExperimentStore(location)
    yield opened
    opened.close()


def step(*kinds: str, now: float = 1.0, version: tuple[ModelVersion, str] | None = None) -> Commit:
    published, hashes = ([version[0]], {version[0].round: version[1]}) if version else ([], {})
    return Commit(now, {"at": now}, [UnknownAnnouncement(kind, {"n": now}) for kind in kinds], published, hashes)


def test_a_new_record_is_empty(store: ExperimentStore) -> None:
    assert store.snapshot() is None
    assert store.events() == []
    assert store.versions() == []


def test_a_commit_answers_with_what_the_history_says(store: ExperimentStore) -> None:
    records = store.commit(step("a", "b", now=3.5))
    assert records == [
        Announced(1, 3.5, UnknownAnnouncement("a", {"n": 3.5})),
        Announced(2, 3.5, UnknownAnnouncement("b", {"n": 3.5})),
    ]
    assert store.events() == records


def test_events_are_numbered_without_gaps(store: ExperimentStore) -> None:
    for kinds in (["a"], [], ["b", "c", "d"], [], ["e"]):
        store.commit(step(*kinds))
    assert [(r.sequence, r.kind) for r in store.events()] == list(enumerate("abcde", 1))
    assert [r.kind for r in store.events(after=3)] == ["d", "e"]
    assert store.events(after=5) == []


def test_the_latest_event_of_some_kinds(store: ExperimentStore) -> None:
    assert store.latest("a", "b") is None
    records = store.commit(step("a", "b", "a", "c"))
    assert store.latest("a", "b") == records[2]
    assert store.latest("c") == records[3]
    assert store.latest("d") is None


def test_numbers_go_on_after_a_restart(tmp_path: Path) -> None:
    for kinds in (["a", "b"], ["c"]):
        store = ExperimentStore(tmp_path)
        store.commit(step(*kinds))
        store.close()
    store = ExperimentStore(tmp_path)
    assert [(r.sequence, r.kind) for r in store.events()] == [(1, "a"), (2, "b"), (3, "c")]
    store.close()


def test_only_the_newest_epoch_may_commit(tmp_path: Path) -> None:
    first, second = ExperimentStore(tmp_path), ExperimentStore(tmp_path)
    first.commit(step("a", now=1.0))
    first.check_epoch()
    assert (first.epoch, second.take_epoch()) == (1, 2)
    with pytest.raises(ConflictError, match="taken the experiment's record over from epoch 1"):
        first.commit(step("late", now=2.0, version=(FIRST, "s0")))
    with pytest.raises(ConflictError):
        first.check_epoch()
    assert (second.snapshot(), second.versions()) == ({"at": 1.0}, [])
    assert [record.sequence for record in second.commit(step("b", now=3.0))] == [2]
    assert [record.kind for record in first.events()] == ["a", "b"]
    first.close()
    second.close()


def test_an_epoch_alone_is_no_snapshot(store: ExperimentStore) -> None:
    assert store.take_epoch() == 1
    assert store.snapshot() is None
    assert store.take_epoch() == 2
    store.commit(step("a"))
    assert store.epoch == 2


def test_who_was_told_something_meanwhile_under_its_number_is_refused(tmp_path: Path) -> None:
    asleep, director = ExperimentStore(tmp_path), ExperimentStore(tmp_path)
    asleep.commit(step("a"))
    director.announce(2.0, UnknownAnnouncement("b"))
    with pytest.raises(ConflictError):
        asleep.commit(step("c", now=3.0))
    assert [record.kind for record in asleep.events()] == ["a", "b"]
    assert asleep.snapshot() == {"at": 1.0}
    asleep.close()
    director.close()


def test_the_last_snapshot_counts(store: ExperimentStore) -> None:
    store.commit(step(now=1.0))
    store.commit(step(now=2.0))
    assert store.snapshot() == {"at": 2.0}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=30)
@given(state=st.dictionaries(st.text(), json_values, max_size=5))
def test_any_snapshot_comes_back(state: dict[str, object]) -> None:
    store = ExperimentStore()
    store.commit(Commit(1.0, state))
    assert store.snapshot() == state
    store.close()


def test_versions_come_by_round_with_their_checksum_and_time(store: ExperimentStore) -> None:
    store.commit(step(now=2.0, version=(SECOND, "s1")))
    store.commit(step(now=1.0, version=(FIRST, "s0")))
    found = store.versions()
    assert [item.version for item in found] == [FIRST, SECOND]
    assert [(item.sha256, item.published_at) for item in found] == [("s0", 1.0), ("s1", 2.0)]


def test_a_record_that_cannot_be_read_is_not_left_open(tmp_path: Path) -> None:
    ExperimentStore(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / EXPERIMENT_DB)) as connection:
        connection.execute("DROP TABLE events")
    with pytest.raises(ConflictError, match="no such table: events") as caught:
        ExperimentStore(tmp_path)
    assert [file.path for file in psutil.Process().open_files() if file.path.startswith(str(tmp_path))] == []
    assert caught.tb is not None  # it keeps the store alive, so that nobody else has closed it


def test_a_round_that_is_published_again_replaces_itself(store: ExperimentStore) -> None:
    store.commit(step(version=(SECOND, "s1")))
    store.commit(step(version=(ModelVersion(1, "cc" * 32), "s2")))
    assert [(item.version.digest, item.sha256) for item in store.versions()] == [("cc" * 32, "s2")]


def test_a_step_that_fails_half_way_leaves_nothing(store: ExperimentStore) -> None:
    store.commit(step("a", now=1.0))
    bad = ModelVersion(1, "bb" * 32, {"accuracy": object()})  # type: ignore[dict-item] # what the database cannot take
    with pytest.raises(TypeError):
        store.commit(step("lost", now=2.0, version=(bad, "s")))
    assert store.snapshot() == {"at": 1.0}
    assert [r.kind for r in store.events()] == ["a"]
    assert store.versions() == []
    assert store.commit(step("b"))[0].sequence == 2


@pytest.mark.parametrize(("durable", "mode"), [(True, 2), (False, 1)], ids=["FULL", "NORMAL"])
def test_a_durable_transaction_is_synchronous(tmp_path: Path, mode: int, *, durable: bool) -> None:
    store = ExperimentStore(tmp_path)
    for _ in range(2):
        with store._database.transaction(durable=not durable):
            pass
        with store._database.transaction(durable=durable) as connection:
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == mode
    store.close()
