"""The model that a task is given: a global one, or that of the site in its place."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from openfl_like.errors import TaskError
from openfl_like.frameworks.algorithms.base import is_algorithms
from openfl_like.tensors.container import TensorFile

GlobalModel: TypeAlias = Path | TensorFile
"""A global model: its file, or that file open for all who want it."""


@dataclass(frozen=True, slots=True, eq=False)
class PersonalModel:
    """The model of a site's own that an algorithm keeps there.

    Attributes:
        model: The global one, for all that the algorithm has not trained.
        weights: Those of the site's own, by the names of the model's tensors; none: it has not trained yet.
    """

    model: GlobalModel
    weights: Mapping[str, np.ndarray]


GivenModel: TypeAlias = GlobalModel | PersonalModel


def opened(model: GlobalModel) -> AbstractContextManager[TensorFile]:
    """Open a model for a while; one that is open already stays so."""
    return nullcontext(model) if isinstance(model, TensorFile) else TensorFile(model)


def with_own(tensors: dict[str, np.ndarray], own: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the tensors of a global model with the weights of a site's own in the place of its, in their precision.

    Raises:
        TaskError: If those are not weights of this model.
    """
    wrong = [name for name, array in own.items() if name not in tensors or tensors[name].shape != array.shape]
    if wrong:
        raise TaskError(f"the site's own model has another '{wrong[0]}' than the global one, or one that this has not")
    return {**tensors, **{name: array.astype(tensors[name].dtype, copy=False) for name, array in own.items()}}


def shared_of(model: GlobalModel) -> dict[str, np.ndarray]:
    """Read the algorithm's tensors in a global model."""
    with opened(model) as file:
        return {name: np.array(file.tensor(name)) for name in file.names if is_algorithms(name)}


def is_given(model: GlobalModel | None) -> GlobalModel:
    """Return the model of an assignment; raises TaskError if it came without one."""
    if model is None:
        raise TaskError("the assignment came without a model file")
    return model
