"""What every store promises of small files that it keeps for an experiment until they are on disk."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from openfl_like.errors import ConflictError
from openfl_like.federation.announcements import UnknownAnnouncement
from openfl_like.store.files import ExperimentFiles
from openfl_like.store.ports import Commit, ExperimentStore, FileContent, Stores, TimedAnnouncement
from openfl_like.store.sqlite.stores import SQLITE
from openfl_like.testing.stores import memory_stores


@pytest.fixture(params=["sqlite", "memory"])
def stores(request: pytest.FixtureRequest) -> Stores:
    return SQLITE if request.param == "sqlite" else memory_stores()


@pytest.fixture
def files(tmp_path: Path) -> ExperimentFiles:
    return ExperimentFiles(tmp_path)


@pytest.fixture
def record(stores: Stores, files: ExperimentFiles) -> Iterator[ExperimentStore]:
    with closing(stores.experiment(files)) as opened:
        yield opened


def step(kind: str) -> Commit:
    return Commit(1.0, {"at": 1.0}, [TimedAnnouncement(1.0, UnknownAnnouncement(kind, {}))])


MODEL, STATE = FileContent(0, "aa" * 32, b"\0model\xff"), FileContent(0, "cc" * 32, b"state", is_state=True)
LATER = FileContent(1, "bb" * 32, b"")


def test_contents_of_files_are_kept_until_they_are_settled(record: ExperimentStore) -> None:
    assert record.contents() == []
    record.commit(replace(step("one"), durable=True, contents=[STATE, MODEL]))
    assert record.contents() == [MODEL, STATE]
    record.commit(replace(step("two"), durable=True, contents=[LATER]))
    assert record.contents() == [MODEL, STATE, LATER]
    record.commit(replace(step("three"), settled={0, 7}))
    assert record.contents() == [LATER]


def test_the_content_of_a_round_that_is_published_again_replaces_itself(record: ExperimentStore) -> None:
    record.commit(replace(step("one"), contents=[MODEL, STATE]))
    again = replace(MODEL, digest="dd" * 32, data=b"another")
    record.commit(replace(step("two"), contents=[again]))
    assert record.contents() == [again, STATE]


def test_contents_are_there_after_a_restart_and_only_with_their_step(stores: Stores, files: ExperimentFiles) -> None:
    with closing(stores.experiment(files)) as record:
        record.commit(replace(step("one"), contents=[MODEL]))
        with closing(stores.experiment(files)) as successor:
            successor.take_epoch()
        with pytest.raises(ConflictError):
            record.commit(replace(step("two"), contents=[LATER], settled={0}))
    with closing(stores.experiment(files)) as record:
        assert record.contents() == [MODEL]


def test_a_checkpoint_changes_nothing(record: ExperimentStore) -> None:
    for number in range(20):
        record.commit(replace(step("one"), contents=[replace(MODEL, round=number, data=bytes(1 << 18))], durable=True))
    record.checkpoint()
    assert len(record.contents()) == 20
    record.commit(step("two"))
    assert [event.kind for event in record.events()] == ["one"] * 20 + ["two"]
