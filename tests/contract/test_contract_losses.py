"""What the loss that comes with a runner does with targets in every framework: it learns from them or refuses them."""

from importlib import import_module

import numpy as np
import pytest

from openfl_like.data.shard import ArrayShard, Dataset
from openfl_like.errors import TensorError
from openfl_like.frameworks.numpy import NumpyLoader
from openfl_like.frameworks.runner import RunnerContext
from tests.contract.test_contract_runners import Runner
from tests.frameworks import marks_of

SAMPLES = np.random.default_rng(3).normal(size=(48, 3)).astype(np.float32)
SCORES = SAMPLES @ np.array([1.0, -2.0, 0.5], np.float32)
NUMBERS = SCORES + np.float32(3)
THREE = np.digitize(SCORES, np.quantile(SCORES, [1 / 3, 2 / 3]))

every = pytest.mark.parametrize(
    "framework", [pytest.param(name, marks=marks_of(name)) for name in ("torch", "keras", "jax")]
)


def build(framework: str, targets: np.ndarray, outputs: int = 1, classes: int = 0) -> Runner:
    """A linear model of this framework, in front of these targets."""
    models = import_module(f"tests.contract.{framework}_models")
    data = Dataset(SAMPLES, targets)
    shard = ArrayShard({"train": data, "validate": data}, "made up", (-10.0, 10.0), classes)
    if framework == "torch":
        loader = import_module("openfl_like.frameworks.torch").TorchLoader(shard, 16)
    else:
        loader = NumpyLoader(shard, 16)
    kind = type("Line", (models.Line,), {"outputs": outputs})
    runner: Runner = kind(loader, RunnerContext(sample_shape=(3,), classes=classes))
    runner.initialise(2)
    runner.begin(2)
    return runner


@every
@pytest.mark.parametrize("column", [False, True], ids=["vector", "column"])
def test_one_output_comes_near_to_one_number(framework: str, *, column: bool) -> None:
    runner = build(framework, NUMBERS[:, None] if column else NUMBERS)
    runner.train(epochs=30)
    assert runner.validate().metrics["loss"] < 1e-3


@every
@pytest.mark.parametrize(("targets", "outputs"), [(NUMBERS, 3), (np.stack([NUMBERS] * 2, axis=1), 1)])
def test_numbers_are_never_broadcast(framework: str, targets: np.ndarray, outputs: int) -> None:
    runner = build(framework, targets, outputs)
    with pytest.raises(TensorError, match=r"outputs have the shape \[n, \d\], the targets \[n"):
        runner.train()
    with pytest.raises(TensorError):
        runner.validate()


@every
@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "uint8", "uint16", "bool"])
@pytest.mark.parametrize("outputs", [1, 3])
def test_class_numbers_are_the_same_in_any_dtype_and_as_a_column(framework: str, dtype: str, outputs: int) -> None:
    truth = THREE if outputs == 3 and dtype != "bool" else THREE > 0
    right = build(framework, truth.astype(np.int64), outputs).train(epochs=2)
    assert {"accuracy", "loss"} <= right.metrics.keys()
    assert build(framework, truth.astype(dtype), outputs).train(epochs=2) == right
    assert build(framework, truth.astype(dtype)[:, None], outputs).train(epochs=2) == right


@every
def test_one_output_does_not_tell_three_classes_apart(framework: str) -> None:
    with pytest.raises(TensorError, match="3 classes"):
        build(framework, THREE, classes=3).train()


@every
def test_one_hot_rows_are_refused(framework: str) -> None:
    with pytest.raises(TensorError, match="one-hot"):
        build(framework, np.eye(3, dtype=np.int64)[THREE], 3).train()


@every
@pytest.mark.parametrize("targets", [np.where(SCORES > 0, 1, -1), THREE], ids=["-1 and 1", "0 to 2"])
def test_numbers_that_are_no_class_of_the_model_change_nothing(framework: str, targets: np.ndarray) -> None:
    runner = build(framework, targets)
    before = {name: array.copy() for name, array in runner.get_tensors().items()}
    with pytest.raises(TensorError, match="is not the number of a class"):
        runner.train()
    assert all(np.array_equal(array, before[name]) for name, array in runner.get_tensors().items())
