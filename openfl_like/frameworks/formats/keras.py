"""Whole Keras models as files, on the user's own machine only."""

import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from openfl_like.errors import TensorError, UsageError
from openfl_like.frameworks.formats.files import first_line
from openfl_like.frameworks.keras import KerasRunner
from openfl_like.frameworks.runner import TaskRunner


class KerasArchive:
    """A ``.keras`` file; of one that is read only the weights are taken, into the plan's own model."""

    def read(self, path: Path, runner: TaskRunner | None) -> dict[str, np.ndarray]:
        """Read the weights; the layers must be those of the plan's model."""
        own = _keras(runner, path)
        try:
            own.model.load_weights(path)
        except Exception as error:
            message = f"the weights do not fit the plan's model: {first_line(error)}"
            raise TensorError(message, place=str(path)) from error
        return own.get_tensors()

    def write(self, path: Path, tensors: Mapping[str, np.ndarray], runner: TaskRunner | None) -> None:
        """Write the plan's model with these tensors as its weights, for ``keras.models.load_model(path)``."""
        own = _keras(runner, path)
        own.set_tensors(tensors)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of TensorFlow, about what numpy 2 calls a copy
            own.model.save(path)


def _keras(runner: TaskRunner | None, path: Path) -> KerasRunner:
    if not isinstance(runner, KerasRunner):
        cure = "write .pt, .npz or .safetensors"
        raise UsageError("the plan's model is not a Keras model", place=str(path), cure=cure)
    return runner
