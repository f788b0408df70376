"""Whole Keras models as files: out with the weights of a model, and back."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from openfl_like.authoring.models import INITIAL_MODEL, export_model, own_runner, prepare_initial_model
from openfl_like.errors import TensorError, UsageError
from openfl_like.frameworks.formats.files import read_model, write_model
from openfl_like.plan.load import load_plan
from openfl_like.plan.workspace import template_path
from openfl_like.tensors.container import read_tensors, write_tensors


def bits(tensors: Mapping[str, np.ndarray]) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    return {name: (array.dtype.name, array.shape, array.tobytes()) for name, array in tensors.items()}


@pytest.mark.tensorflow
def test_a_keras_model_goes_out_whole_and_comes_back(tmp_path: Path) -> None:
    import keras  # noqa: PLC0415 - by a run of its own only

    workspace = template_path("keras_digits")
    plan = load_plan(workspace / "plan.yaml")
    with own_runner(plan, workspace) as runner:
        runner.initialise(5)
        mine = {name: array.copy() for name, array in runner.get_tensors().items()}
    write_tensors(tmp_path / "mine.safetensors", mine)
    with own_runner(plan, workspace) as runner:
        export_model(tmp_path / "mine.safetensors", tmp_path / "mine.keras", runner)
    whole = keras.models.load_model(tmp_path / "mine.keras")
    assert [weight.numpy().tobytes() for weight in whole.weights] == [
        mine[name].tobytes() for name in ("dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias")
    ]
    prepare_initial_model(tmp_path / "mine.keras", plan, workspace, tmp_path)
    assert bits(read_tensors(tmp_path / INITIAL_MODEL)) == bits(mine)
    (tmp_path / "other.keras").write_bytes(b"no archive")
    with own_runner(plan, workspace) as runner, pytest.raises(TensorError, match="do not fit the plan's model"):
        read_model(tmp_path / "other.keras", runner)
    other = template_path("numpy_breast_cancer")
    with (
        own_runner(load_plan(other / "plan.yaml"), other) as runner,
        pytest.raises(UsageError, match="not a Keras model"),
    ):
        write_model(tmp_path / "other.keras", mine, runner)
