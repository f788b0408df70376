"""The site's record: complete when the Envoy was killed, bound to one bundle, and as short as the site wants."""

from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Thread

import pytest

from openfl_like.errors import NotAllowedError
from openfl_like.federation.history.site import LastWord, PartEnd, PerformedTasks, SitePart, spans, task_counts
from openfl_like.federation.task import Phase
from openfl_like.services.envoy.record import SiteRecord
from openfl_like.store.ports import SiteStore
from openfl_like.store.site_files import SiteFiles
from openfl_like.store.site_journal import note, notes
from openfl_like.testing.stores import MemorySiteStore, memory_stores

ADA, BUNDLE = "fx://hospitals/user/ada", "ab" * 32
ONE, TWO, THREE = "digits-00000001", "digits-00000002", "digits-00000003"
TRAINED = PerformedTasks(11.5, 1, Phase.TRAIN, ("train", "validate"))


@pytest.fixture
def files(tmp_path: Path) -> SiteFiles:
    return SiteFiles(tmp_path)


@pytest.fixture
def store(files: SiteFiles) -> SiteStore:
    return memory_stores().site(files)


@pytest.fixture
def record(store: SiteStore, files: SiteFiles) -> SiteRecord:
    return SiteRecord(store, files)


def works(record: SiteRecord, experiment: str, *items: PerformedTasks | LastWord) -> int:
    """Takes an order, and notes as its Collaborator does."""
    number = record.begin(experiment, ADA, BUNDLE)
    record.files.experiment(experiment).clear()
    for item in items:
        note(record.noted(experiment), item)
    return number


def test_the_end_has_what_was_noted_and_what_the_aggregator_said(record: SiteRecord, store: SiteStore) -> None:
    number = works(record, ONE, TRAINED, LastWord("CANCELLED", "cancelled by ada"))
    record.end(number, ONE, PartEnd.STOPPED, "the experiment has ended")
    (part,) = store.parts()
    assert (part.identity, part.bundle, part.performed) == (ADA, BUNDLE, (TRAINED,))
    assert (part.end, part.reason) == (PartEnd.CANCELLED, "cancelled by ada")
    assert not record.noted(ONE).exists()


@pytest.mark.parametrize("word", [None, LastWord("RUNNING", "what is no end")])
def test_without_a_last_word_it_ended_as_the_site_saw_it(
    record: SiteRecord, store: SiteStore, word: LastWord | None
) -> None:
    record.end(works(record, ONE, *([word] if word else [])), ONE, PartEnd.BROKEN, "exit code 3")
    assert [(part.end, part.reason) for part in store.parts()] == [(PartEnd.BROKEN, "exit code 3")]


def test_after_a_kill_the_next_envoy_says_that_it_was_interrupted(record: SiteRecord, store: SiteStore) -> None:
    record.end(works(record, ONE, LastWord("FINISHED", "done")), ONE, PartEnd.STOPPED, "")
    works(record, TWO, TRAINED)
    record.recover()  # the next Envoy's start
    finished, killed = store.parts()
    assert finished.end is PartEnd.FINISHED
    assert (killed.end, killed.reason) == (PartEnd.INTERRUPTED, "the envoy ended without recording it")
    assert killed.performed == (TRAINED,)
    record.recover()
    assert store.parts() == [finished, killed]


def test_an_id_belongs_to_one_bundle_also_when_its_end_is_long_past(record: SiteRecord, store: SiteStore) -> None:
    record.end(works(record, ONE), ONE, PartEnd.FINISHED, "")
    assert record.begin(ONE, "fx://hospitals/user/bob", BUNDLE) == 2  # imported elsewhere: other hands, the same code
    with pytest.raises(NotAllowedError, match=f"'{ONE}' had another bundle when it was here before") as caught:
        record.begin(ONE, ADA, "cd" * 32)
    assert "new experiment" in caught.value.cure
    assert len(store.parts()) == 2


def test_a_part_of_which_nothing_came_is_forgotten(record: SiteRecord, store: SiteStore) -> None:
    record.forget(works(record, ONE))
    assert store.parts() == []


