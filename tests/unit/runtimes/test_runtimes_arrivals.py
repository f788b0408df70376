"""Updates that a model is made of while they arrive: refused ones leave no trace in it, whenever they are found out."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from openfl_like.federation.events import Aggregate, ModelVersion, ValidateUpdates
from openfl_like.federation.task import Phase, Update
from openfl_like.plan.schema import Plan
from openfl_like.runtimes.models import ModelRepository
from openfl_like.runtimes.published import MOST_UNFORCED
from openfl_like.services.aggregator.recovery import put_back_files
from openfl_like.store.files import ExperimentFiles
from openfl_like.store.ports import ExperimentStore
from openfl_like.tensors.container import write_tensors
from openfl_like.tensors.manifest import manifest_of
from openfl_like.wire.transfer.chunks import part_of

PlanWith = Callable[..., Plan]
ELEMENTS = 300_000
SITES = ("bern", "chur", "zug")


def vector(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(ELEMENTS, np.float32)


def repository_in(folder: Path, plan: Plan) -> ModelRepository:
    files = ExperimentFiles(folder)
    files.prepare()
    repository = ModelRepository(plan, files)
    base = write_tensors(files.model(0), {"w": vector(0)}, sync=False)
    repository.put(base.digest, 0)
    return repository


def base_of(repository: ModelRepository) -> str:
    return next(digest for digest, number in repository._rounds.items() if number == 0)


def arrive(repository: ModelRepository, number: int, name: str, values: np.ndarray) -> Update:
    """Has an update arrive as a server does it."""
    path = repository.spool_path(Update(1, Phase.TRAIN, name, "", 1))
    made = path.with_name(f"made-{name}")
    manifest = write_tensors(made, {"w": values}, sync=False)
    update = Update(1, Phase.TRAIN, name, manifest.digest, number)
    arrival = repository.arrival(update, manifest, base_of(repository), SITES)
    assert arrival is not None
    made.rename(part_of(path))
    arrival.begin(part_of(path), range(len(manifest.chunks)))
    for index in range(len(manifest.chunks)):
        arrival.placed(index)
    part_of(path).rename(path)
    repository.inspect(update, base_of(repository))
    return update


def lie(repository: ModelRepository, number: int, name: str, values: np.ndarray) -> Update:
    """Has an update be there, and nobody told of its chunks."""
    path = repository.spool_path(Update(1, Phase.TRAIN, name, "", 1))
    manifest = write_tensors(path, {"w": values}, sync=False)
    return Update(1, Phase.TRAIN, name, manifest.digest, number)


def made(repository: ModelRepository, updates: list[Update]) -> tuple[dict[str, str], str]:
    base = base_of(repository)
    problems = repository.validate(ValidateUpdates(1, base, tuple(updates))).problems
    counting = tuple(update for update in updates if update.collaborator not in problems)
    return dict(problems), repository.aggregate(Aggregate(1, counting, base)).digest


def both(tmp_path: Path, plan: Plan, values: list[np.ndarray]) -> list[tuple[dict[str, str], str]]:
    """The same updates on both ways."""
    found = []
    for how in (arrive, lie):
        repository = repository_in(tmp_path / how.__name__, plan)
        updates = [how(repository, number, *pair) for number, pair in enumerate(zip(SITES, values, strict=True), 2)]
        found.append(made(repository, updates))
        assert manifest_of(tmp_path / how.__name__ / "models" / "v0001.safetensors").digest == found[-1][1]
        assert [path.name for path in (tmp_path / how.__name__ / "models").glob(".*.tmp")] == []
    return found


def test_both_ways_lead_to_the_same_bits(tmp_path: Path, plan_with: PlanWith) -> None:
    arrived, lay = both(tmp_path, plan_with(), [vector(number) for number in (1, 2, 3)])
    assert arrived == lay
    assert arrived[0] == {}


@pytest.mark.parametrize("which", range(3))
def test_a_refused_update_is_not_in_the_model(tmp_path: Path, plan_with: PlanWith, which: int) -> None:
    values = [vector(number) for number in (1, 2, 3)]
    values[which][-1] = np.nan
    arrived, lay = both(tmp_path, plan_with(), values)
    assert arrived == lay
    assert arrived[0] == {SITES[which]: "tensor 'w' holds a value that is not finite"}


def test_an_update_of_other_tensors_is_refused_as_ever(tmp_path: Path, plan_with: PlanWith) -> None:
    arrived, lay = both(tmp_path, plan_with(), [vector(1), vector(2)[:-1], vector(3)])
    assert arrived == lay
    assert list(arrived[0]) == ["chur"]


def test_a_site_that_stays_away_is_not_in_the_model(tmp_path: Path, plan_with: PlanWith) -> None:
    repository = repository_in(tmp_path, plan_with())
    updates = [arrive(repository, number, name, vector(number)) for number, name in ((2, "bern"), (3, "zug"))]
    problems, digest = made(repository, updates)
    other = repository_in(tmp_path / "other", plan_with())
    assert (problems, digest) == made(
        other, [lie(other, number, name, vector(number)) for number, name in ((2, "bern"), (3, "zug"))]
    )


def test_a_round_that_ends_without_it_lets_it_go(tmp_path: Path, plan_with: PlanWith) -> None:
    repository = repository_in(tmp_path, plan_with())
    for number, name in enumerate(SITES, 2):
        arrive(repository, number, name, vector(number))
    assert list((tmp_path / "models").glob(".*.tmp")), "it is made, and nobody has asked for it"
    repository.forget([ModelVersion(0, base_of(repository)), ModelVersion(1, base_of(repository))])
    assert list((tmp_path / "models").glob(".*.tmp")) == []


def test_an_experiment_that_ends_in_mid_round_leaves_nothing_unfinished(tmp_path: Path, plan_with: PlanWith) -> None:
    repository = repository_in(tmp_path, plan_with())
    for number, name in enumerate(SITES, 2):
        arrive(repository, number, name, vector(number))
    assert list((tmp_path / "models").glob(".*.tmp")), "it is made, and nobody will ask for it"
    repository.forget([ModelVersion(0, base_of(repository))], ended=True)
    assert list((tmp_path / "models").glob(".*.tmp")) == []


def test_what_a_killed_process_has_not_finished_goes_at_the_next_start(
    tmp_path: Path, plan_with: PlanWith, store: ExperimentStore
) -> None:
    killed = repository_in(tmp_path, plan_with())
    for number, name in enumerate(SITES, 2):
        arrive(killed, number, name, vector(number))
    assert list((tmp_path / "models").glob(".*.tmp"))
    files = ExperimentFiles(tmp_path)
    put_back_files(store, ModelRepository(plan_with(), files), files)
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["v0000.safetensors"]


# ---- what the record has of small files ---------------------------------------------------------------------------


def publish(repository: ModelRepository, files: ExperimentFiles, number: int) -> ModelVersion:
    digest = write_tensors(files.model(number), {"w": np.full(3, number, np.float32)}, sync=False).digest
    repository.put(digest, number)
    version = ModelVersion(number, digest)
    contents = repository.publish(version)
    assert [(content.round, content.digest) for content in contents] == [(number, digest)]
    assert contents[0].data == files.model(number).read_bytes()
    return version


def test_the_record_has_a_small_model_until_it_is_not_needed(plan_with: PlanWith, files: ExperimentFiles) -> None:
    repository = ModelRepository(plan_with(model_store={"keep": {"last": 1}}), files)
    versions = [publish(repository, files, number) for number in range(3)]
    assert repository.published.unforced == {0, 1, 2}
    repository.forget(versions)
    repository.published.tidy(versions)
    assert repository.published.unforced == {2}
    assert repository.published.settled == {0, 1}


def test_many_that_are_kept_are_forced_to_disk(plan_with: PlanWith, files: ExperimentFiles) -> None:
    repository = ModelRepository(plan_with(model_store={"keep": {"last": 50}}), files)
    versions = [publish(repository, files, number) for number in range(MOST_UNFORCED + 1)]
    repository.published.tidy(versions)
    assert repository.published.unforced == set()
    assert repository.published.settled == set(range(MOST_UNFORCED + 1))
    assert len(files.models()) == MOST_UNFORCED + 1


def test_a_large_model_is_forced_to_disk_at_once(plan_with: PlanWith, files: ExperimentFiles) -> None:
    repository = ModelRepository(plan_with(), files)
    digest = write_tensors(files.model(1), {"w": vector(1)}, sync=False).digest
    repository.put(digest, 1)
    assert repository.publish(ModelVersion(1, digest)) == []
    assert repository.published.unforced == set()
