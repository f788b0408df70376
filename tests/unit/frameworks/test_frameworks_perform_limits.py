"""A site that is told how much to train, or until when."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from openfl_like.data.shard import ArrayShard, Dataset
from openfl_like.errors import TaskError
from openfl_like.federation.task import Assignment, Phase, TaskCall, Work
from openfl_like.frameworks.numpy import NumpyLoader
from openfl_like.frameworks.perform import Performer
from openfl_like.frameworks.runner import RunnerContext, TaskResult
from openfl_like.plan.schema import Plan, Task
from openfl_like.plan.section import Component
from openfl_like.tensors.container import read_tensors, write_tensors

TRAIN = TaskCall("train", "train", trains=True)


def plan(runner: Component, loader: Component) -> Plan:
    return Plan(name="numbers", task_runner=runner, data_loader=loader, tasks={"train": Task(function="train")})


def shard() -> ArrayShard:
    def data(rows: int) -> Dataset:
        return Dataset(np.zeros((rows, 2), dtype=np.float32), np.zeros(rows, dtype=np.int64))

    return ArrayShard({"train": data(30), "validate": data(10)}, "zeros", (0.0, 1.0))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    write_tensors(tmp_path / "model.safetensors", {"value": np.array([10.0])})
    return tmp_path / "model.safetensors"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "update.safetensors"


def assign(phase: Phase, *tasks: TaskCall, seed: int = 5) -> Assignment:
    return Assignment(3, phase, "north", tasks, "", seed)


class OwnLoop:
    """A runner with a loop of its own, which asks after each step only."""

    def __init__(self, loader: NumpyLoader, context: RunnerContext) -> None:
        self.loader, self.context, self.value = loader, context, np.zeros(1)

    def initialise(self, seed: int) -> None:
        self.value = np.full(1, float(seed))

    def begin(self, seed: int) -> None:
        self.seed = seed

    def get_tensors(self) -> dict[str, np.ndarray]:
        return {"value": self.value}

    def set_tensors(self, tensors: Mapping[str, np.ndarray]) -> None:
        self.value = tensors["value"].copy()

    def train(self) -> TaskResult:
        samples = 0
        for batch, _ in self.loader.train_batches(self.seed, 0):
            self.value = self.value + 1
            samples += len(batch)
            if self.context.allowance.batch_done(len(batch)):
                return TaskResult(samples, partial=True)
        return TaskResult(samples)

    def deaf(self) -> TaskResult:
        self.value = self.value + 1
        return TaskResult(1)


def own_loop(folder: Path, *times: float) -> Performer:
    """A site of thirty samples, ten in a batch, whose clock shows these times, one after the other."""
    parts = Component(template=f"{__name__}:OwnLoop"), Component(template="numpy", settings={"batch_size": 10})
    return Performer(plan(*parts), shard(), folder, clock=iter(times).__next__)


def test_training_that_is_cut_short_says_so_with_its_batches_and_samples(
    tmp_path: Path, model: Path, out: Path
) -> None:
    job = replace(assign(Phase.TRAIN, TRAIN), train_s=5.0)
    update = own_loop(tmp_path, 100, 104, 105).perform(job, model, out)
    assert (update.partial, update.batches, update.num_samples) == (True, 2, 20)
    assert read_tensors(out)["value"] == 12
    update = own_loop(tmp_path, 100, 101, 102, 103).perform(job, model, out)
    assert (update.partial, update.batches, update.num_samples) == (False, 3, 30)


def test_a_task_that_was_told_how_much_to_train_and_does_not_ask_fails(tmp_path: Path, model: Path, out: Path) -> None:
    deaf = TaskCall("train", "deaf", trains=True)
    for told in ({"batch_limit": 1}, {"work": Work(epochs=2)}):
        job = replace(assign(Phase.TRAIN, deaf), **told)
        with pytest.raises(TaskError, match="was told how much to train, and never asked"):
            own_loop(tmp_path).perform(job, model, out)
    own_loop(tmp_path, 100).perform(replace(assign(Phase.TRAIN, deaf), train_s=5.0), model, out)
