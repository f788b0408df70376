"""Task runners for Keras 3 on TensorFlow; only the modules ``keras*`` of this package import them.

Batches are numpy arrays, as `openfl_like.frameworks.numpy:NumpyLoader` gives them.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import numpy as np

from openfl_like import registry
from openfl_like.errors import DeviceError, UsageError
from openfl_like.frameworks.names import stable_names
from openfl_like.frameworks.runner import DataLoader, RunnerContext, TaskResult, check_tensors, hooks_of
from openfl_like.frameworks.targets import check_classes, check_numbers, check_two_classes
from openfl_like.frameworks.training import FormerNames, Training, is_own
from openfl_like.tensors.named import OPTIMIZER

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
import keras
import tensorflow as tf

from openfl_like.frameworks.keras_model import KerasNetwork  # after the settings above, which Keras reads once

Tensor: TypeAlias = Any  # neither library has types
Variables: TypeAlias = dict[str, Any]
_HALVES = {"float16", "bfloat16"}


@dataclass(slots=True)
class _Built:
    """A model with what belongs to it."""

    model: Any
    optimizer: Any
    weights: Variables
    state: Variables
    start: Mapping[str, np.ndarray]  # the optimizer's state before its first step
    network: KerasNetwork


class KerasRunner(FormerNames, ABC):
    """A Keras model with the tasks ``train`` and ``validate``.

    A subclass gives `build_model`, and may replace `build_optimizer` and `loss` or add task functions. Its ``__init__``
    takes the plan's settings as keyword arguments. The model is made when it is first needed, so that ``__init__`` may
    set what `build_model` reads after it has called this one. A layer that has no weights yet gets them from the
    shard's ``sample_shape``.

    Tensors are named after the layers, ``dense/kernel``, ``dense_1/kernel``; layers of one name are numbered anew in
    every model, so that all processes use the same names. The same seed gives the same bits on the same machine and
    thread count: every assignment seeds Keras and every layer's own generator, deterministic operations are required,
    and the number of threads is fixed.

    Args:
        loader: Batches of the site.
        context: Where to work.

    Raises:
        UsageError: If TensorFlow runs in this process already with another number of threads, or Keras on another
            backend.
        DeviceError: If the worker was given a GPU that TensorFlow does not find.
    """

    def __init__(self, loader: DataLoader[np.ndarray], context: RunnerContext) -> None:
        _settle(context.threads)
        self.loader = loader
        self.context = context
        self._device = _choose_device(context.device)
        self._made: _Built | None = None
        self.training = Training.of(context, lambda: is_own(self.loss, KerasRunner.loss))

    @abstractmethod
    def build_model(self) -> keras.Model:
        """Make the model; its initial values may be drawn from Keras' generators, which are seeded."""

    def build_optimizer(self) -> keras.optimizers.Optimizer:
        """Make the optimizer; plain gradient descent with rate 0.1 unless replaced."""
        return keras.optimizers.SGD(learning_rate=0.1)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of a batch; outputs are logits.

        Unless replaced: squared error for targets that are floats, else cross entropy, in its binary form when the
        model has one output.

        Raises:
            TensorError: If outputs and targets do not belong together, by their shapes.
        """
        ops, shapes = keras.ops, (outputs.shape, targets.shape)
        if keras.backend.standardize_dtype(outputs.dtype) in _HALVES:
            outputs = ops.cast(outputs, "float32")
        if keras.backend.is_float_dtype(targets.dtype):
            check_numbers(*shapes, self.context.classes)
            fitted = ops.reshape(targets, ops.shape(outputs))
            return ops.mean(ops.square(outputs - ops.cast(fitted, outputs.dtype)))
        if len(outputs.shape) == 1 or outputs.shape[-1] == 1:
            check_two_classes(*shapes, self.context.classes)
            truth, flat = ops.reshape(targets, (-1,)), ops.reshape(outputs, (-1,))
            return ops.mean(ops.binary_crossentropy(ops.cast(truth, flat.dtype), flat, from_logits=True))
        check_classes(*shapes)
        truth = ops.cast(ops.reshape(targets, ops.shape(outputs)[:-1]), "int64")
        return ops.mean(ops.sparse_categorical_crossentropy(truth, outputs, from_logits=True))

    @property
    def model(self) -> keras.Model:
        """The model, with weights."""
        return self._built.model

    @property
    def optimizer(self) -> keras.optimizers.Optimizer:
        """The optimizer of the model."""
        return self._built.optimizer

    def initialise(self, seed: int) -> None:
        """Make the model anew from the seed."""
        self._made = None
        keras.utils.set_random_seed(seed % 2**32)
        self.begin(seed)

    def begin(self, seed: int) -> None:
        """Seed Keras for an assignment; forget the optimizer's state under ``RESET``."""
        tf.config.experimental.enable_op_determinism()
        # the model is made before the seed is set, so that a process that is new draws like one that has a model
        built = self._built
        keras.utils.set_random_seed(seed % 2**32)
        self.training.begin(seed)
        _reseed(built.model, seed)
        if self.context.opt_treatment == "RESET":
            for name, variable in built.state.items():
                variable.assign(built.start[name])

    def get_tensors(self) -> dict[str, np.ndarray]:
        """Return the weights, trainable or not, as arrays of the same dtypes."""
        return {name: _array(variable) for name, variable in self._variables().items()}

    def set_tensors(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Copy values into the weights; see `runner.TaskRunner.set_tensors`."""
        own = self._variables()
        check_tensors(tensors, {name: _form(variable) for name, variable in own.items()})
        for name, variable in own.items():
            variable.assign(np.array(tensors[name]))  # a copy: TensorFlow may keep the memory that it is given

    def train(self, epochs: int = 1, learning_rate: float | None = None) -> TaskResult:
        """Train for some epochs; the metrics are those of the last one, each batch measured before its step.

        Args:
            epochs: How many.
            learning_rate: That of the optimizer in this task; None: its own.
        """
        network, optimizer = self._built.network, self._built.optimizer
        if learning_rate is None:
            return self.training.train(self.loader, network, epochs)
        own = float(optimizer.learning_rate)
        optimizer.learning_rate = learning_rate
        try:
            return self.training.train(self.loader, network, epochs)
        finally:
            optimizer.learning_rate = own

    def validate(self) -> TaskResult:
        """Measure the model on the held-out samples."""
        return self.training.validate(self._built.network.measure, self.loader)

    @property
    def _built(self) -> _Built:
        if self._made is None:
            with self._place():
                self._made = self._build()
        return self._made

    def _build(self) -> _Built:
        model, optimizer = self.build_model(), self.build_optimizer()
        if not model.built:
            model(np.zeros((1, *self.context.sample_shape), np.float32), training=False)
        optimizer.build(model.trainable_variables)
        paths = [variable.path.removeprefix(f"{model.name}/") for variable in model.weights]
        weights = dict(zip(stable_names(paths), model.weights, strict=True))
        state = {f"{OPTIMIZER}{index}": variable for index, variable in enumerate(_state_of(optimizer))}
        start = {name: np.array(_array(variable)) for name, variable in state.items()}
        trained = {id(variable) for variable in model.trainable_variables}
        names = {id(variable): name for name, variable in weights.items() if id(variable) in trained}
        order = [names[id(variable)] for variable in model.trainable_variables]
        network = KerasNetwork(model, optimizer, order, self.loss, self._device)
        network.plain = not hooks_of(self.context).active
        return _Built(model, optimizer, weights, state, start, network)

    def _variables(self) -> Variables:
        built = self._built
        return {**built.weights, **built.state} if self.context.names_optimizer else built.weights

    def _place(self) -> AbstractContextManager[None]:
        return cast("AbstractContextManager[None]", tf.device(self._device))


def _choose_device(name: str) -> str:
    """Return TensorFlow's name of a device; by itself it would take the CPU for a GPU that is not there."""
    there = name != "cpu" and bool(tf.config.list_physical_devices("GPU"))
    if name == "auto":
        return "GPU:0" if there else "CPU:0"
    if name != "cpu" and not there:
        raise DeviceError(
            f"the worker was given '{name}', but this TensorFlow ({tf.__version__}) finds no GPU",
            cure="install a build of TensorFlow for GPUs, or ask for auto in collaborator.settings.device",
        )
    return name.replace("cuda", "GPU").replace("cpu", "CPU:0")


class KerasModel(KerasRunner):
    """The short name ``keras``: a model that a function of the workspace builds, without a class around it.

    Args:
        loader: Batches of the site.
        context: Where to work.
        model: ``module:attr`` of a function (or class) that gives the `keras.Model`.
        arguments: Its keyword arguments.
        optimizer: A name that Keras knows, such as ``adam``, or a mapping of ``class_name`` and ``config``.
    """

    def __init__(
        self,
        loader: DataLoader[np.ndarray],
        context: RunnerContext,
        *,
        model: str,
        arguments: Mapping[str, object] | None = None,
        optimizer: str | Mapping[str, object] = "sgd",
    ) -> None:
        super().__init__(loader, context)
        self._factory = cast("Callable[..., keras.Model]", registry.resolve("model", model))
        self._arguments = dict(arguments or {})
        self._optimizer = optimizer

    def build_model(self) -> keras.Model:
        """Call the function."""
        return self._factory(**self._arguments)

    def build_optimizer(self) -> keras.optimizers.Optimizer:
        """Make the optimizer of the settings."""
        chosen = self._optimizer if isinstance(self._optimizer, str) else dict(self._optimizer)
        return keras.optimizers.get(chosen)


def _settle(threads: int) -> None:
    """Fix the number of threads, which TensorFlow allows before its first operation only."""
    if keras.backend.backend() != "tensorflow":
        raise UsageError(f"Keras runs on {keras.backend.backend()} here", cure="set KERAS_BACKEND=tensorflow")
    threading = tf.config.threading
    if threading.get_intra_op_parallelism_threads() == threading.get_inter_op_parallelism_threads() == threads:
        return
    try:
        threading.set_intra_op_parallelism_threads(threads)
        threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError as error:
        cure = "run plans with different collaborator.settings.threads in processes of their own"
        raise UsageError(f"TensorFlow runs here already, not with {threads} threads", cure=cure) from error


def _reseed(model: keras.Model, seed: int) -> None:
    """Set the generators of layers that draw, such as dropout, each to a stream of its own."""
    draws = [variable for variable in model.variables if variable.path.endswith("seed_generator_state")]
    for index, variable in enumerate(draws):
        start = np.random.default_rng([seed, index]).integers(0, 2**31, variable.shape)
        variable.assign(start.astype(_form(variable).dtype))


def _state_of(optimizer: keras.optimizers.Optimizer) -> list[Any]:
    """What an optimizer remembers of its steps, which its rate is not."""
    return [variable for variable in optimizer.variables if not variable.path.endswith("learning_rate")]


def _array(variable: Any) -> np.ndarray:  # noqa: ANN401 - Keras has no types
    array: np.ndarray = variable.value.numpy()
    return np.asarray(array)


def _form(variable: Any) -> np.ndarray:  # noqa: ANN401 - Keras has no types
    """An array of a variable's dtype and shape, without its values and nearly without memory."""
    dtype = tf.as_dtype(variable.dtype).as_numpy_dtype
    return np.broadcast_to(np.zeros((), dtype), tuple(variable.shape))
