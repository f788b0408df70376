"""Putting what was computed into the elements of a model."""

from typing import Any

import numpy as np

from openfl_like.errors import UpdateRefusedError
from openfl_like.tensors.finite import all_finite
from openfl_like.tensors.named import Array, TensorSpec


def store(spec: TensorSpec, values: Array, target: Array) -> None:
    """Cast elements to the model's dtype: whole numbers are rounded half to even, booleans are true from 0.5 on.

    Raises:
        UpdateRefusedError: If one is not finite.
    """
    if spec.is_float or values.dtype == target.dtype:
        np.copyto(target, values, casting="unsafe")
        _check_finite(spec, target)
        return
    _check_finite(spec, values)
    if spec.dtype == "BOOL":
        np.greater_equal(values, 0.5, out=target)
        return
    low, high = _integer_bounds(spec.numpy_dtype)
    np.copyto(target, np.clip(np.rint(values), low, high), casting="unsafe")


def _integer_bounds(dtype: np.dtype[Any]) -> tuple[float, float]:
    """The smallest and largest float64 that the dtype can hold; 2**63 - 1 itself would round up out of it."""
    info = np.iinfo(dtype)
    high = float(info.max)
    return float(info.min), high if int(high) <= info.max else float(np.nextafter(high, 0.0))


def _check_finite(spec: TensorSpec, block: Array) -> None:
    if block.dtype.kind not in "iub" and not all_finite(block):
        raise UpdateRefusedError(f"the combined tensor '{spec.name}' holds a value that is not finite")
