"""Model files that are in memory: small ones that nobody reads in another process."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from openfl_like.errors import TensorError
from openfl_like.tensors.container import Part, write_tensors
from openfl_like.tensors.layout import plan_layout, schema_at
from openfl_like.tensors.manifest import Manifest
from openfl_like.tensors.named import Array, Schema, bytes_of, schema_of


class TensorMemory:
    """A model, byte for byte as `container.write_tensors` would write it; it reads like a `container.TensorFile`.

    Args:
        tensors: Name -> array of a dtype in `named.DTYPES`; they are copied.

    Raises:
        TensorError: If a name or dtype cannot be stored.
    """

    def __init__(self, tensors: Mapping[str, Array]) -> None:
        header, places = plan_layout(schema_of(tensors))
        self._places = {place.spec.name: place for place in places}
        self.schema: Schema = schema_at(places)
        self._bytes = np.empty(len(header) + sum(place.spec.size_bytes for place in places), np.uint8)
        self._bytes[: len(header)] = np.frombuffer(header, np.uint8)
        for place in places:
            data = np.frombuffer(bytes_of(tensors[place.spec.name]), np.uint8)
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
