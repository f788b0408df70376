"""Adds a number to the weights, another one at every site and round; imports nothing but NumPy."""

from collections.abc import Mapping

import numpy as np

from openfl_like.frameworks.runner import RunnerContext, Shard, TaskResult


class NoLoader:
    """Holds no data.

    Args:
        shard: The site's shard, not looked at.
    """

    num_train = 1
    num_validate = 1

    def __init__(self, shard: Shard) -> None:
        self.shard = shard

    def train_batches(self, seed: int, epoch: int) -> list[object]:  # noqa: ARG002 (the loader's interface)
        """Gives nothing."""
        return []

    def validate_batches(self) -> list[object]:
        """Gives nothing."""
        return []


class NoTraining:
    """A vector of float32.

    Args:
        loader: Not looked at.
        context: Not looked at.
        parameters: Length of each tensor.
        tensors: How many tensors.
        trained: Share of the elements that change, those at the end; the others are frozen.
    """

    def __init__(
        self,
        loader: NoLoader,  # noqa: ARG002 (the runner's interface)
        context: RunnerContext,  # noqa: ARG002 (as above)
        *,
        parameters: int = 1000,
        tensors: int = 1,
        trained: float = 1.0,
    ) -> None:
        self._trained = round(parameters * tensors * trained)
        self._step = np.float32(1)
        self._model = {f"w{i:04d}": np.zeros(parameters, np.float32) for i in range(tensors)}

    def initialise(self, seed: int) -> None:
        """Draws the weights."""
        generator = np.random.default_rng(seed)
        self._model = {name: generator.standard_normal(len(v), np.float32) for name, v in self._model.items()}

    def begin(self, seed: int) -> None:
        """Takes the seed of an assignment, which no other site has."""
        self._step = np.float32(1 + seed % 997 / 997)

    def get_tensors(self) -> dict[str, np.ndarray]:
        """The weights."""
        return self._model

    def set_tensors(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Takes the weights into its own arrays, as frameworks do."""
        for name, value in tensors.items():
            np.copyto(self._model[name], value)

    def train(self) -> TaskResult:
        """Adds to the weights that are trained."""
        left = self._trained
        for value in reversed(self._model.values()):
            tail = value[max(0, len(value) - left) :]
            np.add(tail, self._step, out=tail)
            left -= len(tail)
        return TaskResult(1, {"loss": 0.0})

    def validate(self) -> TaskResult:
        """Tells the first weight."""
        return TaskResult(1, {"accuracy": 0.0})
