"""Many models in memory at once, of the same tensors: put together in one piece, one model in each row."""

from collections.abc import Mapping
from functools import cached_property

import numpy as np

from openfl_like.tensors.finite import all_finite
from openfl_like.tensors.layout import Place, plan_layout, schema_at
from openfl_like.tensors.manifest import Manifest, content_digest
from openfl_like.tensors.memory import TensorMemory
from openfl_like.tensors.named import Array, Schema, bytes_of, schema_of


class TensorRow(TensorMemory):
    """A `TensorMemory` that lies beside others; its manifest is made when it is asked for.

    Args:
        places: Name -> where each tensor is.
        schema: The tensors.
        content: All bytes of the file that it stands for.
        not_finite: The first of the tensors that holds a number which is not finite; empty if none does.

    Attributes:
        digest: BLAKE3 identity of that file.
    """

    def __init__(self, places: dict[str, Place], schema: Schema, content: np.ndarray, not_finite: str) -> None:
        self._places = places
        self.schema = schema
        self.not_finite = not_finite
        self._bytes = content
        self.digest = content_digest(content.data)

    @cached_property
    def manifest(self) -> Manifest:  # type: ignore[override]  # one that is made at once would cost as much as the digest
        """The manifest of the file that it stands for."""
        return Manifest.of_content(self._bytes.data)


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
        rows = np.frombuffer(bytes_of(stacked[place.spec.name]), np.uint8).reshape(count, size)
        content[:, place.offset : place.offset + size] = rows
    content.flags.writeable = False
    by_name, schema, odd = {place.spec.name: place for place in places}, schema_at(places), _not_finite(stacked, count)
    return [TensorRow(by_name, schema, row, first) for row, first in zip(content, odd, strict=True)]


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
