"""Four measurements, three classes: a score for each class, in numpy and without a base class."""

from collections.abc import Mapping

import numpy as np

from openfl_like.frameworks.runner import DataLoader, RunnerContext, TaskResult, check_tensors


class ScoresRunner:
    """A linear score for each class, trained by gradient descent on the cross entropy.

    Args:
        loader: Samples of the site.
        context: Where to work.
        lr: Learning rate.
    """

    def __init__(self, loader: DataLoader[np.ndarray], context: RunnerContext, *, lr: float) -> None:
        self._loader, self._lr, self._seed = loader, lr, 0
        self._weights = np.zeros((context.sample_shape[0], context.classes), np.float32)
        self._bias = np.zeros(context.classes, np.float32)

    def initialise(self, seed: int) -> None:
        """Draw small weights."""
        random = np.random.default_rng(seed)
        self._weights = random.normal(0, 0.1, self._weights.shape).astype(np.float32)

    def begin(self, seed: int) -> None:
        """Remember the seed."""
        self._seed = seed

    def get_tensors(self) -> dict[str, np.ndarray]:
        """Return weights and biases."""
        return {"bias": self._bias, "weights": self._weights}

    def set_tensors(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Take weights and biases."""
        check_tensors(tensors, self.get_tensors())
        self._weights, self._bias = tensors["weights"].copy(), tensors["bias"].copy()

    def train(self) -> TaskResult:
        """Go through the samples once."""
        losses = []
        for samples, targets in self._loader.train_batches(self._seed, 0):
            shares, loss = self._look(samples, targets)
            losses.append(loss)
            error = (shares - np.eye(len(self._bias))[targets]) / len(targets)
            self._weights -= (self._lr * samples.T @ error).astype(np.float32)
            self._bias -= (self._lr * error.sum(axis=0)).astype(np.float32)
        return TaskResult(self._loader.num_train, {"loss": float(np.mean(losses))})

    def validate(self) -> TaskResult:
        """Measure loss and accuracy."""
        losses, right = [], 0
        for samples, targets in self._loader.validate_batches():
            shares, loss = self._look(samples, targets)
            losses.append(loss)
            right += int(np.sum(shares.argmax(axis=1) == targets))
        accuracy = right / self._loader.num_validate
        return TaskResult(self._loader.num_validate, {"loss": float(np.mean(losses)), "accuracy": accuracy})

    def _look(self, samples: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, float]:
        scores = samples @ self._weights + self._bias
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        return shares, float(-np.mean(np.log(shares[np.arange(len(targets)), targets])))
