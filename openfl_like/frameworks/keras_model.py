"""A Keras model as the training loop sees it."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, TypeAlias, cast

import keras
import numpy as np
import tensorflow as tf

from openfl_like.errors import UsageError
from openfl_like.frameworks.model import Observation, Tensors

Tensor: TypeAlias = Any  # neither library has types
Function: TypeAlias = Callable[..., Any]


class KerasNetwork:
    """A `model.Model` of a Keras model and its optimizer; functions are traced when they are first called.

    Args:
        model: With weights.
        optimizer: Built for the model's trainable weights.
        names: Of the trainable weights, in the model's order.
        loss: Gives the mean loss of a batch from outputs and targets.
        device: TensorFlow's name of it.
    """

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        names: list[str],
        loss: Callable[[Tensor, Tensor], Tensor],
        device: str,
    ) -> None:
        self._model, self._optimizer, self._names = model, optimizer, names
        self._loss, self._device = loss, device
        self._functions: dict[str, Function] = {}
        self.plain = True
        """Whether nobody looks at gradients: then they may be scaled, or sparse."""

    def loss_and_gradients(self, samples: np.ndarray, targets: np.ndarray) -> tuple[Observation, Tensors]:
        """See `model.Model`; samples ``[n, *sample_shape]``, targets ``[n, *target_shape]``."""
        with self._place():
            loss, outputs, slopes = self._traced("slopes", self._slopes, samples, targets)(samples, targets)
            found = {name: slope for name, slope in zip(self._names, slopes, strict=True) if slope is not None}
            gradients = found if self.plain else self._comparable(found)
        return Observation(float(loss), np.asarray(outputs, np.float64), targets), gradients

    def gradients_at(self, weights: Tensors, samples: np.ndarray, targets: np.ndarray) -> Tensors:
        """See `model.GradientsAnywhere`; the states of the model's generators are variables of it."""
        own = dict(zip(self._names, self._model.trainable_variables, strict=True))
        before = [(variable, tf.identity(variable.value)) for variable in self._model.variables]
        try:
            for name, value in weights.items():
                own[name].assign(value)
            return self.loss_and_gradients(samples, targets)[1]
        finally:
            for variable, value in before:
                variable.assign(value)

    def apply(self, gradients: Tensors) -> None:
        """Have the optimizer step."""
        if "apply" not in self._functions:
            self._functions["apply"] = tf.function(self._apply, autograph=False, reduce_retracing=True)
        with self._place():
            self._functions["apply"]([gradients.get(name) for name in self._names])

    def weights(self) -> dict[str, Tensor]:
        """Return what the weights are now; a step does not change it."""
        variables = self._model.trainable_variables
        return {name: tf.identity(variable.value) for name, variable in zip(self._names, variables, strict=True)}

    def to_arrays(self, tensors: Tensors) -> dict[str, np.ndarray]:
        """Return arrays; TensorFlow may keep their memory."""
        return {name: np.asarray(tensor) for name, tensor in tensors.items()}

    def to_tensors(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
        """Return copies on the model's device."""
        with self._place():
            return {name: tf.constant(np.array(array)) for name, array in arrays.items()}

    def measure(self, samples: np.ndarray, targets: np.ndarray) -> Observation:
        """Look at a batch without gradients."""
        with self._place():
            loss, outputs = self._traced("measure", self._measured, samples, targets)(samples, targets)
        return Observation(float(loss), np.asarray(outputs, np.float64), targets)

    def _traced(self, name: str, function: Function, samples: np.ndarray, targets: np.ndarray) -> Function:
        if name not in self._functions:
            signature = [tf.TensorSpec([None, *array.shape[1:]], array.dtype) for array in (samples, targets)]
            self._functions[name] = tf.function(function, input_signature=signature, autograph=False)
        return self._functions[name]

    def _slopes(self, samples: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        with tf.GradientTape() as tape:
            outputs = self._model(samples, training=True)
            loss = self._loss(outputs, targets)
            penalties = [keras.ops.cast(penalty, loss.dtype) for penalty in self._model.losses]
            scaled = self._optimizer.scale_loss(tf.add_n([loss, *penalties]))
        return loss, outputs, tape.gradient(scaled, self._model.trainable_variables)

    def _apply(self, slopes: list[Tensor]) -> None:
        self._optimizer.apply(slopes, self._model.trainable_variables)

    def _measured(self, samples: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        outputs = self._model(samples, training=False)
        return self._loss(outputs, targets), outputs

    def _comparable(self, slopes: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return gradients that can be added to weights."""
        if isinstance(self._optimizer, keras.optimizers.LossScaleOptimizer):
            cure = "use the optimizer without LossScaleOptimizer, or leave algorithm out of the plan"
            raise UsageError("an algorithm cannot adjust gradients of a scaled loss", cure=cure)
        return {name: tf.convert_to_tensor(slope) for name, slope in slopes.items()}

    def _place(self) -> AbstractContextManager[None]:
        return cast("AbstractContextManager[None]", tf.device(self._device))
