"""The global model that an assignment starts from."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TypeAlias

import numpy as np

from openfl_like.errors import TaskError
from openfl_like.frameworks.algorithms.base import is_algorithms
from openfl_like.tensors.container import TensorFile

GlobalModel: TypeAlias = Path | TensorFile
"""A global model: its file, or that file open for all who want it."""


def opened(model: GlobalModel) -> AbstractContextManager[TensorFile]:
    """Open a model for a while; one that is open already stays so."""
    return nullcontext(model) if isinstance(model, TensorFile) else TensorFile(model)


def shared_tensors(model: GlobalModel) -> dict[str, np.ndarray]:
    """Read the algorithm's tensors in a global model."""
    with opened(model) as file:
        return {name: np.array(file.tensor(name)) for name in file.names if is_algorithms(name)}


def given(model: GlobalModel | None) -> GlobalModel:
    """Return a model that has to be there.

    Raises:
        TaskError: If it is not.
    """
    if model is None:
        raise TaskError("the assignment came without a model file")
    return model
