"""Model files that are in memory: small ones that nobody reads in another process."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from openfl_like.errors import TensorError
from openfl_like.tensors.container import Part, write_tensors
from openfl_like.tensors.layout import plan_layout, schema_at
from openfl_like.tensors.manifest import Manifest, content_digest
from openfl_like.tensors.named import Array, Schema, bytes_of, schema_of


class TensorMemory:
    """A model, byte for byte as `container.write_tensors` would write it; it reads like a `container.TensorFile`.

    Args:
        tensors: Name -> array of a dtype in `named.DTYPES`; they are copied.

    Attributes:
        schema: What its tensors are like.
        digest: BLAKE3 identity of the file that it would be.

    Raises:
        TensorError: If a name or dtype cannot be stored.
    """

    def __init__(self, tensors: Mapping[str, Array]) -> None:
        header, places = plan_layout(schema_of(tensors))
        content = np.empty(len(header) + sum(place.spec.size_bytes for place in places), np.uint8)
        content[: len(header)] = np.frombuffer(header, np.uint8)
        for place in places:
            data = np.frombuffer(bytes_of(tensors[place.spec.name]), np.uint8)
            content[place.offset : place.offset + len(data)] = data
        content.flags.writeable = False
        self._places = {place.spec.name: place for place in places}
        self.schema: Schema = schema_at(places)
        self._bytes = content
        self._manifest: Manifest | None = Manifest.of_content(content.data)
        self.digest = self._manifest.digest

    @property
    def manifest(self) -> Manifest:
        """The manifest of the file that it would be."""
        if self._manifest is None:
            self._manifest = Manifest.of_content(self._bytes.data)
        return self._manifest

    @property
    def size_bytes(self) -> int:
        """Size of the file that it would be."""
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

    @classmethod
    def of_rows(cls, stacked: Mapping[str, Array]) -> "list[TensorMemory]":
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
        by_name, schema, found = {place.spec.name: place for place in places}, schema_at(places), []
        for row in content:
            one = cls.__new__(cls)
            one._places, one.schema, one._bytes = by_name, schema, row  # noqa: SLF001 (it is being made)
            one._manifest, one.digest = None, content_digest(row.data)  # noqa: SLF001 (as above)
            found.append(one)
        return found
