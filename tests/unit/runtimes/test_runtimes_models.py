"""The shelf: models by digest, also after a restart; what is kept and what is let go."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from openfl_like.errors import ConflictError, NotFoundError, TensorError, UpdateRefusedError
from openfl_like.federation.events import Aggregate, ModelVersion, ValidateUpdates
from openfl_like.federation.failure import Failure, FailureKind
from openfl_like.federation.task import Assignment, Phase, Update
from openfl_like.federation.validation.verdict import factors_of
from openfl_like.plan.schema import Plan
from openfl_like.runtimes.models import QUICK_BYTES, QUICK_IN_MEMORY_BYTES, ModelRepository, describe, in_threads
from openfl_like.store.files import ExperimentFiles
from openfl_like.tensors.container import write_tensors
from openfl_like.tensors.manifest import file_digest
from openfl_like.tensors.memory import TensorMemory
from openfl_like.testing.performers import FakePerformer, read_vector


def update_of(repository: ModelRepository, name: str, value: float, num_samples: int = 1) -> Update:
    job = Assignment(1, Phase.TRAIN, name, (), "", 0)
    performer = FakePerformer(step=value, num_samples=num_samples)
    return performer.perform(job, None, repository.spool_path(job))


def test_updates_become_the_model_of_the_round(repository: ModelRepository, files: ExperimentFiles) -> None:
    updates = update_of(repository, "bern", 1.0), update_of(repository, "zurich", 4.0, num_samples=2)
    digest = repository.aggregate(Aggregate(1, updates)).digest
    assert repository.path(digest) == files.model(1)
    assert file_digest(files.model(1)) == digest
    assert read_vector(files.model(1)).tolist() == [3.0] * 4
    repository.publish(ModelVersion(1, digest))
    assert repository.manifest(digest).digest == digest


def test_the_initial_model_is_copied_whatever_the_rule(plan_with: Callable[..., Plan], files: ExperimentFiles) -> None:
    rule = {"template": "trimmed_mean", "settings": {"fraction": 0.25}}
    repository = ModelRepository(plan_with(aggregation=rule), files)
    first = update_of(repository, "bern", 1.0)
    assert repository.aggregate(Aggregate(0, (first,))).digest == file_digest(repository.spool_path(first))
    with pytest.raises(UpdateRefusedError, match=r"of 1 updates the fraction 0\.25 is less than one"):
        repository.aggregate(Aggregate(1, (first,)))
    four = [update_of(repository, name, value) for name, value in {"a": 1.0, "b": 2.0, "c": 4.0, "d": 999.0}.items()]
    repository.aggregate(Aggregate(1, tuple(four)))
    assert read_vector(files.model(1)).tolist() == [3.0] * 4


@pytest.mark.parametrize("most", [0, 1, 2, 9])
@pytest.mark.parametrize("processors", [1, 2, 64])
def test_a_crew_has_a_thread_per_processor_and_no_more_than_there_is_to_do(
    monkeypatch: pytest.MonkeyPatch, most: int, processors: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(processors)))
    done: list[int] = []
    in_threads(lambda: done.append(1), most)
    assert len(done) == max(1, min(most, processors, 4))


def test_what_one_of_a_crew_raises_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    turns = iter([False, False, True])

    def work() -> None:
        if next(turns):
            raise UpdateRefusedError("the third one")

    with pytest.raises(UpdateRefusedError, match="the third one"):
        in_threads(work, 3)


def test_a_step_is_quick_when_its_models_are_known_and_small_together(repository: ModelRepository) -> None:
    first = update_of(repository, "bern", 1.0)
    assert not repository.quick(Aggregate(0, (first,))), "nobody knows how large it is"
    base = repository.aggregate(Aggregate(0, (first,))).digest
    manifest = repository.known(base)
    assert manifest is not None
    enough = QUICK_BYTES // manifest.total_bytes
    assert repository.quick(Aggregate(1, (first,) * (enough - 1), base))
    assert not repository.quick(Aggregate(1, (first,) * enough, base))


def test_what_is_in_memory_is_quick_while_nobody_waits_for_anything_else(
    repository: ModelRepository, files: ExperimentFiles
) -> None:
    content = TensorMemory.of({"weights": np.ones(8192, np.float32)})
    content.write(files.model(0))
    base, size = content.manifest.digest, content.manifest.total_bytes
    repository.put(base, 0)
    repository.manifest(base)
    updates = [Update(1, Phase.TRAIN, f"site-{place}", base, 1) for place in range(QUICK_IN_MEMORY_BYTES // size - 1)]
    some = updates[: QUICK_BYTES // size]
    commands = ValidateUpdates(1, base, tuple(some)), Aggregate(1, tuple(some), base)
    for update in updates:
        assert [repository.quick(command, alone=True) for command in commands] == [False, False] or update not in some
        repository.in_memory.keep(update, content)
    assert [repository.quick(command, alone=True) for command in commands] == [True, True]
    assert [repository.quick(command) for command in commands] == [False, False]
    assert repository.quick(Aggregate(1, tuple(updates), base), alone=True)
    assert not repository.quick(Aggregate(1, (*updates, updates[0]), base), alone=True)


def test_a_validation_is_quick_when_every_one_of_these_updates_was_looked_at(repository: ModelRepository) -> None:
    bern, zurich = update_of(repository, "bern", 1.0), update_of(repository, "zurich", np.nan)
    repository.inspect(bern, "")
    assert not repository.quick(ValidateUpdates(1, "", (bern, zurich)))
    repository.inspect(zurich, "")
    assert repository.quick(ValidateUpdates(1, "", (bern, zurich)))
    assert not repository.quick(ValidateUpdates(1, "", (bern, replace(zurich, digest="ab" * 32))))
    repository.spool_path(bern).unlink()
    assert repository.validate(ValidateUpdates(1, "", (bern, zurich))).problems.keys() == {"zurich"}
    assert not repository.quick(ValidateUpdates(1, "", (bern, zurich))), "a verdict is given once"


def test_a_score_that_is_no_number_costs_no_update_however_early_it_is_looked_at(repository: ModelRepository) -> None:
    told = replace(update_of(repository, "bern", 1.0), metrics={"train": {"loss": float("nan")}})
    repository.inspect(told, "")
    assert repository.validate(ValidateUpdates(1, "", (told,))).problems == {}


def test_only_bad_updates_are_named(repository: ModelRepository, files: ExperimentFiles) -> None:
    write_tensors(files.model(0), {"weights": np.zeros(4, np.float32)})
    repository.put(file_digest(files.model(0)), 0)
    good, bad, gone = (
        update_of(repository, "bern", 1.0),
        update_of(repository, "zurich", np.nan),
        update_of(repository, "ost", 1.0),
    )
    repository.spool_path(gone).unlink()
    problems = repository.validate(ValidateUpdates(1, file_digest(files.model(0)), (good, bad, gone))).problems
    assert problems.keys() == {"zurich", "ost"}
    assert "not finite" in problems["zurich"]


@pytest.mark.parametrize("by", ["update", "weights"])
def test_updates_are_compared_by_what_training_did_to_the_models_that_they_started_from(
    plan_with: Callable[..., Plan], files: ExperimentFiles, by: str
) -> None:
    evaluators = {"template": "cluster", "settings": {"count": 1, "clusters": 2, "by": by}}
    repository = ModelRepository(plan_with(evaluation_selector=evaluators), files)
    for number, value in enumerate((4.0, 6.0)):
        write_tensors(files.model(number), {"weights": np.full(4, value, np.float32)})
        repository.put(file_digest(files.model(number)), number)
    fresh, stale = update_of(repository, "bern", 7.0), update_of(repository, "zurich", 5.0)
    older, newest = file_digest(files.model(0)), file_digest(files.model(1))
    command = ValidateUpdates(2, newest, (fresh, stale), {"zurich": older})
    found = repository.validate(command).sketches
    share = 1.0 if by == "update" else 7 / 5
    assert found["bern"] == pytest.approx([share * value for value in found["zurich"]])
    assert any(found["bern"])


def test_the_initial_model_has_no_base(repository: ModelRepository) -> None:
    assert repository.validate(ValidateUpdates(0, "", (update_of(repository, "bern", 1.0),))).problems == {}


def test_an_unchanged_model_is_published_again_under_its_new_round(
    repository: ModelRepository, files: ExperimentFiles
) -> None:
    files.model(1).write_bytes(b"model")
    repository.put("aa", 1)
    repository.publish(ModelVersion(2, "aa"))
    assert repository.path("aa") == files.model(2)
    assert files.model(2).read_bytes() == b"model"


def test_an_unknown_model(repository: ModelRepository) -> None:
    with pytest.raises(NotFoundError, match=r"there is no model ffffffffffff$"):
        repository.path("f" * 64)


def test_a_model_that_a_former_process_made_is_recognised(
    plan_with: Callable[..., Plan], repository: ModelRepository, files: ExperimentFiles
) -> None:
    digest = repository.aggregate(Aggregate(3, (update_of(repository, "bern", 1.0),))).digest
    later = ModelRepository(plan_with(), files)
    assert later.path(digest) == files.model(3)
    later.publish(ModelVersion(3, digest))


def test_the_newest_and_the_best_are_kept(plan_with: Callable[..., Plan], files: ExperimentFiles) -> None:
    repository = ModelRepository(plan_with(model_store={"keep": {"last": 2}}), files)
    versions = [ModelVersion(number, f"d{number}", best=number in {0, 1}) for number in range(5)]
    for version in versions:
        files.model(version.round).write_bytes(version.digest.encode())
        repository.put(version.digest, version.round)
    spooled = [files.update(number, Phase.TRAIN, "bern") for number in (4, 5)]
    for path in spooled:
        path.touch()
    repository.forget(versions)
    repository.published.tidy(versions)
    assert sorted(files.models()) == [1, 3, 4]
    assert [path.exists() for path in spooled] == [False, True]
    with pytest.raises(NotFoundError):
        repository.path("d2")


def test_the_model_of_a_round_that_is_still_open_stays_when_rounds_before_it_are_committed(
    repository: ModelRepository, files: ExperimentFiles
) -> None:
    files.model(1).write_bytes(b"d1")
    repository.put("d1", 1)
    candidate = repository.aggregate(Aggregate(2, (update_of(repository, "bern", 1.0),))).digest
    repository.forget([ModelVersion(1, "d1")])
    repository.published.tidy([ModelVersion(1, "d1")])
    assert repository.path(candidate) == files.model(2)
    assert files.model(2).exists()


def test_what_a_failure_is_called(caplog: pytest.LogCaptureFixture) -> None:
    assert describe(ConflictError("taken", cure="wait")) == Failure(
        FailureKind.COMBINE, "taken (wait)", "ConflictError"
    )
    assert describe(OSError(28, "No space left on device")).message == "[Errno 28] No space left on device"
    assert caplog.text == ""
    assert describe(KeyError("x")) == Failure(FailureKind.COMBINE, "'x'", "KeyError")
    assert "a step of the round failed" in caplog.text


def test_the_paths_of_updates_say_whose_they_are(repository: ModelRepository, tmp_path: Path) -> None:
    job = Assignment(2, Phase.TRAIN, "bern", (), "", 0)
    update = Update(2, Phase.TRAIN, "bern", "aa", 1)
    assert (
        repository.spool_path(job)
        == repository.spool_path(update)
        == tmp_path / "spool" / "0002-train-bern.safetensors"
    )


@pytest.fixture
def compressing(plan_with: Callable[..., Plan], files: ExperimentFiles) -> ModelRepository:
    parts = {"template": "top_k", "settings": {"fraction": 0.5}}
    repository = ModelRepository(plan_with(compression_pipeline=parts), files)
    write_tensors(files.model(0), {"weights": np.full(4, 10, np.float32)})
    repository.put(file_digest(files.model(0)), 0)
    return repository


def encoded(repository: ModelRepository, name: str, places: list[int], values: list[float]) -> Update:
    job = Assignment(1, Phase.TRAIN, name, (), "", 0)
    parts = {"weights#index": np.array(places, np.uint32), "weights#value": np.array(values, np.float32)}
    write_tensors(repository.spool_path(job), parts)
    return Update(1, Phase.TRAIN, name, "aa", 1)


def test_compressed_updates_are_added_to_the_global_model(compressing: ModelRepository, files: ExperimentFiles) -> None:
    base = file_digest(files.model(0))
    updates = encoded(compressing, "bern", [0, 2], [1, 2]), encoded(compressing, "zurich", [2, 3], [2, -8])
    assert compressing.validate(ValidateUpdates(1, base, updates)).problems == {}
    compressing.aggregate(Aggregate(1, updates, base))
    assert read_vector(files.model(1)).tolist() == [10.5, 10, 12, 6]
    compressing.aggregate(Aggregate(2, updates[:1], base))
    assert read_vector(files.model(2)).tolist() == [11, 10, 12, 10]


@pytest.mark.parametrize(
    ("places", "values", "problem"),
    [
        ([2, 0], [1, 1], "places do not rise"),
        ([1, 1], [1, 1], "places do not rise"),
        ([1, 4], [1, 1], "place 4 is outside of it"),
        ([0, 1, 2], [1, 1, 1], "U32[3] instead of U32[2]"),
        ([0, 1], [1, np.nan], "not finite"),
        ([0, 1], [1, -np.inf], "not finite"),
    ],
)
def test_an_update_that_is_badly_compressed_is_refused(
    compressing: ModelRepository, files: ExperimentFiles, places: list[int], values: list[float], problem: str
) -> None:
    bad, good = encoded(compressing, "bern", places, values), encoded(compressing, "zurich", [0, 1], [1, 1])
    problems = compressing.validate(ValidateUpdates(1, file_digest(files.model(0)), (bad, good))).problems
    assert problems.keys() == {"bern"}
    assert problem in problems["bern"]


def test_a_whole_model_is_no_compressed_update(compressing: ModelRepository, files: ExperimentFiles) -> None:
    base = file_digest(files.model(0))
    problems = compressing.validate(ValidateUpdates(1, base, (update_of(compressing, "bern", 1.0),))).problems
    assert "missing: weights#index, weights#value; unexpected: weights" in problems["bern"]


def test_the_initial_model_is_a_whole_one(compressing: ModelRepository) -> None:
    path = compressing.spool_path(Assignment(0, Phase.INITIALISE, "bern", (), "", 0))
    write_tensors(path, {"weights": np.ones(4, np.float32)})
    update = Update(0, Phase.INITIALISE, "bern", file_digest(path), 1)
    assert compressing.validate(ValidateUpdates(0, "", (update,))).problems == {}
    assert compressing.aggregate(Aggregate(0, (update,))).digest == update.digest


def test_what_came_with_a_message_is_not_read_again(repository: ModelRepository, files: ExperimentFiles) -> None:
    updates = update_of(repository, "bern", 1.0), update_of(repository, "zurich", 3.0)
    for update in updates:
        path = repository.spool_path(update)
        repository.inspect(update, "", path.read_bytes())
        path.unlink()
    assert repository.validate(ValidateUpdates(1, "", updates)).problems == {}
    version = ModelVersion(1, repository.aggregate(Aggregate(1, updates)).digest)
    assert read_vector(files.model(1)).tolist() == [2.0] * 4
    repository.forget([version])
    with pytest.raises(TensorError):
        repository.aggregate(Aggregate(1, updates))


def test_what_came_with_a_message_and_is_no_model_is_refused(repository: ModelRepository) -> None:
    update = update_of(repository, "bern", 1.0)
    repository.spool_path(update).write_bytes(b"nothing")
    repository.inspect(update, "", b"nothing")
    assert "damaged" in repository.validate(ValidateUpdates(1, "", (update,))).problems["bern"]


@pytest.mark.parametrize("rule", ["fedavg", "median", "geometric_median"])
@pytest.mark.parametrize("coded", [False, True])
def test_a_clipped_update_is_combined_as_a_shorter_one(
    plan_with: Callable[..., Plan], files: ExperimentFiles, rule: str, *, coded: bool
) -> None:
    validators = [{"template": "finite"}, {"template": "norm", "settings": {"multiple": 1, "above": "clip"}}]
    pipeline = {"template": "float16"} if coded else {"template": "none"}
    plan = plan_with(validator=validators, aggregation={"template": rule}, compression_pipeline=pipeline)
    repository = ModelRepository(plan, files)
    write_tensors(files.model(0), {"weights": np.full(4, 10, np.float32)})
    base = file_digest(files.model(0))
    repository.put(base, 0)
    updates = []
    for name, value in {"a": 11.0, "b": 11.0, "c": 1034.0}.items():
        job = Assignment(1, Phase.TRAIN, name, (), base, 0)
        tensor = {"weights#value": np.full(4, value - 10, np.float16)} if coded else {"weights": np.full(4, value)}
        write_tensors(
            repository.spool_path(job), {k: v.astype(np.float16 if coded else np.float32) for k, v in tensor.items()}
        )
        updates.append(Update(1, Phase.TRAIN, name, "d", 1))
    found = repository.validate(ValidateUpdates(1, base, tuple(updates)))
    (verdict,) = found.verdicts
    assert (verdict.collaborator, verdict.observed, verdict.bound) == ("c", 2048.0, 2.0)
    command = Aggregate(1, tuple(updates), base, factors=factors_of(found.verdicts))
    repository.aggregate(command)
    assert read_vector(files.model(1)).tolist() == [11.0] * 4
    repository.aggregate(replace(command, round=2, factors={}))
    longer = {"fedavg": [352.0] * 4, "median": [11.0] * 4}.get(rule)
    assert longer is None or read_vector(files.model(2)).tolist() == longer


def test_updates_without_samples_and_refused_ones_are_not_compared(
    plan_with: Callable[..., Plan], files: ExperimentFiles
) -> None:
    validators = [{"template": "finite"}, {"template": "norm", "settings": {"multiple": 1}}]
    repository = ModelRepository(plan_with(validator=validators), files)
    write_tensors(files.model(0), {"weights": np.zeros(4, np.float32)})
    base = file_digest(files.model(0))
    repository.put(base, 0)
    some = [update_of(repository, name, 1.0) for name in ("a", "b", "c")]
    far, none = update_of(repository, "far", np.nan), update_of(repository, "none", 99.0, num_samples=0)
    found = repository.validate(ValidateUpdates(1, base, (*some, far, none)))
    assert found.problems.keys() == {"far"}
    assert found.verdicts == ()
    initial = repository.validate(ValidateUpdates(0, "", (some[0],)))
    assert initial.verdicts == (), "there is nothing that the initial model could be compared with"
    assert not repository.quick(ValidateUpdates(1, base, tuple(some)))
