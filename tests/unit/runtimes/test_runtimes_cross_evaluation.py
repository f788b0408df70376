"""Cross evaluation over files: a bad update is dropped and its owner blamed, whatever dies when, compressed or not."""

from pathlib import Path

import numpy as np
import pytest

from openfl_like.errors import NotAllowedError
from openfl_like.events.bus import EventBus
from openfl_like.federation.announcements import CollaboratorAbsent, UpdateReceived, only
from openfl_like.federation.components import build_encoding
from openfl_like.federation.deliveries import Deliveries
from openfl_like.federation.events import PlaceUpdates, SendAssignment
from openfl_like.federation.seeds import compression_seed
from openfl_like.federation.status import Status
from openfl_like.federation.task import Assignment, Phase, Update
from openfl_like.federation.validation.scoring import UpdatesScored
from openfl_like.federation.validation.verdict import UpdatesJudged
from openfl_like.plan.schema import Plan
from openfl_like.runtimes.loop import ExperimentLoop
from openfl_like.runtimes.mailbox import MailboxRuntime
from openfl_like.runtimes.models import ModelRepository
from openfl_like.services.aggregator.service import Aggregator
from openfl_like.store.files import ExperimentFiles
from openfl_like.tensors.container import read_tensors, write_tensors
from openfl_like.tensors.encoded import Sent, open_update, write_encoded
from openfl_like.tensors.manifest import file_digest
from openfl_like.testing.performers import FakePerformer, read_vector
from openfl_like.testing.stores import MemoryExperimentStore, MemoryRecord
from tests.unit.runtimes.loop_runs import CrashError, DyingStore, PlanWith, Run, Unwritten

SECTION = {"metric": "accuracy", "margin": 3.0}
QUORUM = {"policy": "quorum", "min_updates": 3}
LIAR = "davos"


def sites(kind: type[FakePerformer] = FakePerformer) -> dict[str, FakePerformer]:
    """Four honest sites, whose training adds one to every element, and one that goes six times as far the other way."""
    return {name: kind(step=-6.0 if name == LIAR else 1.0) for name in ("ada", "bern", "chur", LIAR, "erlach")}


@pytest.fixture
def plan(plan_with: PlanWith) -> Plan:
    return plan_with(cross_evaluation=SECTION, participation=QUORUM)


async def test_an_update_whose_sign_is_flipped_is_dropped_and_its_owner_is_blamed(
    plan: Plan, plan_with: PlanWith, tmp_path: Path
) -> None:
    models = {}
    for name, given in (("with", plan), ("without", plan_with(participation=QUORUM))):
        files = ExperimentFiles(tmp_path / name)
        files.prepare()
        run = Run(given, MemoryExperimentStore(MemoryRecord()), files.directory)
        assert (await run.to_its_end(sites())).status is Status.FINISHED
        models[name] = read_vector(files.model(2))[0]
        if name == "with":
            verdicts = [verdict for told in run.only(UpdatesJudged) for verdict in told.verdicts]
            assert [(one.collaborator, one.validator) for one in verdicts] == [(LIAR, "cross_evaluation")] * 2
            assert all(one.scorer != LIAR for one in verdicts)
            blamed = [told for told in run.only(CollaboratorAbsent) if told.failure is not None]
            assert {told.collaborator for told in blamed} == {LIAR}
    assert models == {"with": 2.0, "without": pytest.approx(-0.8)}


@pytest.mark.parametrize("kind", [FakePerformer, Unwritten], ids=["files", "memory"])
@pytest.mark.parametrize("after", [True, False], ids=["after the commit", "before the commit"])
async def test_after_a_crash_at_any_commit_everybody_is_scored_once_and_the_bytes_are_the_same(
    plan: Plan, tmp_path: Path, kind: type[FakePerformer], *, after: bool
) -> None:
    crashed, nth, told = True, 0, list[list[UpdatesScored]]()
    while crashed:
        nth += 1
        files = ExperimentFiles(tmp_path / f"crash-{nth}")
        files.prepare()
        record = MemoryRecord()
        crashed = False
        store = DyingStore(record, nth, after=after)
        performers = sites(kind)
        try:
            outcome = await Run(plan, store, files.directory).to_its_end(performers)
        except CrashError:
            crashed = True
            outcome = await Run(plan, MemoryExperimentStore(record), files.directory).to_its_end(performers)
        assert outcome.status is Status.FINISHED, outcome.reason
        assert np.array_equal(read_vector(files.model(2)), np.full(4, 2.0, np.float32)), nth
        received = [(one.round, one.phase, one.collaborator) for one in only(store.events(), UpdateReceived)]
        assert len(received) == len({*received})
        told.append(only(store.events(), UpdatesScored))
    assert nth > 10
    assert all(one == told[-1] for one in told)
    assert [one.round for one in told[-1]] == [1, 2]


