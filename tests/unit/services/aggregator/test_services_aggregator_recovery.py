"""The files that an Aggregator goes on from: refused, or asked for again."""

from pathlib import Path

import numpy as np
import pytest

from openfl_like.errors import DamagedError
from openfl_like.federation.announcements import UpdateLost
from openfl_like.federation.events import (
    Aggregate,
    Announce,
    CollaboratorJoined,
    ExperimentStarted,
    ModelAggregated,
    ModelVersion,
    UpdateCommitted,
    UpdatesValidated,
)
from openfl_like.federation.experiment import Experiment
from openfl_like.federation.task import Phase, Update
from openfl_like.plan.load import load_plan
from openfl_like.plan.schema import Plan
from openfl_like.runtimes.models import ModelRepository
from openfl_like.services.aggregator.recovery import check_models, check_server_state, mend_round
from openfl_like.store.files import ExperimentFiles, check_file
from openfl_like.tensors.container import write_tensors
from openfl_like.tensors.manifest import file_digest
from openfl_like.testing.faults.damage import Damage, damage

PLAN_FILE = Path(__file__).parents[3] / "assets" / "obedient" / "plan.yaml"
PLAN = load_plan(PLAN_FILE, ())
KEEPING = load_plan(PLAN_FILE, ("server_optimizer.template=fedavgm",))


@pytest.fixture
def files(tmp_path: Path) -> ExperimentFiles:
    found = ExperimentFiles(tmp_path / "experiment")
    found.prepare()
    return found


def write(path: Path, content: bytes = b"x" * 5000) -> str:
    path.write_bytes(content)
    return file_digest(path)


@pytest.mark.parametrize("kind", Damage)
def test_a_bundle_that_is_damaged_is_refused_by_name(files: ExperimentFiles, kind: Damage) -> None:
    digest = write(files.bundle, bytes(range(256)) * 40)
    check_file(files.bundle, digest)
    damage(files.bundle, kind, 1)
    with pytest.raises(DamagedError, match=r"bundle.tar.*fx experiment resume"):
        check_file(files.bundle, digest)


def test_the_newest_and_the_best_model_are_needed_and_others_are_not(files: ExperimentFiles) -> None:
    digests = [write(files.model(number), bytes([number]) * 3000) for number in range(4)]
    versions = [ModelVersion(number, digest, {}, best=number == 1) for number, digest in enumerate(digests)]
    check_models(versions, files)
    damage(files.model(2), Damage.FLIP, 1)
    check_models(versions, files)
    for number in (1, 3):
        content = files.model(number).read_bytes()
        damage(files.model(number), Damage.CUT, 1)
        with pytest.raises(DamagedError, match=files.model(number).name):
            check_models(versions, files)
        files.model(number).write_bytes(content)
    files.model(3).unlink()
    with pytest.raises(DamagedError, match="cannot be read"):
        check_models(versions, files)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DamagedError, match="cannot be read"):
        check_file(tmp_path / "nothing", "ab" * 32)


def evaluating(
    files: ExperimentFiles, repository: ModelRepository, plan: Plan = PLAN
) -> tuple[Experiment, ModelAggregated]:
    """An experiment whose round 1 has a model that is not published yet, with all its files."""
    experiment = Experiment("e-1", plan, ("bern", "zurich"), write_model(files.model(0), 0.0))
    repository.put(experiment_base(files), 0)
    for event in (ExperimentStarted(), CollaboratorJoined("bern"), CollaboratorJoined("zurich")):
        experiment.handle(event, 0.0)
    for name, value in (("bern", 1.0), ("zurich", 3.0)):
        digest = write_model(files.update(1, Phase.TRAIN, name), value)
        experiment.handle(UpdateCommitted(Update(1, Phase.TRAIN, name, digest, 10)), 0.0)
    (command,) = (item for item in experiment.handle(UpdatesValidated(1), 0.0) if isinstance(item, Aggregate))
    made = repository.aggregate(command)
    experiment.handle(made, 0.0)
    return experiment, made


def write_model(path: Path, value: float) -> str:
    write_tensors(path, {"vector": np.full(2000, value, np.float32)})
    return file_digest(path)


def experiment_base(files: ExperimentFiles) -> str:
    return file_digest(files.model(0))


def test_a_damaged_model_that_is_not_published_yet_is_made_again(files: ExperimentFiles) -> None:
    repository = ModelRepository(PLAN, files)
    experiment, made = evaluating(files, repository)
    for kind in Damage:
        damage(files.model(1), kind, 3)
        assert mend_round(experiment, repository, files) == []
        assert file_digest(files.model(1)) == made.digest
    files.model(1).unlink()
    mend_round(experiment, repository, files)
    assert file_digest(files.model(1)) == made.digest


