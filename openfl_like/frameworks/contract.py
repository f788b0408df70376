"""What a task runner promises, checked; for whoever writes a runner for another framework."""

from collections.abc import Callable

import numpy as np

from openfl_like.errors import TaskError, TensorError
from openfl_like.frameworks.runner import TaskResult, TaskRunner

Bits = dict[str, bytes]


def check_runner(build: Callable[[], TaskRunner], function: str = "train") -> None:
    """Try what every task runner must do, on runners that are built for it.

    Args:
        build: Builds a runner; each has a model and data of its own.
        function: The task function that trains, called without arguments; it must change the model.

    Raises:
        TaskError: Naming the first promise that is not kept.
    """
    for check in (_initialise, _exchange, _copies, _refusals):
        check(build())
    _training(build(), build(), function)


def _initialise(runner: TaskRunner) -> None:
    runner.initialise(5)
    first = _bits(runner)
    runner.initialise(5)
    _promise(first == _bits(runner), "initialise gives the same bits for the same seed")
    _promise(bool(first), "get_tensors gives at least one tensor")


def _exchange(runner: TaskRunner) -> None:
    runner.initialise(5)
    given = {name: _filled(array) for name, array in runner.get_tensors().items()}
    runner.set_tensors(given)
    _promise(_bits(runner) == {name: array.tobytes() for name, array in given.items()}, "set_tensors keeps every bit")


def _copies(runner: TaskRunner) -> None:
    runner.initialise(5)
    given = {name: array.copy() for name, array in runner.get_tensors().items()}
    runner.set_tensors(given)
    before = _bits(runner)
    for array in given.values():
        array[...] = np.ones((), array.dtype)
    _promise(_bits(runner) == before, "set_tensors copies what it is given")


def _refusals(runner: TaskRunner) -> None:
    runner.initialise(5)
    own = {name: array.copy() for name, array in runner.get_tensors().items()}
    before, some = _bits(runner), next(iter(own))
    wrong = {
        "an unknown tensor": own | {"no such tensor": np.zeros(1)},
        "a missing tensor": {name: array for name, array in own.items() if name != some},
        "another shape": own | {some: np.zeros((3, *own[some].shape, 3), own[some].dtype)},
        "another dtype": own | {some: np.zeros(own[some].shape, np.uint16)},
    }
    for what, tensors in wrong.items():
        _promise(_refused(runner, tensors), f"set_tensors refuses {what} with a TensorError (see check_tensors)")
        _promise(_bits(runner) == before, f"set_tensors changes nothing when it refuses {what}")


def _refused(runner: TaskRunner, tensors: dict[str, np.ndarray]) -> bool:
    try:
        runner.set_tensors(tensors)
    except TensorError:
        return True
    return False


def _training(runner: TaskRunner, another: TaskRunner, function: str) -> None:
    runner.initialise(5)
    start = {name: array.copy() for name, array in runner.get_tensors().items()}
    ends = []
    for each in (runner, runner, another):
        each.begin(7)
        each.set_tensors(start)
        result = getattr(each, function)()
        _promise(isinstance(result, TaskResult), f"{function} returns a TaskResult")
        ends.append(_bits(each))
    _promise(ends[0] != {name: array.tobytes() for name, array in start.items()}, f"{function} changes the model")
    _promise(ends[0] == ends[1], "the same model and seed give the same bits again (begin forgets the last assignment)")
    _promise(ends[0] == ends[2], "the same model and seed give the same bits in another runner")


def _promise(kept: bool, promise: str) -> None:  # noqa: FBT001 - it reads like a sentence
    if not kept:
        raise TaskError(f"the task runner does not keep a promise: {promise}")


def _bits(runner: TaskRunner) -> Bits:
    return {name: np.asarray(array).tobytes() for name, array in runner.get_tensors().items()}


def _filled(array: np.ndarray) -> np.ndarray:
    """Values that show a cast: every element has the full precision of its dtype."""
    filled = (np.arange(array.size) + 1).reshape(array.shape) / 3
    return filled.astype(array.dtype) if array.dtype.kind not in "iu" else np.full(array.shape, 101, array.dtype)
