"""What is special to Keras; the rest is in the contract of task runners."""

from typing import Any

import numpy as np
import pytest

from openfl_like.data.shard import ArrayShard, Dataset
from openfl_like.errors import DeviceError, UsageError
from openfl_like.frameworks.numpy import NumpyLoader
from openfl_like.frameworks.runner import RunnerContext

pytestmark = pytest.mark.tensorflow
CONTEXT = RunnerContext(sample_shape=(3,))


def network(units: int = 2) -> object:
    """What a workspace's function would give."""
    import keras  # noqa: PLC0415 - by this process only

    return keras.Sequential([keras.layers.Dense(4), keras.layers.Dropout(0.5), keras.layers.Dense(units)])


def build(targets: np.ndarray, context: RunnerContext = CONTEXT, **settings: object) -> Any:  # noqa: ANN401 - Keras has no types
    from openfl_like.frameworks.keras import KerasModel  # noqa: PLC0415 - as above

    samples = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    data = Dataset(samples, targets)
    shard = ArrayShard({"train": data, "validate": data}, "random numbers", (-10.0, 10.0))
    made = KerasModel(NumpyLoader(shard, 8), context, model=f"{__name__}:network", **settings)  # type: ignore[arg-type] # a plan's
    made.initialise(1)
    made.begin(1)
    return made


def test_a_function_and_the_name_of_an_optimizer_are_enough() -> None:
    optimizer = {"class_name": "Adam", "config": {"learning_rate": 0.01}}
    made = build(np.arange(20) % 5, arguments={"units": 5}, optimizer=optimizer)
    assert list(made.get_tensors()) == ["dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias"]
    before = made.validate().metrics["loss"]
    made.train(epochs=10)
    assert made.validate().metrics["loss"] < before
    assert float(made.optimizer.learning_rate) == pytest.approx(0.01)


@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_without_a_gpu_it_works_on_the_cpu(device: str) -> None:
    made = build(np.zeros((20, 2), np.float32), RunnerContext(sample_shape=(3,), device=device))
    assert made.train().metrics["loss"] > 0


def test_a_gpu_that_tensorflow_does_not_find_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf  # noqa: PLC0415 - as above

    from openfl_like.frameworks import keras as ours  # noqa: PLC0415 - as above

    with pytest.raises(DeviceError, match=r"given 'cuda:0', but this TensorFlow \(.*\) finds no GPU"):
        build(np.zeros((20, 2), np.float32), RunnerContext(sample_shape=(3,), device="cuda:0"))
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    names = [ours._choose_device(device) for device in ("cpu", "auto", "cuda:1")]
    assert names == ["CPU:0", "GPU:0", "GPU:1"]


def test_a_regression_reports_its_loss_alone() -> None:
    made = build(np.zeros((20, 2), np.float32))
    assert made.validate().metrics.keys() == {"loss"}


def test_other_threads_than_those_that_run_are_refused() -> None:
    build(np.zeros((20, 2), np.float32)).train()
    with pytest.raises(UsageError, match="TensorFlow runs here already, not with 3 threads"):
        build(np.zeros((20, 2), np.float32), RunnerContext(sample_shape=(3,), threads=3))


def test_a_new_process_draws_like_one_that_has_a_model() -> None:
    targets = np.zeros((20, 2), np.float32)
    old, new = build(targets), build(targets)
    start = {name: array.copy() for name, array in old.get_tensors().items()}
    new._made = None  # as if its worker had been started again
    ends = []
    for runner in (old, new):
        runner.begin(5)
        runner.set_tensors(start)
        runner.train()
        ends.append({name: array.tobytes() for name, array in runner.get_tensors().items()})
    assert ends[0] == ends[1]
