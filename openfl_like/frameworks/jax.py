"""Task runner for JAX; only the modules ``jax*`` of this package import it.

Batches are numpy arrays, as `openfl_like.frameworks.numpy:NumpyLoader` gives them.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

from openfl_like.errors import DeviceError
from openfl_like.frameworks.jax_model import (
    Array,
    Arrays,
    JaxModel,
    JaxOptimizer,
    Tree,
    key_of,
    named_leaves,
    with_leaves,
)
from openfl_like.frameworks.runner import DataLoader, RunnerContext, TaskResult, check_tensors
from openfl_like.frameworks.targets import check_classes, check_numbers, check_two_classes
from openfl_like.frameworks.training import FormerNames, Training, is_own
from openfl_like.tensors.named import OPTIMIZER


@dataclass(frozen=True, slots=True)
class GradientDescent:
    """Gradient descent with momentum (Polyak 1964), with the interface of optax.

    Attributes:
        lr: Learning rate.
        momentum: Share of the last step that is kept.
    """

    lr: float = 0.1
    momentum: float = 0.0

    @property
    def init(self) -> Callable[[Arrays], Tree]:
        """The last steps before the first one: zeros, or none without momentum."""
        return lambda weights: {name: jnp.zeros_like(value) for name, value in weights.items()} if self.momentum else {}

    @property
    def update(self) -> Callable[[Arrays, Tree, Arrays], tuple[Arrays, Tree]]:
        """The function that gives the next steps, which are also the next state."""
        return self._update

    def _update(self, gradients: Arrays, state: Tree, weights: Arrays) -> tuple[Arrays, Tree]:
        last = state or dict.fromkeys(weights, 0.0)
        moves = {name: self.momentum * last[name] - self.lr * gradient for name, gradient in gradients.items()}
        return moves, moves if self.momentum else {}


class JaxRunner(FormerNames, ABC):
    """A model of JAX with the tasks ``train`` and ``validate``.

    A subclass gives `build_model` and `predict`, and may replace `build_optimizer` and `loss` or add task functions.
    The model is made when it is first needed. Tensors are named after their places in the tree of parameters:
    ``dense/weight``. Floating-point ones are trained, all others stay as they are.

    JAX has 32 bits unless it is told otherwise before it makes its first array:
    ``jax.config.update("jax_enable_x64", True)`` at the top of the workspace's module gives it 64. The number of
    threads is JAX's own.

    Args:
        loader: Batches of the site.
        context: Where to work.

    Raises:
        DeviceError: If the worker was given a GPU that JAX does not find.
    """

    def __init__(self, loader: DataLoader[np.ndarray], context: RunnerContext) -> None:
        self.loader = loader
        self.context = context
        self.training = Training.of(context, lambda: is_own(self.loss, JaxRunner.loss))
        self._device = _choose_device(context.device)
        self._made: JaxModel | None = None

    @abstractmethod
    def build_model(self, key: Array) -> Tree:
        """Make the parameters: nested dicts, lists or tuples of arrays, drawn from the key alone."""

    @abstractmethod
    def predict(self, params: Tree, samples: Array, key: Array | None) -> Array:
        """Return the outputs for samples, ``[n]`` or ``[n, classes]``; it is compiled, so it must be pure.

        Args:
            params: As `build_model` made them.
            samples: ``[n, *sample_shape]``.
            key: For what is drawn in a training step, such as dropout; None when the model is measured.
        """

    def build_optimizer(self) -> JaxOptimizer:
        """Make the optimizer, such as one of optax; plain gradient descent with rate 0.1 unless replaced."""
        return GradientDescent()

    def loss(self, outputs: Array, targets: Array) -> Array:
        """Return the mean loss of a batch; outputs are logits.

        Unless replaced: squared error for targets that are floats, else cross entropy, in its binary form when the
        model has one output.

        Raises:
            TensorError: If outputs and targets do not belong together, by their shapes.
        """
        shapes = outputs.shape, targets.shape
        if jnp.issubdtype(targets.dtype, jnp.floating):
            check_numbers(*shapes, self.context.classes)
            return jnp.mean((outputs - targets.reshape(outputs.shape)) ** 2)
        if outputs.ndim == 1 or outputs.shape[-1] == 1:
            check_two_classes(*shapes, self.context.classes)
            truth, flat = targets.reshape(-1), outputs.reshape(-1)
            return jnp.mean(jnp.logaddexp(0.0, flat) - truth * flat)
        check_classes(*shapes)
        truth = targets.reshape(outputs.shape[:-1]).astype(jnp.int32)
        chosen = jnp.take_along_axis(outputs, truth[..., None], axis=-1)[..., 0]
        return jnp.mean(jax.nn.logsumexp(outputs, axis=-1) - chosen)

    @property
    def model(self) -> JaxModel:
        """The model with its values and its optimizer's state."""
        if self._made is None:
            self._made = self._build(0)
        return self._made

    def initialise(self, seed: int) -> None:
        """Make the model anew from the seed."""
        self._made = self._build(seed)
        self.begin(seed)

    def begin(self, seed: int) -> None:
        """Take the seed of an assignment; forget the optimizer's state under ``RESET``."""
        self.training.begin(seed)
        self.model.seed(seed)
        if self.context.opt_treatment == "RESET":
            self.model.forget()

    def get_tensors(self) -> dict[str, np.ndarray]:
        """Return the parameters as arrays of the same dtypes, which cannot be written to."""
        return {name: np.asarray(value) for name, value in {**self.model.values, **self._shared_state()}.items()}

    def set_tensors(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Copy values into new arrays; see `runner.TaskRunner.set_tensors`."""
        check_tensors(tensors, self.get_tensors())
        model, copies = self.model, {name: np.array(array) for name, array in tensors.items()}
        model.fill({name: copies[name] for name in model.values})
        if self.context.names_optimizer:
            leaves = {
                name: jax.device_put(copies[OPTIMIZER + name], self._device) for name in named_leaves(model.state)
            }
            model.state = with_leaves(model.state, leaves)

    def train(self, epochs: int = 1) -> TaskResult:
        """Train for some epochs; the metrics are those of the last one, each batch measured before its step."""
        return self.training.train(self.loader, self.model, epochs)

    def validate(self) -> TaskResult:
        """Measure the model on the held-out samples."""
        return self.training.validate(self.model.measure, self.loader)

    def _build(self, seed: int) -> JaxModel:
        with jax.default_device(self._device):
            tree = self.build_model(key_of(seed))
        model = JaxModel(tree, self.predict, self.loss, self.build_optimizer(), self._device)
        model.seed(seed)
        return model

    def _shared_state(self) -> Arrays:
        if not self.context.names_optimizer:
            return {}
        return {f"{OPTIMIZER}{name}": value for name, value in named_leaves(self.model.state).items()}


def _choose_device(name: str) -> Any:  # noqa: ANN401 - jax.Device
    if name == "auto":
        return jax.devices()[0]
    if name == "cpu":
        return jax.devices("cpu")[0]
    try:
        return jax.devices("gpu")[int(name.partition(":")[2] or 0)]
    except (RuntimeError, IndexError) as error:
        raise DeviceError(
            f"the worker was given '{name}', but this JAX ({jax.__version__}) does not find it",
            cure="install a build of JAX for GPUs, or ask for auto in collaborator.settings.device",
        ) from error
