"""Ten batches of four samples; the third one takes a site longer than it has time, if its settings say so."""

import time
from collections.abc import Iterator

import numpy as np

from openfl_like.frameworks.numpy import NumpyRunner, Tensors
from openfl_like.frameworks.runner import RunnerContext, Shard


class Loader:
    """Forty samples that are the site's number.

    Args:
        shard: The site's shard.
    """

    num_train = 40
    num_validate = 5

    def __init__(self, shard: Shard) -> None:
        self.value = float(shard.get_dataset("train").samples.mean())

    def train_batches(self, seed: int, epoch: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Ten batches."""
        for _ in range(10):
            yield np.full((4, 1), self.value), np.zeros(4, np.int64)

    def validate_batches(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """One batch."""
        yield np.full((5, 1), self.value), np.zeros(5, np.int64)


class Runner(NumpyRunner):
    """A number that drifts to that of the site.

    Args:
        loader: The site's number.
        context: Where to work.
        sleeps: The number of the site that sleeps.
        seconds: How long, in its third batch.
    """

    def __init__(self, loader: Loader, context: RunnerContext, *, sleeps: float, seconds: float) -> None:
        super().__init__(loader, context)
        self._seconds = seconds if loader.value == sleeps else 0.0
        self._batches = 0

    def begin(self, seed: int) -> None:
        """Counts anew."""
        super().begin(seed)
        self._batches = 0

    def build_model(self, random: np.random.Generator) -> Tensors:
        """A number."""
        return {"number": np.zeros(1)}

    def predict(self, model: Tensors, samples: np.ndarray) -> np.ndarray:
        """All the same."""
        return np.stack([np.zeros(len(samples)), samples[:, 0]], axis=1)

    def gradient(self, model: Tensors, samples: np.ndarray, targets: np.ndarray) -> tuple[float, Tensors]:
        """Sleeps in the third batch."""
        self._batches += 1
        if self._batches == 3:
            time.sleep(self._seconds)
        distance = model["number"] - samples.mean()
        return float(np.abs(distance).mean()), {"number": distance}