@pytest.mark.parametrize(
    "pipeline",
    [
        {"template": "quantise"},
        {"template": "top_k", "settings": {"fraction": 0.1}},
        {"lossless": {"template": "zstd"}},
    ],
)
def test_what_is_scored_is_the_model_that_a_compressed_update_stands_for(
    plan_with: PlanWith, tmp_path: Path, pipeline: dict[str, object]
) -> None:
    plan = plan_with(cross_evaluation=SECTION, compression_pipeline=pipeline)
    files = ExperimentFiles(tmp_path)
    files.prepare()
    drawn = np.random.default_rng(1)
    base: dict[str, np.ndarray] = {
        "a": drawn.normal(size=(300, 300)).astype(np.float32),
        "b": np.arange(5),
        "c": np.array(2.0, np.float32),
    }
    write_tensors(files.model(0), base, sync=False)
    repository = ModelRepository(plan, files)
    digest = file_digest(files.model(0))
    repository.put(digest, 0)
    encoding = build_encoding(plan)
    assert encoding is not None
    sent = Sent(encoding, compression_seed(plan.seed, 1, "ada"), files.model(0))
    trained = {**base, "a": base["a"] + drawn.normal(size=(300, 300)).astype(np.float32)}
    path = files.update(1, Phase.TRAIN, "ada")
    write_encoded(path, trained, sent, {})
    update = Update(1, Phase.TRAIN, "ada", file_digest(path), 10)
    placed = repository.scored.place(PlaceUpdates(1, digest, (update,)), files.model(0)).models["ada"]
    found = read_tensors(repository.path(placed))
    expected = open_update(path, sent)
    assert {*found} == {*base}
    for name, value in base.items():
        assert found[name].dtype == value.dtype
        assert np.array_equal(found[name], expected.tensor(name))
    expected.close()
    assert repository.manifest(placed).digest == placed
    again = ModelRepository(plan, files)
    assert again.scored.place(PlaceUpdates(1, digest, (update,)), files.model(0)).models == {"ada": placed}


async def test_an_update_is_served_to_nobody_but_the_site_that_scores_it_and_only_until_it_has(
    plan: Plan, tmp_path: Path
) -> None:
    files = ExperimentFiles(tmp_path)
    files.prepare()
    write_tensors(files.model(0), {"weights": np.zeros(4, np.float32)}, sync=False)
    repository, runtime = ModelRepository(plan, files), MailboxRuntime("", Deliveries())
    base = file_digest(files.model(0))
    repository.put(base, 0)
    path = files.update(1, Phase.TRAIN, "ada")
    write_tensors(path, {"weights": np.ones(4, np.float32)}, sync=False)
    update = Update(1, Phase.TRAIN, "ada", file_digest(path), 10)
    placed = repository.scored.place(PlaceUpdates(1, base, (update,)), files.model(0)).models["ada"]
    assert placed == update.digest
    store = MemoryExperimentStore(MemoryRecord())
    unused: ExperimentLoop = None  # type: ignore[assignment]  # nothing is posted
    aggregator = Aggregator(unused, runtime, repository, EventBus(store.events))
    with pytest.raises(NotAllowedError):
        await aggregator.model_file("bern", placed)
    await runtime.perform(SendAssignment(Assignment(1, Phase.CROSS_EVALUATE, "bern", (), placed, 0)))
    assert (await aggregator.model_file("bern", placed)).path == path
    with pytest.raises(NotAllowedError):
        await aggregator.model_file("chur", placed)
    runtime.committed(Update(1, Phase.CROSS_EVALUATE, "bern", "", 10))
    with pytest.raises(NotAllowedError):
        await aggregator.model_file("bern", placed)
    assert (await aggregator.model_file("chur", base)).path == files.model(0)
