"""The recorder: what it has the store do besides commits."""

import itertools
from collections.abc import Iterator
from contextlib import closing
from typing import cast

import pytest
from pydantic import JsonValue

from openfl_like.federation.announcements import CollaboratorAway
from openfl_like.federation.events import Announce
from openfl_like.federation.experiment import Experiment
from openfl_like.runtimes.models import ModelRepository
from openfl_like.runtimes.recorder import CHECKPOINT_AFTER, Record, Recorder
from openfl_like.store.files import ExperimentFiles
from openfl_like.store.sqlite.experiment import EXPERIMENT_DB, SqliteExperimentStore
from openfl_like.store.sqlite.log_length import LONG_LOG_BYTES


class LongRound:
    """An experiment in a round with so many sites that its state is large."""

    versions = ()

    def __init__(self) -> None:
        self._letters = itertools.cycle("abc")

    def snapshot(self) -> dict[str, JsonValue]:
        """Return the state, which is another one each time."""
        return {"sites": next(self._letters) * (LONG_LOG_BYTES // CHECKPOINT_AFTER)}


@pytest.fixture
def store(files: ExperimentFiles) -> Iterator[SqliteExperimentStore]:
    with closing(SqliteExperimentStore(files)) as opened:
        yield opened


async def test_the_log_of_a_long_round_does_not_grow_for_ever(
    store: SqliteExperimentStore, repository: ModelRepository, files: ExperimentFiles
) -> None:
    recorder = Recorder(cast("Experiment", LongRound()), Record(store, repository))
    for number in range(8 * CHECKPOINT_AFTER):
        recorder.take([Announce(CollaboratorAway(f"site-{number}", "it is away"))], 1.0)
        await recorder.commit(1.0)
        await recorder.tidied()  # between two events there is time
    assert (files.directory / f"{EXPERIMENT_DB}-wal").stat().st_size < 4 * LONG_LOG_BYTES
