"""What the losses that come with the runners ask of outputs and targets: their shapes, and which integers they are."""

from collections.abc import Sequence

import numpy as np

from openfl_like.errors import TensorError
from openfl_like.frameworks.model import Observation

Shape = Sequence[int | None]
"""Of a batch; None where a framework has not fixed an axis."""


def per_sample(shape: Shape) -> tuple[int | None, ...]:
    """Return a batch's shape without the last axes of length 1: ``[n, 1]`` holds what ``[n]`` does."""
    kept = tuple(shape)
    while len(kept) > 1 and kept[-1] == 1:
        kept = kept[:-1]
    return kept


def squeezed(array: np.ndarray) -> np.ndarray:
    """Return a batch without the last axes of length 1; it shares memory."""
    return array.reshape(array.shape[: len(per_sample(array.shape))])


def check_numbers(outputs: Shape, targets: Shape, classes: int = 0) -> None:
    """Check that each output can be compared with a target of its own.

    Args:
        outputs: ``[n, *target_shape]``; last axes of length 1 may be more or fewer.
        targets: ``[n, *target_shape]``, floats.
        classes: How many classes the shard counts; 0: its targets are not class numbers.

    Raises:
        TensorError: If they differ: broadcasting would compare every output with every target.
    """
    if per_sample(outputs) != per_sample(targets):
        cure = "have the last layer give one number for each number of a target"
        raise _differ(outputs, targets, "give the numbers of the classes as integers" if classes else cure)


def check_two_classes(outputs: Shape, targets: Shape, classes: int, axis: int = -1) -> None:
    """Check that a model with one output for each class number has the targets of two classes.

    Args:
        outputs: ``[n]``, or with an axis ``axis`` of length 1.
        targets: The shape of the outputs, with or without that axis.
        classes: How many classes the shard counts; 0 if it does not say.
        axis: Where other models have the scores of each class.

    Raises:
        TensorError: If they do not belong together.
    """
    if classes > 2:
        message = f"the model has one output {_text(outputs)}, and the shard's targets name {classes} classes"
        raise TensorError(message, cure=f"have the last layer give {classes} outputs")
    kept = without_axis(outputs, axis) if len(outputs) > 1 else tuple(outputs)
    if per_sample(targets) not in {per_sample(kept), per_sample(outputs)}:
        raise _differ(outputs, targets, "give one class number for each output")


def check_classes(outputs: Shape, targets: Shape, axis: int = -1) -> None:
    """Check that each class number has its scores.

    Args:
        outputs: Its axis ``axis`` counts the classes.
        targets: The shape of the outputs without that axis; for ``[n, classes]`` it may also be ``[n, 1]``.
        axis: Where the classes are.

    Raises:
        TensorError: If they do not belong together.
    """
    kept = without_axis(outputs, axis)
    if (per_sample(targets) if len(kept) == 1 else tuple(targets)) != kept:
        raise _differ(outputs, targets, "give one class number, not one-hot rows, for each vector of scores")


def without_axis(shape: Shape, axis: int) -> tuple[int | None, ...]:
    """Return a shape without one of its axes."""
    kept = list(shape)
    del kept[axis]
    return tuple(kept)


def check_class_numbers(observation: Observation) -> None:
    """Check that integers among the targets are numbers of classes that the model has an output for.

    Raises:
        TensorError: Naming a target that is not.
    """
    targets = class_numbers(observation.targets)
    if targets is None or not targets.size:
        return
    classes = outputs_of(observation.scores)
    if not classes or are_classes(targets, classes):
        return
    low, high = int(targets.min()), int(targets.max())
    if low < 0 or high >= classes:
        message = f"the target {low if low < 0 else high} is not the number of a class: the model tells {classes} apart"
        raise TensorError(message, cure="number the classes from 0; for a regression give the targets as floats")


def are_classes(numbers: np.ndarray, classes: int) -> bool:
    """Whether all of some integers ``[n]``, at least one, are from 0 to below a number of classes."""
    if numbers.dtype != np.int64:
        return bool(int(numbers.min()) >= 0 and int(numbers.max()) < classes)
    return int(numbers.view(np.uint64).max()) < classes  # one pass: what is negative is very large without its sign


def class_numbers(targets: np.ndarray) -> np.ndarray | None:
    """Return one class number for each sample, ``[n]``; None if these targets are something else."""
    if targets.dtype.kind not in "biu" or len(per_sample(targets.shape)) != 1:
        return None
    return targets.reshape(-1)


def outputs_of(scores: np.ndarray) -> int:
    """Return how many classes scores ``[n]``, ``[n, 1]`` or ``[n, classes]`` tell apart; 0 for any other form."""
    form = per_sample(scores.shape)
    if len(form) == 1:
        return 2
    return scores.shape[1] if scores.ndim == 2 else 0


def _differ(outputs: Shape, targets: Shape, cure: str) -> TensorError:
    message = f"the model's outputs have the shape {_text(outputs)}, the targets {_text(targets)}"
    return TensorError(message, cure=f"{cure}, or write a loss that takes these shapes")


def _text(shape: Shape) -> str:
    return f"[{', '.join(('n', *map(str, shape[1:])))}]"
