"""An update whose difference from the global model is scaled down, readable like any other."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from openfl_like.aggregation.combining import is_looked_at
from openfl_like.aggregation.steps import Vector
from openfl_like.tensors.container import Part, TensorFile
from openfl_like.tensors.encoded import ModelReader
from openfl_like.tensors.named import Array, Elements, Schema


class ClippedUpdate:
    """The model ``base + factor * (update - base)``, decoded as it is read, as float64.

    Integers, booleans and an algorithm's own tensors, which count for no norm, are those of the update.

    Args:
        update: What the site sent; it is closed with this one.
        base: The global model that it started from; whoever opened it closes it.
        factor: From 0 to 1.
    """

    def __init__(self, update: ModelReader, base: TensorFile, factor: float) -> None:
        self._update, self._base, self._factor = update, base, factor
        self._specs = {spec.name: spec for spec in update.schema}

    @property
    def schema(self) -> Schema:
        """Its tensors."""
        return self._update.schema

    def flat(self, name: str) -> Elements:
        """Return a tensor's elements; those that are scaled are float64."""
        flat = self._update.flat(name)
        if not is_looked_at(self._specs[name]):
            return flat
        return ClippedTensor(flat, self._base.flat(name), self._factor)

    def tensor(self, name: str) -> Array:
        """Make a whole tensor, in its own dtype."""
        spec, flat = self._specs[name], self.flat(name)
        whole: Array = flat[: spec.size]
        return whole.astype(spec.numpy_dtype, copy=False).reshape(spec.shape)

    def release(self, parts: Sequence[Part]) -> None:
        """Take the pages of parts that were read off this process's memory; of both models."""
        self._update.release(parts)
        self._base.release(parts)

    def close(self) -> None:
        """Let the update's file go."""
        self._update.close()


@dataclass(frozen=True, slots=True)
class ClippedTensor:
    """The elements of a tensor that is scaled down: slices are computed when they are asked for."""

    update: Elements
    base: Elements
    factor: float

    @property
    def size(self) -> int:
        """How many there are."""
        return self.update.size

    def __getitem__(self, part: slice, /) -> Vector:
        """Compute a part."""
        start = np.asarray(self.base[part]).astype(np.float64)
        values: Vector = np.asarray(self.update[part]).astype(np.float64)
        return start + self.factor * (values - start)
