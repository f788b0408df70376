"""Task runners for linear models of scikit-learn: those with ``coef_`` and ``intercept_``.

Batches are numpy arrays, as `openfl_like.frameworks.numpy:NumpyLoader` gives them.
"""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, cast

import numpy as np
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from openfl_like import registry
from openfl_like.errors import UsageError
from openfl_like.frameworks.model import Observation
from openfl_like.frameworks.runner import DataLoader, RunnerContext, TaskResult, check_tensors, hooks_of
from openfl_like.frameworks.targets import check_numbers, squeezed
from openfl_like.frameworks.training import FormerNames, Training, is_own
from openfl_like.tensors.named import OPTIMIZER

Estimator: TypeAlias = Any  # scikit-learn has no types
_LEARNT = ("coef_", "intercept_")
_COUNTER = "t_"  # how many samples stochastic gradient descent has seen: its learning rate may depend on it


class SklearnRunner(FormerNames, ABC):
    """A linear estimator with the tasks ``train`` and ``validate``.

    A subclass gives `build_estimator`, and may replace `loss` or add task functions. An estimator with
    ``partial_fit`` is trained batch by batch (``SGDClassifier``, ``SGDRegressor``, ``Perceptron``). One with
    ``warm_start`` goes on from the model for as many iterations as there are epochs (``LogisticRegression``), on all
    samples of the site at once; there must be some of every class. The model starts at zero, whatever the seed is.

    Args:
        loader: Batches of the site; samples are flattened to vectors.
        context: Where to work.
        classes: How many classes there are in the whole federation; None: as the shard says.
        dtype: Of the model and of the samples: ``float32`` or ``float64``.

    Raises:
        UsageError: If the plan names an algorithm: scikit-learn takes its steps inside ``partial_fit`` and ``fit``.
    """

    def __init__(
        self,
        loader: DataLoader[np.ndarray],
        context: RunnerContext,
        *,
        classes: int | None = None,
        dtype: str = "float64",
    ) -> None:
        if hooks_of(context).active:
            problem = (
                "scikit-learn takes its steps inside partial_fit and fit, where no algorithm can adjust a gradient"
            )
            cure = "leave algorithm out of the plan, or write the model with numpy, PyTorch, Keras or JAX"
            raise UsageError(problem, cure=cure)
        self.loader = loader
        self.context = context
        self._classes = context.classes if classes is None else classes
        self._dtype = np.dtype(dtype)
        self._estimator: Estimator = None
        self.training = Training.of(context, self._takes_any_targets)

    @abstractmethod
    def build_estimator(self) -> Estimator:
        """Make the estimator, not fitted; its random state is set by the runner."""

    def loss(self, scores: np.ndarray, targets: np.ndarray) -> float:
        """Return the mean loss of a batch.

        Unless replaced: squared error of a regression, and for a classifier cross entropy of its decision function.

        Raises:
            TensorError: If scores and targets do not belong together, by their shapes.
        """
        if not is_classifier(self.estimator):
            check_numbers(scores.shape, targets.shape)
            return float(np.mean((scores - targets) ** 2))
        if scores.ndim == 1:
            return float(np.mean(np.logaddexp(0, scores) - targets * scores))
        right = scores[np.arange(len(targets)), targets]
        return float(np.mean(np.logaddexp.reduce(scores, axis=1) - right))

    @property
    def estimator(self) -> Estimator:
        """The estimator; it can predict."""
        if self._estimator is None:
            self._estimator = self._allocated(self.build_estimator())
        return self._estimator

    def initialise(self, seed: int) -> None:
        """Make the model anew: zeros."""
        self._estimator = None
        self.begin(seed)

    def begin(self, seed: int) -> None:
        """Seed the estimator for an assignment; under ``RESET`` its learning rate starts again."""
        self.training.begin(seed)
        estimator = self.estimator
        if "random_state" in estimator.get_params():
            estimator.set_params(random_state=seed % 2**32)
        if self.context.opt_treatment == "RESET":
            _start_counting(estimator)

    def get_tensors(self) -> dict[str, np.ndarray]:
        """Return ``coef_`` and ``intercept_``, not copies."""
        estimator = self.estimator
        own = {name: np.asarray(getattr(estimator, name), self._dtype) for name in _LEARNT}
        if self.context.names_optimizer and hasattr(estimator, _COUNTER):
            own[OPTIMIZER + _COUNTER] = np.asarray(estimator.t_, np.float64)
        return own

    def set_tensors(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Replace the model's values, copying them; see `runner.TaskRunner.set_tensors`."""
        estimator = self.estimator
        check_tensors(tensors, self.get_tensors())
        for name in _LEARNT:
            setattr(estimator, name, np.array(tensors[name], order="C"))
        if OPTIMIZER + _COUNTER in tensors:
            estimator.t_ = float(tensors[OPTIMIZER + _COUNTER])

    def train(self, epochs: int = 1) -> TaskResult:
        """Train for some epochs; the metrics are those of the last one, each batch measured before its step."""
        with threadpool_limits(self.context.threads):
            if hasattr(self.estimator, "partial_fit"):
                return self.training.train_by(self._step, self.loader, epochs)
            return self._fit(epochs)

    def validate(self) -> TaskResult:
        """Measure the model on the held-out samples."""
        return self.training.validate(self._look, self.loader)

    def _takes_any_targets(self) -> bool:
        return not is_classifier(self.estimator) or is_own(self.loss, SklearnRunner.loss)

    def _step(self, samples: np.ndarray, targets: np.ndarray) -> Observation:
        observation = self._look(samples, targets)
        self.estimator.partial_fit(self._flat(samples), observation.targets)
        return observation

    def _fit(self, epochs: int) -> TaskResult:
        epochs = self.training.allowance.whole_epochs(epochs)
        batches = list(self.loader.train_batches(self.training.seed, self.training.epoch))
        if not batches:
            return TaskResult(self.loader.num_train)
        samples = self._flat(np.concatenate([batch[0] for batch in batches]))
        targets = _plain(np.concatenate([batch[1] for batch in batches]))
        if is_classifier(self.estimator) and len(np.unique(targets)) != self._classes:
            raise UsageError(
                f"the site has samples of {len(np.unique(targets))} of {self._classes} classes, "
                f"and {type(self.estimator).__name__} needs some of all",
                cure="use an estimator with partial_fit, such as SGDClassifier",
            )
        if "max_iter" in self.estimator.get_params():
            self.estimator.set_params(max_iter=epochs)
        seen = self.training.observe(self._fit_once, [(samples, targets)])
        return TaskResult(self.loader.num_train, seen.metrics())

    def _fit_once(self, samples: np.ndarray, targets: np.ndarray) -> Observation:
        observation = self._look(samples, targets)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the next round goes on
            self.estimator.fit(samples, targets)
        return observation

    def _look(self, samples: np.ndarray, targets: np.ndarray) -> Observation:
        estimator, flat, targets = self.estimator, self._flat(samples), _plain(targets)
        scores = estimator.decision_function(flat) if is_classifier(estimator) else estimator.predict(flat)
        return Observation(self.loss(scores, targets), scores, targets)

    def _flat(self, samples: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(samples.reshape(len(samples), -1), dtype=self._dtype)

    def _allocated(self, estimator: Estimator) -> Estimator:
        """Have an estimator make everything that it makes when it first sees data, and set what it learnt to zero."""
        kind = type(estimator).__name__
        if estimator.get_params().get("average"):
            raise UsageError(f"{kind} cannot average its own steps here", cure="leave 'average' out")
        stepwise = hasattr(estimator, "partial_fit")
        if not stepwise and "warm_start" not in estimator.get_params():
            raise UsageError(f"{kind} cannot go on from a given model", cure="use one with partial_fit or warm_start")
        width = int(np.prod(self.context.sample_shape))
        if is_classifier(estimator):
            _allocate_classifier(estimator, np.zeros((self._known_classes(), width), self._dtype))
        else:
            (estimator.partial_fit if stepwise else estimator.fit)(np.zeros((2, width), self._dtype), np.zeros(2))
        if not all(hasattr(estimator, name) for name in _LEARNT):
            raise UsageError(f"{kind} has no coef_ and intercept_", cure="use a linear model of scikit-learn")
        for name in _LEARNT:
            setattr(estimator, name, np.zeros(np.shape(getattr(estimator, name)), self._dtype))
        if not stepwise:
            estimator.set_params(warm_start=True)
        _start_counting(estimator)
        return estimator

    def _known_classes(self) -> int:
        if self._classes < 2:
            cure = "set task_runner.settings.classes, or give the shard's schema the number of classes"
            raise UsageError("a classifier needs to know how many classes there are", cure=cure)
        return self._classes


class SklearnModel(SklearnRunner):
    """The short name ``sklearn``: any linear estimator, by its name.

    Args:
        loader: Batches of the site.
        context: Where to work.
        estimator: The name of a class in ``sklearn.linear_model``, or ``module:attr``.
        params: Its keyword arguments.
        classes: As for `SklearnRunner`.
        dtype: As for `SklearnRunner`.
    """

    def __init__(
        self,
        loader: DataLoader[np.ndarray],
        context: RunnerContext,
        *,
        estimator: str,
        params: Mapping[str, object] | None = None,
        classes: int | None = None,
        dtype: str = "float64",
    ) -> None:
        super().__init__(loader, context, classes=classes, dtype=dtype)
        named = estimator if ":" in estimator else f"sklearn.linear_model:{estimator}"
        self._factory = cast("Callable[..., Estimator]", registry.resolve("estimator", named))
        self._params = dict(params or {})

    def build_estimator(self) -> Estimator:
        """Make the estimator of the settings."""
        return self._factory(**self._params)


def _plain(targets: np.ndarray) -> np.ndarray:
    """Return targets in the form that scikit-learn takes: ``[n]`` for a column, and no truth values."""
    fitted = squeezed(targets)
    return fitted.astype(np.int64) if fitted.dtype == np.bool_ else fitted


def _allocate_classifier(estimator: Estimator, samples: np.ndarray) -> None:
    """Show an estimator one sample of each class."""
    targets = np.arange(len(samples))
    if hasattr(estimator, "partial_fit"):
        estimator.partial_fit(samples, targets, classes=targets)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        estimator.fit(samples, targets)


def _start_counting(estimator: Estimator) -> None:
    if hasattr(estimator, _COUNTER):
        estimator.t_ = 1.0
