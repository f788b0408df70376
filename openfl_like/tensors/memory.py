"""Model files that are in memory: small ones that nobody reads in another process."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np

from openfl_like.errors import TensorError
from openfl_like.tensors.container import Part, write_tensors
from openfl_like.tensors.layout import (
    LENGTH_BYTES,
    REMEMBERED,
    Place,
    header_length,
    parse_header,
    plan_layout,
    schema_at,
)
from openfl_like.tensors.manifest import Manifest, content_digest
from openfl_like.tensors.named import Array, Schema, TensorSpec, bytes_of, named_dtype


@dataclass(frozen=True, slots=True)
class _ReadHeader:
    """What the header of a model file says.

    Attributes:
        places: Name -> where it lies.
        schema: The tensors.
    """

    places: Mapping[str, Place]
    schema: Schema


@lru_cache(REMEMBERED)
def _read(header: bytes, data_bytes: int) -> _ReadHeader:
    places = parse_header(header, data_bytes)
    return _ReadHeader({place.spec.name: place for place in places}, schema_at(places))


def _header_of(content: Array) -> _ReadHeader:
    length = header_length(content[:LENGTH_BYTES].tobytes(), len(content))
    body = LENGTH_BYTES + length
    return _read(content[LENGTH_BYTES:body].tobytes(), len(content) - body)


def _bytes(array: Array) -> memoryview:
    """Return an array's bytes, row-major, in any form; where they lie like that, it takes a tenth of `bytes_of`."""
    plain = type(array) is np.ndarray and array.flags.c_contiguous and array.dtype.isbuiltin == 1
    return array.data if plain else bytes_of(array)


@dataclass(frozen=True, slots=True)
class _FileLayout:
    """How tensors lie in a model file.

    Attributes:
        header: The bytes before the first of them.
        names: Theirs, in the order of their bytes.
        read: What the header says.
    """

    header: bytes
    names: tuple[str, ...]
    read: _ReadHeader


@lru_cache(REMEMBERED)
def _layout_of(tensors: tuple[tuple[str, np.dtype[Any], tuple[int, ...]], ...]) -> _FileLayout:
    specs = tuple(TensorSpec(name, named_dtype(name, dtype), shape) for name, dtype, shape in tensors)
    header, places = plan_layout(specs)
    names = (place.spec.name for place in sorted(places, key=lambda place: place.offset))
    return _FileLayout(
        header, tuple(names), _ReadHeader({place.spec.name: place for place in places}, schema_at(places))
    )


class TensorMemory:
    """A model file in memory; it reads like a `container.TensorFile`.

    Args:
        content: Its bytes, which nobody changes any more.
        header: What its header says, for whoever knows that; None: it is read.

    Attributes:
        digest: BLAKE3 identity of the file that it stands for.

    Raises:
        TensorError: If it is malformed.
    """

    def __init__(self, content: bytes | Array, header: _ReadHeader | None = None) -> None:
        self._bytes = np.frombuffer(content, np.uint8)
        known = _header_of(self._bytes) if header is None else header
        self._places, self.schema = known.places, known.schema
        self.digest = content_digest(self._bytes.data)

    @classmethod
    def of(cls, tensors: Mapping[str, Array]) -> Self:
        """Return a model, byte for byte as `container.write_tensors` would write it.

        Args:
            tensors: Name -> array of a dtype in `named.DTYPES`; they are copied.

        Raises:
            TensorError: If a name or dtype cannot be stored.
        """
        layout = _layout_of(tuple((name, tensors[name].dtype, tensors[name].shape) for name in sorted(tensors)))
        return cls(b"".join([layout.header, *(_bytes(tensors[name]) for name in layout.names)]), layout.read)

    @cached_property
    def manifest(self) -> Manifest:
        """The manifest of the file that it stands for."""
        return Manifest.of_content(self._bytes.data)

    def to_bytes(self) -> bytes:
        """Return the bytes of the file that it stands for."""
        return self._bytes.tobytes()

    @property
    def size_bytes(self) -> int:
        """Size of the file that it stands for."""
        return len(self._bytes)

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
