"""An update whose difference from the model that it started from is scaled down, readable like any other."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from openfl_like.aggregation.combining import is_looked_at
from openfl_like.aggregation.steps import Vector
from openfl_like.tensors.container import Part, TensorFile
from openfl_like.tensors.encoded import ModelReader
from openfl_like.tensors.named import Array, Elements, Schema


def counted(
    files: Sequence[ModelReader],
    factors: Sequence[float],
    bases: Sequence[Path | None],
    model: Path | None,
    stack: ExitStack,
) -> list[ModelReader]:
    """Return updates as they count.

    Args:
        files: The updates.
        factors: What the difference of each is multiplied by.
        bases: The model that each started from, if that is not the global one.
        model: The global model; None: there is none yet.
        stack: Closes what is opened besides.
    """
    others = [factor != 1.0 or base is not None for factor, base in zip(factors, bases, strict=True)]
    if model is None or not any(others):
        return list(files)
    newest = stack.enter_context(TensorFile(model))
    older = {
        base: stack.enter_context(TensorFile(base)) for base in sorted({base for base in bases if base is not None})
    }
    origins = [newest if base is None else older[base] for base in bases]
    parts = zip(files, factors, origins, others, strict=True)
    return [ClippedUpdate(file, origin, factor, newest) if other else file for file, factor, origin, other in parts]


class ClippedUpdate:
    """The model ``model + factor * (update - base)``, decoded as it is read, as float64.

    Integers, booleans and an algorithm's own tensors, which count for no norm, are those of the update.

    Args:
        update: What the site sent; it is closed with this one.
        base: The model that it started from; whoever opened it closes it.
        factor: From 0 to 1.
        model: The global model, of the same tensors; another one than ``base`` if the update is late. Likewise.
    """

    def __init__(self, update: ModelReader, base: TensorFile, factor: float, model: TensorFile) -> None:
        self._update, self._base, self._factor, self._model = update, base, factor, model
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
        return ClippedTensor(flat, self._base.flat(name), self._factor, self._model.flat(name))

    def tensor(self, name: str) -> Array:
        """Make a whole tensor, in its own dtype."""
        spec, flat = self._specs[name], self.flat(name)
        whole: Array = flat[: spec.size]
        return whole.astype(spec.numpy_dtype, copy=False).reshape(spec.shape)

    def release(self, parts: Sequence[Part]) -> None:
        """Take the pages of parts that were read off this process's memory; of all models."""
        self._update.release(parts)
        self._base.release(parts)
        if self._model is not self._base:
            self._model.release(parts)

    def close(self) -> None:
        """Let the update's file go."""
        self._update.close()


@dataclass(frozen=True, slots=True)
class ClippedTensor:
    """The elements of a tensor that is scaled down: slices are computed when they are asked for."""

    update: Elements
    base: Elements
    factor: float
    model: Elements

    @property
    def size(self) -> int:
        """How many there are."""
        return self.update.size

    def __getitem__(self, part: slice, /) -> Vector:
        """Compute a part."""
        base = np.asarray(self.base[part]).astype(np.float64)
        values: Vector = np.asarray(self.update[part]).astype(np.float64)
        model = base if self.model is self.base else np.asarray(self.model[part]).astype(np.float64)
        return model + self.factor * (values - base)
