"""An experiment that was removed is not there, and one that must not go stays as a whole."""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from openfl_like.errors import ConflictError, NotFoundError, StorageError
from openfl_like.federation.announcements import ExperimentImported
from openfl_like.federation.parties import RemovedExperiment
from openfl_like.pki.roles import Role
from openfl_like.pki.signing import sign_bundle
from openfl_like.services.director.access import ExperimentAccess
from openfl_like.services.director.recovery import remove_leftovers
from openfl_like.services.director.removal import DAY_S, Removals
from openfl_like.services.director.settings import DirectorFile
from openfl_like.store.director_files import REMOVING, DirectorFiles
from openfl_like.store.files import ExperimentFiles
from openfl_like.store.ports import DirectorStore
from openfl_like.store.sqlite.stores import SQLITE
from openfl_like.testing.certificates import ThrowAwayFederation
from openfl_like.testing.faults.checkpoint_moves import EXPERIMENT, REQUEST, OfflineDirector, remains_of_removed

ENDED_AT = 2.0


@pytest.fixture
async def here(director: Callable[[str], OfflineDirector]) -> OfflineDirector:
    made = director("here")
    await made.run(cancel_after=2)
    return made


@pytest.fixture
def store(here: OfflineDirector) -> Iterator[DirectorStore]:
    with closing(SQLITE.director(DirectorFiles(here.state))) as opened:
        yield opened


def _nothing(_: str) -> None:
    pass


def removals(
    here: OfflineDirector, store: DirectorStore, forget: Callable[[str], None] = _nothing, days: float | None = None
) -> Removals:
    settings = DirectorFile(sample_shape=(1,), target_shape=(), state=here.state, retention_days=days)
    return Removals(settings, store, SQLITE, forget)


async def test_what_was_removed_is_not_there_and_what_was_freed_is_told(
    here: OfflineDirector, store: DirectorStore
) -> None:
    inodes = {path.stat().st_ino: path.stat().st_size for path in here.files.directory.rglob("*") if path.is_file()}
    told: list[str] = []
    removing = removals(here, store, told.append)
    removed = await removing.remove("ada", EXPERIMENT)
    assert not here.files.directory.exists()  # the id is free
    await removing.settle()
    assert removed == RemovedExperiment(EXPERIMENT, 3, sum(inodes.values()))
    assert str(removed).startswith("its record, its bundle and 3 models, ")
    assert told == [EXPERIMENT]
    with pytest.raises(NotFoundError):
        store.experiment(EXPERIMENT)
    assert store.requested("ada", REQUEST) is None
    assert remains_of_removed(here.state) == []
    with pytest.raises(NotFoundError):
        await removals(here, store).remove("ada", EXPERIMENT)


async def test_one_that_has_not_ended_stays_and_the_cure_is_named(here: OfflineDirector, store: DirectorStore) -> None:
    store.requeue(EXPERIMENT, "ada")
    before = sorted(here.files.directory.rglob("*"))
    with pytest.raises(ConflictError, match="QUEUED; only one that has ended can be removed") as caught:
        await removals(here, store).remove("ada", EXPERIMENT)
    assert caught.value.cure == f"'fx experiment cancel {EXPERIMENT}' ends it"
    assert sorted(here.files.directory.rglob("*")) == before
    store.require(EXPERIMENT)


def _die(_: str) -> None:
    raise KeyboardInterrupt


def test_a_director_that_dies_when_the_row_is_gone_removes_the_rest_at_its_next_start(
    here: OfflineDirector, store: DirectorStore
) -> None:
    with pytest.raises(KeyboardInterrupt):
        removals(here, store, _die, days=1).remove_old(ENDED_AT + 2 * DAY_S)
    assert here.files.directory.is_dir()
    assert remove_leftovers(DirectorFiles(here.state), set(), SQLITE) == [here.files.directory]
    assert remains_of_removed(here.state) == []


def test_a_director_that_dies_before_the_row_is_gone_has_the_experiment_as_before(
    here: OfflineDirector, store: DirectorStore
) -> None:
    mark = here.files.directory / REMOVING
    mark.touch()
    assert remove_leftovers(DirectorFiles(here.state), {EXPERIMENT}, SQLITE) == []
    assert not mark.exists()
    assert sorted(here.files.models()) == [0, 1, 2]
    store.require(EXPERIMENT)


