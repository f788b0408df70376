"""Named arrays: which tensors a model has, with their dtypes and shapes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import ml_dtypes
import numpy as np
import numpy.typing as npt

from openfl_like.errors import TensorError

Array: TypeAlias = npt.NDArray[Any]

DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "U8": np.dtype(np.uint8),
    "I8": np.dtype(np.int8),
    "U16": np.dtype("<u2"),
    "I16": np.dtype("<i2"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "U32": np.dtype("<u4"),
    "I32": np.dtype("<i4"),
    "F32": np.dtype("<f4"),
    "U64": np.dtype("<u8"),
    "I64": np.dtype("<i8"),
    "F64": np.dtype("<f8"),
}
_NAMES: dict[np.dtype[Any], str] = {dtype: name for name, dtype in DTYPES.items()}
FLOATS = frozenset({"F16", "BF16", "F32", "F64"})
ALGORITHM = "__algorithm__/"
"""Beginning of the names of tensors that an algorithm sends beside the model's own."""
OPTIMIZER = "__optimizer__/"
"""Beginning of the names of tensors that are the optimizer's state and not the model's (``CONTINUE_GLOBAL``)."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, dtype and shape of one tensor.

    Attributes:
        name: Unique in its model.
        dtype: As safetensors writes it: a key of `DTYPES`.
        shape: Empty for a single number.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        """The dtype as numpy (or ml_dtypes) has it, little endian."""
        return DTYPES[self.dtype]

    @property
    def size_bytes(self) -> int:
        """Bytes of the tensor's elements."""
        return self.size * self.numpy_dtype.itemsize

    @property
    def is_float(self) -> bool:
        """Whether elements may be infinite or not a number."""
        return self.dtype in FLOATS

    def __str__(self) -> str:
        return f"'{self.name}' {self.dtype}{list(self.shape)}"


Schema: TypeAlias = tuple[TensorSpec, ...]
"""The tensors of a model, sorted by name."""


class Elements(Protocol):
    """The elements of a tensor in a row; a numpy vector is one."""

    @property
    def size(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, part: slice, /) -> Any:  # noqa: ANN401 - an array; numpy's own slicing is typed like this
        """Return a part of them, as an array."""
        ...


def bytes_of(array: Array) -> memoryview:
    """Return an array's bytes, row-major; they are its own memory if that lies so."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def dtype_name(dtype: np.dtype[Any]) -> str:
    """Name a numpy dtype as safetensors does.

    Raises:
        TensorError: If a model file cannot hold this dtype (objects, strings, complex, big endian).
    """
    name = _NAMES.get(dtype)
    if name is None:
        raise TensorError(f"a model file cannot hold arrays of dtype '{dtype}'", cure=f"use one of {', '.join(DTYPES)}")
    return name


def schema_of(tensors: Mapping[str, Array]) -> Schema:
    """Describe arrays, sorted by name.

    Raises:
        TensorError: If a dtype is not one of `DTYPES`.
    """
    return tuple(
        TensorSpec(name, named_dtype(name, tensors[name].dtype), tensors[name].shape) for name in sorted(tensors)
    )


def named_dtype(name: str, dtype: np.dtype[Any]) -> str:
    """Name the dtype of a tensor; raises as `dtype_name` does, naming the tensor."""
    try:
        return dtype_name(dtype)
    except TensorError as error:
        raise TensorError(f"tensor '{name}': {error.message}", cure=error.cure) from error


def compare(expected: Schema, actual: Schema) -> str:
    """Say in one line how ``actual`` differs from ``expected``; empty when they are equal."""
    if expected == actual:
        return ""
    want, have = {spec.name: spec for spec in expected}, {spec.name: spec for spec in actual}
    faults = [
        _listing("missing", sorted(want.keys() - have.keys())),
        _listing("unexpected", sorted(have.keys() - want.keys())),
        _listing("different", [_difference(want[name], have[name]) for name in sorted(want.keys() & have.keys())]),
    ]
    return "; ".join(fault for fault in faults if fault)


def _difference(want: TensorSpec, have: TensorSpec) -> str:
    return "" if want == have else f"{have} instead of {want.dtype}{list(want.shape)}"


def _listing(word: str, items: list[str], limit: int = 5) -> str:
    found = [item for item in items if item]
    if not found:
        return ""
    more = f" and {len(found) - limit} more" if len(found) > limit else ""
    return f"{word}: {', '.join(found[:limit])}{more}"
