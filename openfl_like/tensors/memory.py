"""Model files that are in memory: small ones that nobody reads in another process."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from openfl_like.errors import TensorError
from openfl_like.tensors.container import Part, write_tensors
from openfl_like.tensors.layout import REMEMBERED, Place, plan_layout, schema_at
from openfl_like.tensors.manifest import Manifest
from openfl_like.tensors.named import Array, Schema, TensorSpec, named_dtype


@dataclass(frozen=True, slots=True)
class _Header:
    """All of a model file but its values.

    Attributes:
        header: The bytes before the first tensor.
        places: Name -> where it lies.
        schema: The tensors.
        size_bytes: Of the file.
    """

    header: Array
    places: Mapping[str, Place]
    schema: Schema
    size_bytes: int


@lru_cache(REMEMBERED)
def _header_of(tensors: tuple[tuple[str, np.dtype[Any], tuple[int, ...]], ...]) -> _Header:
    specs = tuple(TensorSpec(name, named_dtype(name, dtype), shape) for name, dtype, shape in tensors)
    header, places = plan_layout(specs)
    size_bytes = len(header) + sum(place.spec.size_bytes for place in places)
    by_name = {place.spec.name: place for place in places}
    return _Header(np.frombuffer(header, np.uint8), by_name, schema_at(places), size_bytes)


class TensorMemory:
    """A model, byte for byte as `container.write_tensors` would write it; it reads like a `container.TensorFile`.

    Args:
        tensors: Name -> array of a dtype in `named.DTYPES`; they are copied.

    Raises:
        TensorError: If a name or dtype cannot be stored.
    """

    def __init__(self, tensors: Mapping[str, Array]) -> None:
        form = _header_of(tuple((name, tensors[name].dtype, tensors[name].shape) for name in sorted(tensors)))
        self._places, self.schema = form.places, form.schema
        self._bytes = np.empty(form.size_bytes, np.uint8)
        self._bytes[: len(form.header)] = form.header
        for name, place in form.places.items():
            data = np.ascontiguousarray(tensors[name]).reshape(-1).view(np.uint8)
            self._bytes[place.offset : place.offset + len(data)] = data
        self._bytes.flags.writeable = False
        self.manifest = Manifest.of_content(self._bytes.data)

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors' names, sorted."""
        return tuple(self._places)

    def tensor(self, name: str) -> Array:
        """A read-only view of one tensor.

        Raises:
            TensorError: If there is no such tensor.
        """
        place = self._places.get(name)
        if place is None:
            raise TensorError(f"there is no tensor '{name}' in the model")
        return np.ndarray(place.spec.shape, place.spec.numpy_dtype, buffer=self._bytes, offset=place.offset)

    def flat(self, name: str) -> Array:
        """A read-only view of one tensor as a vector, row-major; raises as `tensor` does."""
        return self.tensor(name).reshape(-1)

    def release(self, parts: Iterable[Part]) -> None:
        """Do nothing: what is in memory stays there."""

    def close(self) -> None:
        """Do nothing: it stays as long as it is referenced."""

    def write(self, path: Path) -> None:
        """Write the file that it stands for; it is not forced to disk."""
        write_tensors(path, {name: self.tensor(name) for name in self.names}, sync=False)
