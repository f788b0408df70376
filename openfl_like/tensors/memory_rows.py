"""Many models in memory at once, of the same tensors: put together in one piece, one model in each row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from openfl_like.tensors.finite import all_finite
from openfl_like.tensors.layout import Place, plan_layout, schema_at
from openfl_like.tensors.manifest import content_digest
from openfl_like.tensors.memory import TensorMemory
from openfl_like.tensors.named import Array, Schema, bytes_of, schema_of


@dataclass(frozen=True, slots=True, eq=False)
class ModelRows:
    """Many models of the same tensors.

    Attributes:
        places: Name -> where each tensor is in a row.
        schema: The tensors.
        content: All bytes of their files, ``[models, bytes]``.
    """

    places: dict[str, Place]
    schema: Schema
    content: np.ndarray


@dataclass(frozen=True, slots=True)
class ChosenRows:
    """Some of these models, in an order.

    Attributes:
        rows: All models.
        numbers: Which of them.
    """

    rows: ModelRows
    numbers: list[int]

    def elements(self, name: str, start: int, stop: int) -> Array:
        """Return elements of a tensor of each model, ``[models, stop - start]``, copied."""
        place = self.rows.places[name]
        dtype = place.spec.numpy_dtype
        first = place.offset + start * dtype.itemsize
        part = self.rows.content[:, first : first + (stop - start) * dtype.itemsize]
        return part[self.numbers].view(dtype)


class TensorRow(TensorMemory):
    """A `TensorMemory` that lies beside others.

    Args:
        rows: All of them.
        number: Which of them it is.
        not_finite: The first of the tensors that holds a number which is not finite; empty if none does.
    """

    def __init__(self, rows: ModelRows, number: int, not_finite: str) -> None:
        self.rows, self.number, self.not_finite = rows, number, not_finite
        self._places, self.schema, self._bytes = rows.places, rows.schema, rows.content[number]
        self.digest = content_digest(self._bytes.data)


def tensor_rows(stacked: Mapping[str, Array]) -> list[TensorRow]:
    """Return many models whose tensors are stacked; each has the bytes that it would have alone.

    Args:
        stacked: Name -> array ``[models, *shape]`` of a dtype in `named.DTYPES`; they are copied, all at once.

    Raises:
        TensorError: If a name or dtype cannot be stored.
    """
    header, places = plan_layout(schema_of({name: array[0] for name, array in stacked.items()}))
    count = min((len(array) for array in stacked.values()), default=0)
    content = np.empty((count, len(header) + sum(place.spec.size_bytes for place in places)), np.uint8)
    content[:, : len(header)] = np.frombuffer(header, np.uint8)
    for place in places:
        size = place.spec.size_bytes
        own = np.frombuffer(bytes_of(stacked[place.spec.name]), np.uint8).reshape(count, size)
        content[:, place.offset : place.offset + size] = own
    content.flags.writeable = False
    rows = ModelRows({place.spec.name: place for place in places}, schema_at(places), content)
    return [TensorRow(rows, number, first) for number, first in enumerate(_not_finite(stacked, count))]


def stacked_of(files: Sequence[object]) -> ChosenRows | None:
    """Return what all these models are rows of; None if there is no such piece of memory."""
    rows = [file for file in files if isinstance(file, TensorRow)]
    if not rows or len(rows) < len(files) or any(row.rows is not rows[0].rows for row in rows):
        return None
    return ChosenRows(rows[0].rows, [row.number for row in rows])


def _not_finite(stacked: Mapping[str, Array], count: int) -> list[str]:
    """Name the first tensor of each model, by name, that holds a number which is not finite."""
    found = [""] * count
    for spec in schema_of({name: array[0] for name, array in stacked.items()}):
        if spec.is_float:
            rows = np.ascontiguousarray(stacked[spec.name]).reshape(count, spec.size)
            if not all_finite(rows):
                found = [
                    first or ("" if all_finite(row) else spec.name) for first, row in zip(found, rows, strict=True)
                ]
    return found
