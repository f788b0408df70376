"""A vector that drifts towards its site's number; a site may be told to raise, to hang, or to hide a process."""

import os
import signal
from collections.abc import Mapping

import numpy as np

from openfl_like.frameworks.runner import RunnerContext, Shard, TaskResult
from openfl_like.testing.gate import pass_gate


class Loader:
    """Hands on the shard.

    Args:
        shard: The site's shard; its ``behaviour`` says what training does.
    """

    num_train = 10
    num_validate = 5

    def __init__(self, shard: Shard) -> None:
        self.behaviour = str(getattr(shard, "behaviour", "train"))
        self.value = float(shard.get_dataset("train").samples.mean())

    def train_batches(self, seed: int, epoch: int) -> list[object]:
        """Not used."""
        return []

    def validate_batches(self) -> list[object]:
        """Not used."""
        return []


class Runner:
    """A float32 vector.

    Args:
        loader: The site's number and behaviour.
        context: Not looked at.
        length: Length of the vector.
        gate: Where every assignment waits until a test lets it begin; empty: nowhere.
    """

    def __init__(self, loader: Loader, context: RunnerContext, *, length: int = 100, gate: str = "") -> None:
        self._loader = loader
        self._gate = gate
        self._vector = np.zeros(length, np.float32)
        self._escaped = False

    def initialise(self, seed: int) -> None:
        """Draws the vector."""
        self._vector = np.random.default_rng(seed).standard_normal(len(self._vector), np.float32)

    def begin(self, seed: int) -> None:
        """Begins when the gate is open."""
        pass_gate(self._gate, seed)

    def get_tensors(self) -> dict[str, np.ndarray]:
        """The vector."""
        return {"vector": self._vector}

    def set_tensors(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Takes the vector."""
        self._vector = np.array(tensors["vector"])

    def train(self) -> TaskResult:
        """Moves half of the way, raises or hangs."""
        if self._loader.behaviour == "raise":
            raise ValueError("the scanner is on fire")
        if self._loader.behaviour == "escape" and not self._escaped:
            self._escaped = True
            escape()
        if self._loader.behaviour == "hang":
            print("hanging", flush=True)
            signal.pause()
        self._vector += (self._loader.value - self._vector) / 2
        return TaskResult(10, {"loss": float(np.abs(self._vector - self._loader.value).mean())})

    def validate(self) -> TaskResult:
        """Tells how far it is."""
        distance = float(np.abs(self._vector - self._loader.value).mean())
        return TaskResult(5, {"loss": distance, "accuracy": 1 / (1 + distance)})


def escape() -> None:
    """Starts a process twice removed, in a session of its own, with an empty environment, and says its number."""
    if child := os.fork():
        os.waitpid(child, 0)
        return
    os.setsid()
    if not os.fork():
        print(f"escaped as {os.getpid()}", flush=True)
        os.execve("/bin/sleep", ["sleep", "86399"], {})  # noqa: S606 - a shell would be one process more
    os._exit(0)
