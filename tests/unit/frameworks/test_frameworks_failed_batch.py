"""What is told of an exception in the platform's own training loop: whose line it was, and what the batch was like."""

from pathlib import Path

import numpy as np
import pytest

from openfl_like.data.shard import ArrayShard, Dataset
from openfl_like.federation.failure import FailedTaskError, Failure, failure_from_fields, fields_of_failure
from openfl_like.federation.task import Assignment, Phase, TaskCall
from openfl_like.frameworks.perform import Performer
from openfl_like.frameworks.training import form_of
from openfl_like.plan.schema import Plan, Task
from openfl_like.plan.section import Component

NUMPY = """
import numpy as np
from openfl_like.frameworks.numpy import NumpyRunner

class Runner(NumpyRunner):
    def build_model(self, random):
        return {"weight": np.zeros(4, np.float32)}

    def predict(self, model, samples):
        return samples @ model["weight"]

    def gradient(self, model, samples, targets):
        return 0.0, {"weight": self.predict(model, samples)}
"""
TORCH = """
from torch import nn
from openfl_like.frameworks.torch import TorchRunner

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 1)

    def forward(self, samples):
        return self.layer(samples)

class Runner(TorchRunner):
    def build_model(self):
        return Net()
"""
LAYERS = """
from torch import nn
from openfl_like.frameworks.torch import TorchRunner

class Runner(TorchRunner):
    def build_model(self):
        return nn.Sequential(nn.Linear(4, 1))
"""
LOSS = """
from torch import nn
from openfl_like.frameworks.torch import TorchRunner

class Runner(TorchRunner):
    def build_model(self):
        return nn.Linear(3, 2)

    def loss(self, outputs, targets):
        try:
            return outputs.sum() + targets.nothing
        except AttributeError as error:
            raise RuntimeError("no loss") from error
"""
SKLEARN = """
from sklearn.linear_model import LogisticRegression
from openfl_like.frameworks.sklearn import SklearnRunner

class Runner(SklearnRunner):
    def build_estimator(self):
        return LogisticRegression()
"""
KERAS = """
import keras
from openfl_like.frameworks.keras import KerasRunner

class Runner(KerasRunner):
    def build_model(self):
        return keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1)])
"""
NUMPY_LOADER = "openfl_like.frameworks.numpy:NumpyLoader"
BATCH = ("float32[8, 3]", "int64[8]")


def failure_in(tmp_path: Path, code: str, loader: str = NUMPY_LOADER, value: float = 0.625) -> Failure:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/model.py").write_text(code)
    plan = Plan(
        name="numbers",
        task_runner=Component(template="src.model:Runner"),
        data_loader=Component(template=loader, settings={"batch_size": 8}),
        tasks={"train": Task(function="train")},
    )
    data = Dataset(np.full((20, 3), value, dtype=np.float32), np.arange(20) % 2)
    shard = ArrayShard({"train": data, "validate": data}, "made up", (0.0, 1.0), classes=2)
    performer = Performer(plan, shard, tmp_path)
    start, out = tmp_path / "start.safetensors", tmp_path / "out.safetensors"
    performer.perform(Assignment(0, Phase.INITIALISE, "bern", (), "", 5), None, start)
    task = TaskCall("train", "train", trains=True)
    with pytest.raises(FailedTaskError) as caught:
        performer.perform(Assignment(1, Phase.TRAIN, "bern", (task,), "m", 5), start, out)
    return caught.value.failure


def line(code: str, words: str) -> int:
    return next(number for number, text in enumerate(code.splitlines(), 1) if words in text)


def test_the_line_of_the_workspace_and_the_batch_are_told_and_no_value_of_it(tmp_path: Path) -> None:
    failure = failure_in(tmp_path, NUMPY)
    number = line(NUMPY, "samples @")
    assert (failure.error, failure.file, failure.line, failure.call) == ("ValueError", "src/model.py", number, "")
    assert (failure.samples, failure.targets) == BATCH
    assert f"(src/model.py:{number}; the batch has samples float32[8, 3], targets int64[8])" in str(failure)
    assert "0.625" not in str(fields_of_failure(failure))
    assert failure_from_fields(fields_of_failure(failure)) == failure


@pytest.mark.torch
@pytest.mark.parametrize(
    ("code", "words"), [(TORCH, "self.layer(samples)"), (LOSS, "raise RuntimeError")], ids=["forward", "loss"]
)
def test_a_forward_pass_and_a_loss_of_the_workspace_are_named(tmp_path: Path, code: str, words: str) -> None:
    failure = failure_in(tmp_path, code, "torch")
    assert (failure.error, failure.file, failure.line, failure.call) == (
        "RuntimeError",
        "src/model.py",
        line(code, words),
        "",
    )
    assert (failure.samples, failure.targets) == BATCH


@pytest.mark.torch
def test_the_call_of_the_training_loop_is_told_where_no_line_is_the_workspaces(tmp_path: Path) -> None:
    failure = failure_in(tmp_path, LAYERS, "torch")
    assert "mat1 and mat2 shapes cannot be multiplied" in failure.message
    assert (failure.file, failure.call) == ("", "outputs = self._module(samples.to(self._device))")
    assert (failure.samples, failure.targets) == BATCH
    assert "(the training loop's 'outputs = self._module(samples.to(self._device))'; the batch has" in str(failure)


@pytest.mark.sklearn
def test_what_scikit_learn_raises_has_call_and_batch(tmp_path: Path) -> None:
    failure = failure_in(tmp_path, SKLEARN, value=float("nan"))
    assert "Input X contains NaN" in failure.message
    assert failure.call.startswith("scores = estimator.decision_function(flat)")
    assert (failure.file, failure.samples, failure.targets) == ("", "float64[20, 3]", "int64[20]")


@pytest.mark.tensorflow
def test_what_keras_raises_has_call_and_batch(tmp_path: Path) -> None:
    failure = failure_in(tmp_path, KERAS)
    assert (failure.file, failure.call) == ("", "outputs = self._model(samples, training=True)")
    assert (failure.samples, failure.targets) == BATCH


def test_of_what_is_no_array_only_the_class_is_told() -> None:
    assert form_of({"name": "Ada"}) == "dict"
    assert form_of(np.zeros((2, 0), bool)) == "bool[2, 0]"
