"""A small plan, and the record of an experiment that follows it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from openfl_like.plan.schema import Plan
from openfl_like.runtimes.models import ModelRepository
from openfl_like.store.files import ExperimentFiles
from openfl_like.store.ports import ExperimentStore
from openfl_like.testing.stores import MemoryExperimentStore


@pytest.fixture(scope="session")
def plan_with() -> Callable[..., Plan]:
    def build(**parts: object) -> Plan:
        basis: dict[str, object] = {
            "name": "demo",
            "seed": 7,
            "aggregator": {"settings": {"rounds_to_train": 2}},
            "task_runner": {"template": "src.model:Runner"},
            "data_loader": {"template": "src.model:Loader"},
            "tasks": {"train": {"function": "train"}, "validate": {"function": "validate"}},
            "model_store": {"best": {"metric": "accuracy"}},
        }
        return Plan.model_validate(basis | parts)

    return build


@pytest.fixture
def files(tmp_path: Path) -> ExperimentFiles:
    found = ExperimentFiles(tmp_path)
    found.prepare()
    return found


@pytest.fixture
def store() -> ExperimentStore:
    return MemoryExperimentStore()


@pytest.fixture
def repository(plan_with: Callable[..., Plan], files: ExperimentFiles) -> ModelRepository:
    return ModelRepository(plan_with(), files)
