from collections.abc import Callable, Mapping

import numpy as np
import pytest

from openfl_like.errors import TaskError
from openfl_like.frameworks.contract import check_runner
from openfl_like.frameworks.runner import TaskResult, check_tensors


class Honest:
    """A vector that moves by what is drawn from the seed."""

    def __init__(self) -> None:
        self.vector = np.zeros(3, np.float32)
        self.random = np.random.default_rng(0)

    def initialise(self, seed: int) -> None:
        self.vector = np.random.default_rng(seed).normal(size=3).astype(np.float32)

    def begin(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)

    def get_tensors(self) -> dict[str, np.ndarray]:
        return {"vector": self.vector}

    def set_tensors(self, tensors: Mapping[str, np.ndarray]) -> None:
        check_tensors(tensors, self.get_tensors())
        self.vector = tensors["vector"].copy()

    def train(self) -> TaskResult:
        self.vector = self.vector + self.random.normal(size=3).astype(np.float32)
        return TaskResult(3)


def test_a_runner_that_keeps_its_promises_passes() -> None:
    check_runner(Honest)


class OwnSeed(Honest):
    def initialise(self, seed: int) -> None:  # noqa: ARG002 - that is the mistake
        self.vector = np.random.default_rng().normal(size=3).astype(np.float32)


class Empty(Honest):
    def get_tensors(self) -> dict[str, np.ndarray]:
        return {}


class Rounding(Honest):
    def set_tensors(self, tensors: Mapping[str, np.ndarray]) -> None:
        super().set_tensors(tensors)
        self.vector = self.vector.astype(np.float16).astype(np.float32)


class Sharing(Honest):
    def set_tensors(self, tensors: Mapping[str, np.ndarray]) -> None:
        super().set_tensors(tensors)
        self.vector = tensors["vector"]


class Credulous(Honest):
    def set_tensors(self, tensors: Mapping[str, np.ndarray]) -> None:
        self.vector = tensors["vector"].copy()


class Hasty(Honest):
    def set_tensors(self, tensors: Mapping[str, np.ndarray]) -> None:
        self.vector = self.vector * 0
        super().set_tensors(tensors)


class Idle(Honest):
    def train(self) -> TaskResult:
        return TaskResult(3)


class Silent(Honest):
    def train(self) -> TaskResult:
        super().train()
        return None  # type: ignore[return-value] # that is the mistake


class Unseeded(Honest):
    def begin(self, seed: int) -> None:
        pass


class Different(Honest):
    made = 0

    def __init__(self) -> None:
        super().__init__()
        Different.made += 1
        self.mine = Different.made

    def begin(self, seed: int) -> None:
        super().begin(seed + self.mine)


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (OwnSeed, "initialise gives the same bits"),
        (Empty, "at least one tensor"),
        (Rounding, "keeps every bit"),
        (Sharing, "copies what it is given"),
        (Credulous, "refuses an unknown tensor with a TensorError"),
        (Hasty, "changes nothing when it refuses an unknown tensor"),
        (Idle, "train changes the model"),
        (Silent, "train returns a TaskResult"),
        (Unseeded, "begin forgets the last assignment"),
        (Different, "in another runner"),
    ],
)
def test_a_promise_that_is_not_kept_is_named(build: Callable[[], Honest], told: str) -> None:
    with pytest.raises(TaskError, match=told):
        check_runner(build)
