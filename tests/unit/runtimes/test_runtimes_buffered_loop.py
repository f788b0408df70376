"""The buffered mode on the machine's own time: whatever dies when, the record says what every model is made of."""

import math
from pathlib import Path

import numpy as np
import pytest

from openfl_like.federation.announcements import Announced, UpdateReceived, only
from openfl_like.federation.status import Status
from openfl_like.federation.task import BufferTaken, Phase
from openfl_like.plan.schema import Plan
from openfl_like.store.files import ExperimentFiles
from openfl_like.testing.performers import read_vector
from openfl_like.testing.stores import MemoryExperimentStore, MemoryRecord
from tests.unit.runtimes.loop_runs import CrashError, DyingStore, PlanWith, Run, sites_of

NAMES = ("bern", "chur", "genf", "thun", "zug")
ROUNDS = 6


@pytest.fixture
def plan(plan_with: PlanWith) -> Plan:
    mode = {"template": "buffered", "settings": {"buffer": 2, "concurrency": 4}}
    store = {"keep": "all", "best": {"metric": "accuracy"}}
    return plan_with(mode=mode, aggregator={"settings": {"rounds_to_train": ROUNDS}}, model_store=store)


def models_of(history: list[Announced]) -> list[float]:
    """Every element of every model, as the record has it: a site adds its number, which is its weight, too."""
    elements = [0.0]
    for told in only(history, BufferTaken):
        weights = [1 + NAMES.index(site) for site in told.sites]
        moved = math.fsum(weight * weight * factor for weight, factor in zip(weights, told.factors, strict=True))
        elements.append(elements[-1] + moved / sum(weights))
    return elements


@pytest.mark.parametrize("after", [True, False], ids=["after the commit", "before the commit"])
async def test_after_a_crash_at_any_commit_the_models_are_those_of_the_record(
    plan: Plan, tmp_path: Path, *, after: bool
) -> None:
    crashed, nth, stale = True, 0, set[int]()
    while crashed:
        nth += 1
        files = ExperimentFiles(tmp_path / f"crash-{nth}")
        files.prepare()
        record = MemoryRecord()
        crashed = False
        store = DyingStore(record, nth, after=after)
        try:
            outcome = await Run(plan, store, files.directory).to_its_end(sites_of(*NAMES))
        except CrashError:
            crashed = True
            outcome = await Run(plan, MemoryExperimentStore(record), files.directory).to_its_end(sites_of(*NAMES))
        assert outcome.status is Status.FINISHED, outcome.reason
        history = store.events()
        assert [event.sequence for event in history] == list(range(1, len(history) + 1))
        slots = [(told.round, told.collaborator) for told in only(history, UpdateReceived) if told.phase is Phase.TRAIN]
        assert len(slots) == len({*slots})
        elements = models_of(history)
        assert len(elements) == ROUNDS + 1
        for number, element in enumerate(elements):
            assert read_vector(files.model(number)) == pytest.approx(np.full(4, element), rel=1e-5), (nth, number)
        stale |= {late for told in only(history, BufferTaken) for late in told.staleness}
    assert nth > 15
    assert max(stale) >= 1
