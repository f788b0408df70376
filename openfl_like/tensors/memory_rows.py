"""Many models in memory at once, of the same tensors: put together in one piece, one model in each row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from openfl_like.tensors.finite import all_finite
from openfl_like.tensors.layout import LENGTH_BYTES, Place, header_length, parse_header, plan_layout, schema_at
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

    def elements(self, name: str, start: int, stop: int) -> Array:
        """Return elements of a tensor of each model, ``[models, stop - start]``; a view of the content."""
        place = self.places[name]
        dtype = place.spec.numpy_dtype
        first = place.offset + start * dtype.itemsize
        part: Array = self.content[:, first : first + (stop - start) * dtype.itemsize]
        return part.view(dtype)


@dataclass(frozen=True, slots=True)
class ChosenRows:
    """Some of these models, in an order.

    Attributes:
        rows: All models.
        chosen: Which of them: their numbers, or from where to where if they are neighbours.
    """

    rows: ModelRows
    chosen: list[int] | slice

    def elements(self, name: str, start: int, stop: int) -> Array:
        """Return elements of a tensor of each model, ``[models, stop - start]``, not to be changed."""
        return self.rows.elements(name, start, stop)[self.chosen]


class TensorRow(TensorMemory):
    """A `TensorMemory` that lies beside others.

    Args:
        rows: All of them.
        number: Which of them it is.
        digest: BLAKE3 identity of the file that it stands for.
        not_finite: The first of the tensors that holds a number which is not finite; empty if none does.
    """

    def __init__(self, rows: ModelRows, number: int, digest: str, not_finite: str) -> None:
        self.rows, self.number, self.digest, self.not_finite = rows, number, digest, not_finite
        self._places, self.schema, self._bytes = rows.places, rows.schema, rows.content[number]


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
    return _rows_of(content, places, [content_digest(row.data) for row in content])


def put_together(models: Sequence[TensorMemory]) -> Sequence[TensorMemory]:
    """Return the same models as rows of one piece of memory; as they are where that cannot be, or is so already."""
    if len(models) < 2 or stacked_of(models) is not None:
        return models
    files = [model.to_bytes() for model in models]
    size = len(files[0])
    body = LENGTH_BYTES + header_length(files[0][:LENGTH_BYTES], size)
    if any(len(file) != size or not file.startswith(files[0][:body]) for file in files):
        return models
    content = np.frombuffer(b"".join(files), np.uint8).reshape(len(files), size)
    places = parse_header(files[0][LENGTH_BYTES:body], size - body)
    return _rows_of(content, places, [model.digest for model in models])


def _rows_of(content: Array, places: Sequence[Place], digests: Sequence[str]) -> list[TensorRow]:
    rows = ModelRows({place.spec.name: place for place in places}, schema_at(places), content)
    found = enumerate(zip(digests, _not_finite(rows), strict=True))
    return [TensorRow(rows, number, digest, first) for number, (digest, first) in found]


def stacked_of(files: Sequence[object]) -> ChosenRows | None:
    """Return what all these models are rows of; None if there is no such piece of memory."""
    rows = [file for file in files if isinstance(file, TensorRow)]
    if not rows or len(rows) < len(files) or any(row.rows is not rows[0].rows for row in rows):
        return None
    numbers = [row.number for row in rows]
    first, last = numbers[0], numbers[-1]
    return ChosenRows(rows[0].rows, slice(first, last + 1) if numbers == list(range(first, last + 1)) else numbers)


def _not_finite(rows: ModelRows) -> list[str]:
    """Name the first tensor of each model, by name, that holds a number which is not finite."""
    found = [""] * len(rows.content)
    for spec in rows.schema:
        values = rows.elements(spec.name, 0, spec.size)
        if spec.is_float and not all_finite(values):
            found = [first or ("" if all_finite(row) else spec.name) for first, row in zip(found, values, strict=True)]
    return found