def test_the_last_ones_are_kept_and_the_folders_of_the_others_go(store: SiteStore, files: SiteFiles) -> None:
    record = SiteRecord(store, files, keep=2)
    names = [f"digits-{number:08x}" for number in range(4)]
    going_on = works(record, "open-00000000")
    for name in names:
        record.end(works(record, name), name, PartEnd.FINISHED, "")
    assert [part.experiment for part in store.parts()] == ["open-00000000", *names[2:]]
    assert sorted(path.name for path in files.directory.iterdir()) == [*names[2:], "open-00000000"]
    works(record, names[2])  # it goes on, and its folder stays although its former part goes
    record.end(going_on, "open-00000000", PartEnd.FINISHED, "")
    record.end(works(record, names[0]), names[0], PartEnd.FINISHED, "")
    assert files.experiment(names[2]).directory.exists()


def test_experiments_are_counted_and_not_their_parts(store: SiteStore, files: SiteFiles) -> None:
    record = SiteRecord(store, files, keep=2)
    for name in (ONE, TWO, ONE, ONE, TWO, ONE):  # resumed, restarted or refused again and again
        record.end(works(record, name), name, PartEnd.STOPPED, "")
    assert [part.experiment for part in store.parts()] == [ONE, TWO, ONE, ONE, TWO, ONE]
    record.end(works(record, THREE), THREE, PartEnd.FINISHED, "")
    assert [part.experiment for part in store.parts()] == [ONE, ONE, ONE, ONE, THREE]  # TWO ended first
    assert not files.experiment(TWO).directory.exists()
    assert files.experiment(ONE).directory.exists()


class OrderedMeanwhile(MemorySiteStore):
    """An order comes from another thread while old parts are removed, and is taken at once if it may be."""

    order: Callable[[], object] | None = None
    thread: Thread | None = None

    def remove(self, parts: Sequence[int]) -> None:
        super().remove(parts)
        if self.order is not None:
            self.thread, self.order = Thread(target=self.order), None
            self.thread.start()
            self.thread.join(0.2)  # one that has to wait is not waited for


def test_an_experiment_that_is_ordered_again_keeps_its_folder(files: SiteFiles) -> None:
    store = OrderedMeanwhile()
    record = SiteRecord(store, files, keep=1)
    record.end(works(record, ONE), ONE, PartEnd.FINISHED, "")
    store.order = lambda: works(record, ONE)
    record.end(works(record, TWO), TWO, PartEnd.FINISHED, "")  # ONE has to go
    assert store.thread is not None
    store.thread.join()
    assert [part.experiment for part in store.parts()] == [TWO, ONE]
    assert files.experiment(ONE).directory.exists()


class LightStore(MemorySiteStore):
    """Refuses to read all that was ever done."""

    def parts(self, experiment: str | None = None, *, performed: bool = True) -> list[SitePart]:
        assert not performed, "the whole record is read"
        return super().parts(experiment, performed=performed)


def test_no_order_and_no_end_reads_all_that_was_ever_done(files: SiteFiles) -> None:
    record = SiteRecord(LightStore(), files, keep=1)
    record.recover()
    record.end(works(record, ONE), ONE, PartEnd.FINISHED, "")


def test_what_is_no_note_of_ours_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "performed"
    note(path, TRAINED)
    with path.open("ab") as file:
        file.write(b'\xff\xfe\n{"round": 1}\n[]\n' + b"[" * 100_000 + b'\n{"status": "FINISHED", "reason": "x"')
    note(path, LastWord("FINISHED", "y" * 5000))
    assert notes(path) == ((TRAINED,), None)  # the last line follows on what is none
    note(path, LastWord("FINISHED", "y" * 5000))
    assert notes(path) == ((TRAINED,), LastWord("FINISHED", "y" * 2000))
    assert notes(tmp_path / "missing") == ((), None)


def test_rounds_and_tasks_as_people_read_them() -> None:
    failed = PerformedTasks(1.0, 7, Phase.TRAIN, ("train",), "no")
    assert spans([3, 0, 1, 2, 5, 5, 8, 9]) == "0-3, 5, 8-9"
    assert task_counts([TRAINED, failed, TRAINED]) == {"train": 2, "validate": 2}
