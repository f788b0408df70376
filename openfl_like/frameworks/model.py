"""What the training loop asks of a model, whatever the framework."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np

Tensor: TypeAlias = Any
"""A tensor in a framework's own form: ``torch.Tensor``, ``tf.Tensor``, ``jax.Array``, ``np.ndarray``. They have the
operators ``+ - * /`` among themselves and with numbers in common, and nothing else is asked of them."""
Tensors: TypeAlias = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Observation:
    """What a model made of a batch.

    Attributes:
        loss: Mean loss over the batch.
        scores: Its outputs, ``[n]`` or ``[n, classes]``, any float dtype.
        targets: ``[n, *target_shape]``.
    """

    loss: float
    scores: np.ndarray
    targets: np.ndarray


class Model(Protocol):
    """A model that is trained by gradients.

    The names of weights and gradients are those that the tensors have in the update. An adapter is made for one call of
    ``train``: the weights that are trained do not change during it, their values do.
    """

    def loss_and_gradients(self, samples: Tensor, targets: Tensor) -> tuple[Observation, Tensors]:
        """Look at a batch; return what was seen and the gradient of the mean loss, as far as weights have one."""
        ...

    def apply(self, gradients: Tensors) -> None:
        """Have the optimizer take one step along these gradients."""
        ...

    def weights(self) -> Tensors:
        """Return the weights that are trained; their memory may be the model's own, so nobody changes them."""
        ...

    def to_arrays(self, tensors: Tensors) -> dict[str, np.ndarray]:
        """Return tensors as arrays with the same bits; they may share memory."""
        ...

    def to_tensors(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
        """Return copies of arrays as tensors with the same bits, where the weights are."""
        ...


@runtime_checkable
class GradientsAnywhere(Protocol):
    """A `Model` that gives gradients at weights that are not its own; only some algorithms ask for them."""

    def gradients_at(self, weights: Tensors, samples: Tensor, targets: Tensor) -> Tensors:
        """Return the gradient of the mean loss of a batch at these weights, as far as they have one.

        Nothing is left of it: weights, running statistics, generators and gradients are what they were.
        """
        ...
