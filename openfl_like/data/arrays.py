"""What is wrong with arrays of samples and targets, in words: which row and column, and what to do."""

from collections.abc import Sequence

import numpy as np

from openfl_like.errors import ShardError

_CONVERSIONS = (
    ("to_numpy", "give .to_numpy() of it"),  # tables of pandas and polars
    ("numpy", "give .numpy() of it"),  # tensors of PyTorch and TensorFlow
)
_FROM_0 = " (counted from 0)"
_KINDS = {
    "U": ("text", "give each word a number, classes from 0"),
    "S": ("bytes", "give each word a number, classes from 0"),
    "M": ("dates", "give them as numbers, for example the days since a date"),
    "m": ("durations", "give them as numbers, for example of seconds"),
    "c": ("complex numbers", "give real and imaginary part as two values"),
}


def check_is_array(what: str, value: object) -> None:
    """Check that samples or targets are an array at all.

    Raises:
        ShardError: With what they are, and how an array is made of that.
    """
    if isinstance(value, np.ndarray):
        if value.ndim:
            return
        raise ShardError(f"the {what} are a single value", cure="give an array with a row for each sample")
    cures = (cure for method, cure in _CONVERSIONS if hasattr(value, method))
    cure = next(cures, "make one with numpy.asarray")
    raise ShardError(f"the {what} are {_kind(value)}, not a NumPy array", cure=cure)


def check_values(what: str, array: np.ndarray, limits: tuple[float, float]) -> None:
    """Check that an array has finite numbers only, within its limits.

    Raises:
        ShardError: With the row and the column of the first value that does not fit. They are those of the array, and
            say so: which line of a file became that row only the code of the shard knows.
    """
    if array.dtype.kind == "O":
        raise _objects(what, array)
    if array.dtype.names is not None:
        cure = "stack its columns, for example with numpy.lib.recfunctions.structured_to_unstructured"
        raise ShardError(f"the {what} are a table with names of columns, not numbers", cure=cure)
    if array.dtype.kind in _KINDS:
        kind, cure = _KINDS[array.dtype.kind]
        raise ShardError(f"the {what} are {kind} ({array.dtype}), not numbers", cure=cure)
    low, high = float(array.min()), float(array.max())
    if np.isnan(low):
        cure = "fill missing values in, or leave those rows out, before the shard gives them"
        raise ShardError(f"the {what} have a missing value (NaN) in {_places(np.isnan(array))}", cure=cure)
    if np.isinf(low) or np.isinf(high):
        cure = "look for a division by 0 or a logarithm of 0 where they are made, or leave those rows out"
        raise ShardError(f"the {what} have an infinite value in {_places(np.isinf(array))}", cure=cure)
    if not limits[0] <= low <= high <= limits[1]:
        reach = f"reach from {low:g} to {high:g}, the schema promises {limits[0]:g} to {limits[1]:g}"
        where = _places((array < limits[0]) | (array > limits[1]))
        cure = "scale the values, or promise a wider range; classes are counted from 0"
        raise ShardError(f"the {what} {reach}; beyond that is {where}", cure=cure)


def _objects(what: str, array: np.ndarray) -> ShardError:
    """Say which of the values has Python keep all of them as objects."""
    rows = [(index, len(row)) for index, row in enumerate(array) if isinstance(row, Sequence | np.ndarray)]
    other = next(((index, length) for index, length in rows if length != rows[0][1]), None)
    if array.ndim == 1 and other is not None:
        told = f"row {rows[0][0]} has {_count(rows[0][1])}, row {other[0]} has {_count(other[1])}{_FROM_0}"
        return ShardError(f"the {what} have ragged rows: {told}", cure="cut them, or fill them up")
    odd = next(
        (index for index, value in np.ndenumerate(array) if not isinstance(value, int | float | np.number)), None
    )
    found = f"; {_place(odd)} has {_kind(array[odd])}" if odd is not None else ""
    cure = "give them a dtype, for example with .astype('float32')"
    return ShardError(f"the {what} are objects of Python (dtype object), not numbers{found}", cure=cure)


def _places(wrong: np.ndarray) -> str:
    """Name the first place, and how many there are."""
    count = int(np.count_nonzero(wrong))
    first = tuple(int(index) for index in np.unravel_index(int(np.argmax(wrong)), wrong.shape))
    rows = len(np.unique(np.nonzero(wrong)[0]))
    more = f", the first of {count} in {_count(rows, 'row')}" if count > 1 else ""
    return f"{_place(first)}{more}"


def _place(index: tuple[int, ...]) -> str:
    place = f"row {index[0]} at {list(index[1:])}"
    if len(index) <= 2:
        place = ", ".join(f"{name} {number}" for name, number in zip(("row", "column"), index, strict=False))
    return f"{place} of the array{_FROM_0}"


def _count(number: int, what: str = "value") -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _kind(value: object) -> str:
    name = type(value).__name__
    return "None" if value is None else f"a {name}"
