"""Task runner and data loader for models that are plain numpy arrays."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from openfl_like.errors import UsageError
from openfl_like.frameworks.model import Observation
from openfl_like.frameworks.model import Tensors as AnyTensors
from openfl_like.frameworks.runner import (
    DataLoader,
    LabelledData,
    RunnerContext,
    Shard,
    TaskResult,
    check_tensors,
)
from openfl_like.frameworks.training import FormerNames, Training
from openfl_like.tensors.named import OPTIMIZER

Tensors = dict[str, np.ndarray]
_VELOCITY = f"{OPTIMIZER}velocity/"


class NumpyLoader:
    """Batches of numpy arrays.

    Args:
        shard: The site's data.
        batch_size: Samples in a batch; the last one of an epoch may be smaller.
        drop_last: Whether to leave out the last batch of an epoch of training if it is smaller. Every epoch has another
            order, so it leaves out other samples; all of them count in ``num_train``.

    Raises:
        UsageError: If no batch would be left.
    """

    def __init__(self, shard: Shard, batch_size: int = 32, *, drop_last: bool = False) -> None:
        if batch_size < 1:
            raise UsageError(f"batch_size must be at least 1, not {batch_size}")
        self._train = shard.get_dataset("train")
        self._validate = shard.get_dataset("validate")
        self._batch_size = batch_size
        self._end = self.num_train - (self.num_train % batch_size if drop_last else 0)
        if self.num_train and not self._end:
            cure = f"set batch_size to {self.num_train} or less in data_loader.settings"
            raise UsageError(f"{self.num_train} samples fill no batch of {batch_size}, and drop_last is set", cure=cure)

    @property
    def batch_size(self) -> int:
        """Number of samples in a batch; the last one may have fewer."""
        return self._batch_size

    @property
    def num_cut(self) -> int:
        """Number of samples that an epoch sees: all, or those that fill batches."""
        return self._end

    @property
    def train_set(self) -> LabelledData:
        """All samples to train on, in the shard's order."""
        return self._train

    @property
    def num_train(self) -> int:
        """Number of samples to train on."""
        return len(self._train.samples)

    @property
    def num_validate(self) -> int:
        """Number of held-out samples."""
        return len(self._validate.samples)

    def train_batches(self, seed: int, epoch: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield shuffled (samples, targets); the order depends on nothing but the seed and the epoch."""
        order = self.train_order(seed, epoch)
        for start in range(0, self.num_cut, self.batch_size):
            rows = order[start : start + self.batch_size]
            yield self._train.samples[rows], self._train.targets[rows]

    def train_order(self, seed: int, epoch: int) -> np.ndarray:
        """Return the order of an epoch's samples as places in `train_set`, ``[num_cut]``; batches are cut from it."""
        return np.random.default_rng([seed, epoch]).permutation(self.num_train)[: self.num_cut]

    def validate_batches(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the held-out (samples, targets) in their own order."""
        for start in range(0, self.num_validate, self.batch_size):
            rows = slice(start, start + self.batch_size)
            yield self._validate.samples[rows], self._validate.targets[rows]


class NumpyModel:
    """Arrays as the training loop sees them: a `model.Model`.

    Args:
        look: Gives what is made of a batch, and the gradient by name.
        step: Takes a step along a gradient.
        weights: Gives all arrays, the model's own; those without a gradient are not trained.
    """

    def __init__(
        self,
        look: Callable[[np.ndarray, np.ndarray], tuple[Observation, Tensors]],
        step: Callable[[AnyTensors], None],
        weights: Callable[[], Tensors],
    ) -> None:
        self._look, self._step, self._weights = look, step, weights

    def loss_and_gradients(self, samples: np.ndarray, targets: np.ndarray) -> tuple[Observation, AnyTensors]:
        """See `model.Model`; samples ``[n, *sample_shape]``, targets ``[n, *target_shape]``."""
        return self._look(samples, targets)

    def gradients_at(self, weights: AnyTensors, samples: np.ndarray, targets: np.ndarray) -> AnyTensors:
        """See `model.GradientsAnywhere`; the arrays that ``weights`` gives are overwritten for a while."""
        own = self._weights()
        before = {name: np.array(own[name]) for name in weights}
        try:
            for name, value in weights.items():
                np.copyto(own[name], value)
            return {name: np.array(slope) for name, slope in self._look(samples, targets)[1].items()}
        finally:
            for name, value in before.items():
                np.copyto(own[name], value)

    def apply(self, gradients: AnyTensors) -> None:
        """Take a step."""
        self._step(gradients)

    def weights(self) -> AnyTensors:
        """Return the arrays."""
        return self._weights()

    def to_arrays(self, tensors: AnyTensors) -> Tensors:
        """Return the same arrays."""
        return {name: np.asarray(array) for name, array in tensors.items()}

    def to_tensors(self, arrays: Mapping[str, np.ndarray]) -> Tensors:
        """Return copies."""
        return {name: np.array(array) for name, array in arrays.items()}


class NumpyRunner(FormerNames, ABC):
    """A model that is a dict of arrays, trained by gradient descent with momentum.

    A subclass gives `build_model`, `predict` and `gradient`, and may add task functions of its own.

    Args:
        loader: Batches of the site.
        context: Where to work; ``device`` and ``threads`` mean nothing to numpy.
        lr: Learning rate.
        momentum: Share of the last step that is kept (Polyak 1964); 0 for plain gradient descent. The last steps are
            this runner's optimizer state.
    """

    def __init__(
        self, loader: DataLoader[np.ndarray], context: RunnerContext, *, lr: float = 0.1, momentum: float = 0.0
    ) -> None:
        self.loader = loader
        self.context = context
        self.lr = lr
        self.momentum = momentum
        self.training = Training.of(context)
        self._velocity: Tensors = {}
        self._model = self.build_model(np.random.default_rng(0))

    @abstractmethod
    def build_model(self, random: np.random.Generator) -> Tensors:
        """Make the initial arrays from the generator alone."""

    @abstractmethod
    def predict(self, model: Tensors, samples: np.ndarray) -> np.ndarray:
        """Return the scores of samples, ``[n]`` or ``[n, classes]``."""

    @abstractmethod
    def gradient(self, model: Tensors, samples: np.ndarray, targets: np.ndarray) -> tuple[float, Tensors]:
        """Return the mean loss of a batch and its gradient by name; an array without one is not trained."""

    def initialise(self, seed: int) -> None:
        """Make the initial model from the seed."""
        self._model = self.build_model(np.random.default_rng(seed))
        self._velocity = {}
        self.training.begin(seed)

    def begin(self, seed: int) -> None:
        """Take the seed of an assignment; forget the momentum under ``RESET``."""
        self.training.begin(seed)
        if self.context.opt_treatment == "RESET":
            self._velocity = {}

    def get_tensors(self) -> Tensors:
        """Return the model's own arrays, not copies; with the last steps (float64) if they are shared."""
        return {**self._model, **self._shared_velocity()}

    def set_tensors(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Replace the model's values, copying them; see `runner.TaskRunner.set_tensors`."""
        shared = self._shared_velocity()
        check_tensors(tensors, {**self._model, **shared})
        self._model = {name: np.array(tensors[name]) for name in self._model}
        self._velocity |= {name.removeprefix(_VELOCITY): np.array(tensors[name]) for name in shared}

    def train(self, epochs: int = 1, learning_rate: float | None = None) -> TaskResult:
        """Train for some epochs; the metrics are those of the last one, each batch measured before its step.

        Args:
            epochs: How many.
            learning_rate: That of the optimizer in this task; None: its own.
        """
        model, own = NumpyModel(self._look, self._step, lambda: self._model), self.lr
        self.lr = own if learning_rate is None else learning_rate
        try:
            return self.training.train(self.loader, model, epochs)
        finally:
            self.lr = own

    def validate(self) -> TaskResult:
        """Measure the model on the held-out samples."""
        return self.training.validate(self._measure, self.loader)

    def _measure(self, samples: np.ndarray, targets: np.ndarray) -> Observation:
        return self._look(samples, targets)[0]

    def _look(self, samples: np.ndarray, targets: np.ndarray) -> tuple[Observation, Tensors]:
        loss, slopes = self.gradient(self._model, samples, targets)
        return Observation(loss, self.predict(self._model, samples), targets), slopes

    def _step(self, slopes: AnyTensors) -> None:
        for name, slope in slopes.items():
            move = self.momentum * self._velocity.get(name, 0.0) - self.lr * slope
            self._velocity[name] = move
            self._model[name] = np.asarray(self._model[name] + move, dtype=self._model[name].dtype)

    def _shared_velocity(self) -> Tensors:
        if not self.context.names_optimizer or not self.momentum:
            return {}
        still = {name: np.zeros(array.shape) for name, array in self._model.items()}
        return {f"{_VELOCITY}{name}": np.asarray(self._velocity.get(name, still[name]), np.float64) for name in still}