def test_what_ended_too_long_ago_goes_and_the_log_says_so(
    here: OfflineDirector, store: DirectorStore, caplog: pytest.LogCaptureFixture
) -> None:
    later = ENDED_AT + 3 * DAY_S
    assert removals(here, store).remove_old(later) == []  # nothing goes by itself unless the settings say so
    keeping = removals(here, store, days=3)
    assert keeping.remove_old(later - 1) == []
    store.require(EXPERIMENT)
    with caplog.at_level(logging.INFO):
        (removed,) = keeping.remove_old(later + 1)
    assert removed.experiment == EXPERIMENT
    assert f"experiment {EXPERIMENT} removed, it ended over 3 days ago: its record, its bundle and" in caplog.text
    assert remains_of_removed(here.state) == []


def test_what_has_not_ended_never_gets_too_old(here: OfflineDirector, store: DirectorStore) -> None:
    store.requeue(EXPERIMENT, "ada")
    assert removals(here, store, days=3).remove_old(ENDED_AT + 9 * DAY_S) == []
    store.require(EXPERIMENT)


async def test_an_id_that_comes_back_belongs_to_who_brings_it(
    here: OfflineDirector, store: DirectorStore, tmp_path: Path
) -> None:
    access, stored = ExperimentAccess(store), store.experiment(EXPERIMENT)
    access.require(here.user.identity, EXPERIMENT)
    await removals(here, store, access.forget).remove("ada", EXPERIMENT)
    bob = ThrowAwayFederation(tmp_path / "pki", "here").credentials(Role.USER, "bob")
    signature = sign_bundle(stored.bundle, bob)
    summary = replace(stored.summary, owner="bob")
    store.add(REQUEST, replace(stored, summary=summary, signature=signature, certificates=bob.chain))
    access.require(bob.identity, EXPERIMENT)
    with pytest.raises(NotFoundError):
        access.require(here.user.identity, EXPERIMENT)


async def test_who_removes_does_not_wait_until_its_files_are_deleted(
    here: OfflineDirector, store: DirectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, delete = threading.Event(), ExperimentFiles.remove

    def wait_and_delete(files: ExperimentFiles) -> None:
        slow.wait()
        delete(files)

    monkeypatch.setattr(ExperimentFiles, "remove", wait_and_delete)
    removing = removals(here, store)
    try:
        async with asyncio.timeout(5):
            await removing.remove("ada", EXPERIMENT)
        (gone,) = remains_of_removed(here.state)
        assert gone.startswith("unpacked-")  # the next start clears it if this is the end
    finally:
        slow.set()
    await removing.settle()
    assert remains_of_removed(here.state) == []


def test_one_that_cannot_be_removed_keeps_no_other(
    here: OfflineDirector, store: DirectorStore, caplog: pytest.LogCaptureFixture
) -> None:
    stored = store.experiment(EXPERIMENT)
    store.add("22" * 16, replace(stored, summary=replace(stored.summary, id="e-00000002")))

    def refuse(experiment: str) -> None:
        if experiment == EXPERIMENT:
            raise StorageError("the disk is read-only")

    removed = removals(here, store, refuse, days=1).remove_old(ENDED_AT + 2 * DAY_S)
    assert [item.experiment for item in removed] == ["e-00000002"]
    assert f"experiment {EXPERIMENT} is old and cannot be removed: the disk is read-only" in caplog.text


def test_one_that_was_imported_is_kept_for_as_long_from_then_on(here: OfflineDirector, store: DirectorStore) -> None:
    imported_at = ENDED_AT + 100 * DAY_S
    with closing(SQLITE.experiment(here.files)) as record:
        record.announce(imported_at, ExperimentImported("ada", "there", "ada"))
    keeping = removals(here, store, days=3)
    assert keeping.remove_old(imported_at + 2 * DAY_S) == []
    store.require(EXPERIMENT)
    assert [item.experiment for item in keeping.remove_old(imported_at + 4 * DAY_S)] == [EXPERIMENT]
