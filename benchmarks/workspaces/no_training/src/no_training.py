"""Adds a number to the weights, another one at every site and round; imports nothing but NumPy."""

import socket
from collections.abc import Mapping

import numpy as np

from openfl_like.frameworks.runner import RunnerContext, Shard, TaskResult


def even_shapes(parameters: int, tensors: int) -> list[tuple[int, ...]]:
    """Gives vectors of the same length."""
    return [(parameters,)] * tensors


def odd_shapes(parameters: int, tensors: int) -> list[tuple[int, ...]]:
    """Gives shapes of one to three odd dimensions, small ones between large ones, with about as many elements."""
    shares = [1 + 37 * place % 101 * (place % 4 > 0) for place in range(tensors)]
    elements = [parameters * tensors * share // sum(shares) for share in shares]
    shapes: list[tuple[int, ...]] = [(count | 1,) for count in elements]
    shapes[1::3] = [(7, count // 7 | 1) for count in elements[1::3]]
    shapes[2::3] = [(3, 5, count // 15 | 1) for count in elements[2::3]]
    return shapes


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
    """Tensors of float32.

    Args:
        loader: Not looked at.
        context: Not looked at.
        parameters: Length of each tensor.
        tensors: How many tensors.
        odd: Whether they have all kinds of odd shapes, with about as many elements together.
        trained: Share of the elements that change, those at the end; the others are frozen.
        gate: Socket at which every training waits until it may go on; empty: it does not wait.
    """

    def __init__(  # noqa: PLR0913 (each is a setting of the plan)
        self,
        loader: NoLoader,  # noqa: ARG002 (the runner's interface)
        context: RunnerContext,  # noqa: ARG002 (as above)
        *,
        parameters: int = 1000,
        tensors: int = 1,
        odd: bool = False,
        trained: float = 1.0,
        gate: str = "",
    ) -> None:
        self._path = gate
        self._gate: socket.socket | None = None
        shapes = (odd_shapes if odd else even_shapes)(parameters, tensors)
        self._step = np.float32(1)
        self._model = {f"w{place:04d}": np.zeros(shape, np.float32) for place, shape in enumerate(shapes)}
        self._trained = round(sum(value.size for value in self._model.values()) * trained)

    def initialise(self, seed: int) -> None:
        """Draws the weights."""
        generator = np.random.default_rng(seed)
        self._model = {name: generator.standard_normal(v.shape, np.float32) for name, v in self._model.items()}

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
        """Adds to the weights that are trained, once the gate is open."""
        self._wait()
        left = self._trained
        for value in reversed(self._model.values()):
            tail = value.reshape(-1)[max(0, value.size - left) :]
            np.add(tail, self._step, out=tail)
            left -= len(tail)
        return TaskResult(1, {"loss": 0.0})

    def _wait(self) -> None:
        """Tells whoever measures that the model is here, and waits for the word to go on."""
        if not self._path:
            return
        if self._gate is None:
            self._gate = socket.socket(socket.AF_UNIX)
            self._gate.connect(self._path)
        self._gate.sendall(b"a")
        if not self._gate.recv(1):
            raise EOFError("nobody opens the gate any more")

    def validate(self) -> TaskResult:
        """Tells the first weight."""
        return TaskResult(1, {"accuracy": 0.0})
