"""A JAX model as the training loop sees it: pure functions over named arrays."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias, cast

import jax
import numpy as np
from jax import numpy as jnp

from openfl_like.frameworks.model import Observation, Tensors

Array: TypeAlias = Any  # a jax.Array, or a tracer of one
Arrays: TypeAlias = dict[str, Array]
Tree: TypeAlias = Any
"""Nested dicts, lists and tuples of arrays."""


class JaxOptimizer(Protocol):
    """As optimizers of optax are: any ``optax.GradientTransformation`` is one."""

    @property
    def init(self) -> Callable[[Arrays], Tree]:
        """The function that makes the state before the first step from the weights."""
        ...

    @property
    def update(self) -> Callable[[Arrays, Tree, Arrays], tuple[Arrays, Tree]]:
        """The function that gives what to add to the weights, and the next state, from gradients, state and weights."""
        ...


def named_leaves(tree: Tree) -> Arrays:
    """Return the arrays of a tree by the names of their places: ``dense/weight``, ``layers/0/bias``."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {"/".join(_word(key) for key in path): leaf for path, leaf in leaves}


def with_leaves(tree: Tree, leaves: Arrays) -> Tree:
    """Return a tree of the same form with other arrays, by the names of their places."""
    return jax.tree_util.tree_unflatten(
        jax.tree_util.tree_structure(tree), [leaves[name] for name in named_leaves(tree)]
    )


class JaxModel:
    """A `model.Model` that owns its values; floating-point arrays are trained, all others stay as they are.

    Args:
        tree: The parameters.
        predict: Gives outputs from parameters, samples and a random key, or None where nothing is drawn.
        loss: Gives the mean loss of a batch from outputs and targets.
        optimizer: Sees the trained arrays as one dict.
        device: Where everything is.
    """

    def __init__(
        self,
        tree: Tree,
        predict: Callable[[Tree, Array, Array | None], Array],
        loss: Callable[[Array, Array], Array],
        optimizer: JaxOptimizer,
        device: Any,  # noqa: ANN401 - jax.Device
    ) -> None:
        self._tree, self._predict, self._loss, self._optimizer = tree, predict, loss, optimizer
        self._device = device
        self._slopes = jax.jit(jax.value_and_grad(self._loss_of, has_aux=True))
        self._measured = jax.jit(lambda trained, fixed, *batch: self._loss_of(trained, fixed, None, *batch))
        self._stepped = jax.jit(self._step)
        self._key: Array = None
        self._steps = 0
        self.values: Arrays = {}
        self.fill(named_leaves(tree))
        self.forget()

    def fill(self, values: Tensors) -> None:
        """Replace all values."""
        values = {name: jax.device_put(value, self._device) for name, value in values.items()}
        self.values = {name: values[name] for name in named_leaves(self._tree)}

    def forget(self) -> None:
        """Make the optimizer's state anew."""
        self.state = jax.device_put(self._optimizer.init(self._trained()), self._device)

    def seed(self, seed: int) -> None:
        """Have every draw of the steps to come depend on this alone."""
        self._key, self._steps = key_of(seed), 0

    def loss_and_gradients(self, samples: np.ndarray, targets: np.ndarray) -> tuple[Observation, Tensors]:
        """See `model.Model`; samples ``[n, *sample_shape]``, targets ``[n, *target_shape]``."""
        key = jax.random.fold_in(self._key, self._steps)
        self._steps += 1
        (loss, outputs), gradients = self._slopes(self._trained(), self._fixed(), key, *self._batch(samples, targets))
        return Observation(float(loss), np.asarray(outputs, np.float64), targets), gradients

    def gradients_at(self, weights: Tensors, samples: np.ndarray, targets: np.ndarray) -> Tensors:
        """See `model.GradientsAnywhere`; it draws what the last batch drew."""
        key = jax.random.fold_in(self._key, max(0, self._steps - 1))
        trained = {**self._trained(), **weights}
        _, gradients = self._slopes(trained, self._fixed(), key, *self._batch(samples, targets))
        return cast("Tensors", gradients)

    def apply(self, gradients: Tensors) -> None:
        """Have the optimizer step."""
        trained, self.state = self._stepped(gradients, self.state, self._trained())
        self.values = {**self.values, **trained}

    def weights(self) -> Arrays:
        """Return the trained arrays; a step makes new ones."""
        return self._trained()

    def to_arrays(self, tensors: Tensors) -> dict[str, np.ndarray]:
        """Return arrays that may share memory."""
        return {name: np.asarray(tensor) for name, tensor in tensors.items()}

    def to_tensors(self, arrays: Mapping[str, np.ndarray]) -> Arrays:
        """Return copies on the model's device."""
        return {name: jax.device_put(np.array(array), self._device) for name, array in arrays.items()}

    def measure(self, samples: np.ndarray, targets: np.ndarray) -> Observation:
        """Look at a batch without gradients."""
        loss, outputs = self._measured(self._trained(), self._fixed(), *self._batch(samples, targets))
        return Observation(float(loss), np.asarray(outputs, np.float64), targets)

    def _loss_of(self, trained: Arrays, fixed: Arrays, key: Array | None, *batch: Array) -> tuple[Array, Array]:
        outputs = self._predict(with_leaves(self._tree, {**trained, **fixed}), batch[0], key)
        return self._loss(outputs, batch[1]), outputs

    def _step(self, gradients: Arrays, state: Tree, trained: Arrays) -> tuple[Arrays, Tree]:
        moves, state = self._optimizer.update(gradients, state, trained)
        return {name: (value + moves[name]).astype(value.dtype) for name, value in trained.items()}, state

    def _trained(self) -> Arrays:
        return {name: value for name, value in self.values.items() if jnp.issubdtype(value.dtype, jnp.floating)}

    def _fixed(self) -> Arrays:
        return {name: value for name, value in self.values.items() if not jnp.issubdtype(value.dtype, jnp.floating)}

    def _batch(self, samples: np.ndarray, targets: np.ndarray) -> tuple[Array, Array]:
        return jax.device_put(samples, self._device), jax.device_put(targets, self._device)


def key_of(seed: int) -> Array:
    """Return a random key of all 63 bits of a seed, whether or not JAX works with 64 bits."""
    return jax.random.fold_in(jax.random.key(seed >> 32), seed & 0xFFFFFFFF)


def _word(key: Any) -> str:  # noqa: ANN401 - each kind of key has its own class
    for attribute in ("key", "idx", "name"):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    return str(key)
