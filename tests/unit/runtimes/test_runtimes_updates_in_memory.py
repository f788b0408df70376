"""Updates that are in no file unless one is needed."""

import numpy as np
import pytest

from openfl_like.federation.task import Phase, Update
from openfl_like.runtimes.updates_in_memory import (
    ALL_BYTES,
    COPIES_BYTES,
    MOST_BYTES,
    MOST_UPDATES,
    CopiesInMemory,
    UpdatesInMemory,
)
from openfl_like.store.files import ExperimentFiles
from openfl_like.tensors.memory import TensorMemory
from openfl_like.testing.performers import read_vector


def update(site: str, number: int = 1, digest: str = "d") -> Update:
    return Update(number, Phase.TRAIN, site, digest, 1)


@pytest.fixture
def memory(files: ExperimentFiles) -> UpdatesInMemory:
    return UpdatesInMemory(files)


def content(value: float) -> TensorMemory:
    return TensorMemory.of({"weights": np.full(4, value, np.float32)})


def test_an_update_is_found_by_whose_it_is_and_what_it_is(memory: UpdatesInMemory) -> None:
    kept = content(1.0)
    memory.keep(update("bern"), kept)
    assert memory.find(update("bern")) is kept
    assert memory.find(update("zurich")) is None
    assert memory.find(update("bern", digest="another")) is None


def test_what_is_written_is_in_the_spool_and_no_more_in_memory(memory: UpdatesInMemory, files: ExperimentFiles) -> None:
    memory.keep(update("bern"), content(3.0))
    memory.write()
    assert (len(memory), memory.find(update("bern"))) == (0, None)
    assert read_vector(files.update(1, Phase.TRAIN, "bern")).tolist() == [3.0] * 4


def test_closed_rounds_are_let_go(memory: UpdatesInMemory) -> None:
    for number in (1, 2, 3):
        memory.keep(update("bern", number), content(number))
    memory.let_go(2)
    assert [memory.find(update("bern", number)) is not None for number in (1, 2, 3)] == [False, False, True]


def test_too_many_are_written(memory: UpdatesInMemory, files: ExperimentFiles) -> None:
    same = content(1.0)
    for place in range(MOST_UPDATES + 1):
        memory.keep(update(f"site-{place}"), same)
    assert len(memory) == 1
    assert len(list((files.directory / "spool").iterdir())) == MOST_UPDATES


def test_large_ones_are_written_before_they_fill_the_memory(memory: UpdatesInMemory, files: ExperimentFiles) -> None:
    large = TensorMemory.of({"weights": np.zeros(MOST_BYTES // 4, np.float32)})
    fit = ALL_BYTES // large.size_bytes
    for place in range(fit + 1):
        memory.keep(update(f"site-{place}"), large)
    assert len(memory) == 1
    assert len(list((files.directory / "spool").iterdir())) == fit


def test_of_many_rounds_in_a_row_the_former_ones_go_and_nothing_is_written(
    memory: UpdatesInMemory, files: ExperimentFiles
) -> None:
    same = content(1.0)
    for number in range(1, 2 * MOST_UPDATES // 100):
        for place in range(100):
            memory.keep(update(f"site-{place}", number), same)
        assert all(memory.find(update(f"site-{place}", number)) is same for place in range(100))
    assert len(memory) <= MOST_UPDATES
    assert list((files.directory / "spool").iterdir()) == []


def test_copies_are_kept_while_there_is_room_and_until_their_round_is_closed() -> None:
    copies = CopiesInMemory()
    large = TensorMemory.of({"weights": np.zeros(COPIES_BYTES // 4 // 2, np.float32)}).to_bytes()
    for place, number in enumerate((1, 2)):
        copies.keep(update(f"site-{place}", number), large)
        copies.keep(update(f"site-{place}", number), large)
    assert [copies.find(update("site-0", 1)) is not None, copies.find(update("site-1", 2)) is not None] == [True, False]
    copies.let_go(1)
    copies.keep(update("site-1", 2), large)
    assert [copies.find(update("site-0", 1)) is not None, copies.find(update("site-1", 2)) is not None] == [False, True]