def finish_round(experiment: Experiment, number: int) -> None:
    for name in ("bern", "zurich"):
        metrics = {"validate": {"accuracy": 1.0}}
        experiment.handle(UpdateCommitted(Update(number, Phase.EVALUATE, name, "", 10, metrics)), 0.0)


def second_round(files: ExperimentFiles, repository: ModelRepository) -> tuple[Experiment, ModelAggregated]:
    """An experiment whose round 2 goes on from what round 1 has kept, and has a model that is not published yet."""
    experiment, first = evaluating(files, repository, KEEPING)
    finish_round(experiment, 1)
    assert experiment.server_states == {1: first.server_state}
    for name, value in (("bern", 2.0), ("zurich", 1.0)):
        digest = write_model(files.update(2, Phase.TRAIN, name), value)
        experiment.handle(UpdateCommitted(Update(2, Phase.TRAIN, name, digest, 10)), 0.0)
    (command,) = (item for item in experiment.handle(UpdatesValidated(2), 0.0) if isinstance(item, Aggregate))
    assert command.base_state == first.server_state
    made = repository.aggregate(command)
    experiment.handle(made, 0.0)
    return experiment, made


def test_what_is_kept_beside_such_a_model_is_made_again_with_it(files: ExperimentFiles) -> None:
    repository = ModelRepository(KEEPING, files)
    experiment, made = second_round(files, repository)
    for path in (files.server_state(2), files.model(2)):
        for kind in Damage:
            damage(path, kind, 3)
            assert mend_round(experiment, repository, files) == []
            assert (file_digest(files.model(2)), file_digest(files.server_state(2))) == (made.digest, made.server_state)
    files.server_state(2).unlink()
    mend_round(experiment, repository, files)
    assert file_digest(files.server_state(2)) == made.server_state


def test_it_is_not_made_from_a_state_that_is_damaged(files: ExperimentFiles) -> None:
    """It would be another one."""
    repository = ModelRepository(KEEPING, files)
    experiment, _ = second_round(files, repository)
    write_tensors(files.server_state(1), {"server_optimizer.momentum/vector": np.ones(2000)})
    files.server_state(2).unlink()
    with pytest.raises(DamagedError, match=r"v0002.safetensors.*did not become"):
        mend_round(experiment, repository, files)


def test_only_the_newest_state_is_needed(files: ExperimentFiles, caplog: pytest.LogCaptureFixture) -> None:
    repository = ModelRepository(KEEPING, files)
    experiment, made = second_round(files, repository)
    finish_round(experiment, 2)
    assert experiment.server_states[2] == made.server_state
    check_server_state(experiment, files)
    assert caplog.text == ""
    damage(files.server_state(1), Damage.FLIP, 1)
    check_server_state(experiment, files)
    assert "v0001.state.safetensors is damaged; nobody needs it" in caplog.text
    damage(files.server_state(2), Damage.FLIP, 1)
    with pytest.raises(DamagedError, match=r"v0002.state.safetensors"):
        check_server_state(experiment, files)


def test_it_is_refused_when_its_updates_are_damaged_too(files: ExperimentFiles) -> None:
    repository = ModelRepository(PLAN, files)
    experiment, _ = evaluating(files, repository)
    damage(files.model(1), Damage.CUT, 3)
    damage(files.update(1, Phase.TRAIN, "zurich"), Damage.FLIP, 3)
    with pytest.raises(DamagedError, match=r"v0001.safetensors.*the updates that it was made of: zurich"):
        mend_round(experiment, repository, files)


def test_a_damaged_update_is_taken_back(files: ExperimentFiles) -> None:
    repository = ModelRepository(PLAN, files)
    experiment = Experiment("e-1", PLAN, ("bern", "zurich"), write_model(files.model(0), 0.0))
    for event in (ExperimentStarted(), CollaboratorJoined("bern"), CollaboratorJoined("zurich")):
        experiment.handle(event, 0.0)
    digest = write_model(files.update(1, Phase.TRAIN, "bern"), 1.0)
    experiment.handle(UpdateCommitted(Update(1, Phase.TRAIN, "bern", digest, 10)), 0.0)
    assert mend_round(experiment, repository, files) == []
    damage(files.update(1, Phase.TRAIN, "bern"), Damage.ZEROS, 1)
    assert mend_round(experiment, repository, files) == ["bern"]
    assert experiment.kept_updates == ()
    told = [item for item in experiment.handle(ExperimentStarted(2), 0.0) if isinstance(item, Announce)]
    assert isinstance(told[0].announcement, UpdateLost)
