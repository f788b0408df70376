"""Combining updates into the next global model, block by block."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as settings_dataclass

from openfl_like.errors import UpdateRefusedError
from openfl_like.federation.task import Update
from openfl_like.tensors.container import TensorWriter
from openfl_like.tensors.encoded import Elements, ModelReader, Sent, open_update
from openfl_like.tensors.manifest import Manifest, manifest_of
from openfl_like.tensors.named import Array, TensorSpec, compare

BLOCK_ELEMENTS = 64 * 1024  # a block of float64 for each of a few sites stays in the second-level cache
_STRICT = ConfigDict(extra="forbid")

Vector: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Contribution:
    """An update that counts.

    Attributes:
        collaborator: Whose it is; contributions are combined in the order of these names.
        path: Its file.
        weight: Its weight relative to the others, usually its number of samples.
        sent: How the file is encoded; None: it is a model file.
    """

    collaborator: str
    path: Path
    weight: float
    sent: Sent | None = None


class AggregationRule(Protocol):
    """Combines the same block of K updates."""

    def reduce(self, blocks: Vector, weights: Vector) -> Vector:
        """Combines a block.

        Args:
            blocks: Float64 [K, n]; row k is update k, sorted by collaborator name. It may be overwritten.
            weights: Float64 [K], adding up to 1.

        Returns:
            Float64 [n].
        """
        ...


@settings_dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class WeightedAverage:
    """Federated averaging (McMahan et al. 2017, arXiv:1602.05629, algorithm 1, server side).

    Attributes:
        weighted: Whether sites count by their samples; otherwise all count alike.
    """

    weighted: bool = True

    def reduce(self, blocks: Vector, weights: Vector) -> Vector:
        """Adds the weighted rows one after the other: elementwise, so no BLAS and no thread count changes a bit."""
        factors = weights if self.weighted else np.full(len(weights), 1.0 / len(weights))
        total = np.zeros(blocks.shape[1])
        for row, factor in zip(blocks, factors, strict=True):
            row *= factor  # noqa: PLW2901 - in place: the row is scratch space
            total += row
        return total


def weights_of(updates: Sequence[Update]) -> dict[str, float]:
    """The share of each update, by collaborator: its samples over those of all; alike if nobody has samples."""
    total = sum(update.num_samples for update in updates)
    ordered = sorted(updates, key=lambda update: update.collaborator)
    return {update.collaborator: update.num_samples / total if total else 1 / len(ordered) for update in ordered}


def aggregate_files(
    rule: AggregationRule,
    contributions: Sequence[Contribution],
    out: Path,
    *,
    sync: bool = True,
    spare: Path | None = None,
) -> Manifest:
    """Combines model files into a new one.

    The updates are read in the order of the collaborators' names, in float64, and cast once at the end; integers are
    rounded half to even, booleans are true from 0.5 on. Memory is a block per update, and compressed updates are
    decoded as they are read. A single contribution is copied bit for bit.

    Args:
        rule: How a block is combined.
        contributions: At least one; their order does not matter.
        out: Where the new model will be.
        sync: False skips fsync.
        spare: A file that may be overwritten instead of making a new one.

    Returns:
        The manifest of the new file.

    Raises:
        UpdateRefusedError: If there is nothing to combine, names or weights are not usable, the tensors differ, or
            the result is not finite.
        TensorError: If a file is damaged.
    """
    ordered = sorted(contributions, key=lambda item: item.collaborator)
    weights = _normalised(ordered)
    with ExitStack() as stack:
        files = [stack.enter_context(closing(open_update(item.path, item.sent))) for item in ordered]
        _check_schemas(ordered, files)
        with TensorWriter(out, files[0].schema, sync=sync, spare=spare) as writer:
            for spec in files[0].schema:
                combine = _copier(spec) if len(files) == 1 else _combiner(rule, weights, spec)
                for start, block in _combined(combine, [file.flat(spec.name) for file in files]):
                    _check_finite(spec, block)
                    writer.write(spec.name, start, block)
    return manifest_of(out)


_Combine: TypeAlias = Callable[[list[Array]], Array]


def _combined(combine: _Combine, flats: list[Elements]) -> Iterator[tuple[int, Array]]:
    for start in range(0, flats[0].size, BLOCK_ELEMENTS):
        yield start, combine([flat[start : start + BLOCK_ELEMENTS] for flat in flats])


def _copier(spec: TensorSpec) -> _Combine:
    return lambda rows: rows[0] if rows[0].dtype == spec.numpy_dtype else _cast(rows[0], spec)


def _combiner(rule: AggregationRule, weights: Vector, spec: TensorSpec) -> _Combine:
    scratch = np.empty((len(weights), min(spec.size, BLOCK_ELEMENTS)))

    def combine(rows: list[Array]) -> Array:
        blocks = scratch[:, : rows[0].size]
        for target, row in zip(blocks, rows, strict=True):
            # A peer's boolean may be any byte but 0: only the comparison makes it 0 or 1.
            target[:] = row.view(np.uint8) != 0 if spec.dtype == "BOOL" else row
        result = rule.reduce(blocks, weights)
        if result.shape != (rows[0].size,) or result.dtype != np.float64:
            raise UpdateRefusedError(f"the rule gave {result.dtype}{list(result.shape)} for a block of tensor {spec}")
        return _cast(result, spec)

    return combine


def _cast(values: Vector, spec: TensorSpec) -> Array:
    if spec.is_float:
        with np.errstate(over="ignore"):  # what does not fit becomes infinite and is refused after this
            return values.astype(spec.numpy_dtype)
    if not np.isfinite(values).all():
        raise UpdateRefusedError(f"the combined tensor '{spec.name}' holds a value that is not finite")
    if spec.dtype == "BOOL":
        return values >= 0.5
    low, high = _integer_bounds(spec.numpy_dtype)
    return np.clip(np.rint(values), low, high).astype(spec.numpy_dtype)


def _integer_bounds(dtype: np.dtype[Any]) -> tuple[float, float]:
    """The smallest and largest float64 that the dtype can hold; 2**63 - 1 itself would round up out of it."""
    info = np.iinfo(dtype)
    high = float(info.max)
    return float(info.min), high if int(high) <= info.max else float(np.nextafter(high, 0.0))


def _check_finite(spec: TensorSpec, block: Array) -> None:
    if spec.is_float and not np.isfinite(block).all():
        raise UpdateRefusedError(f"the combined tensor '{spec.name}' holds a value that is not finite")


def _check_schemas(ordered: Sequence[Contribution], files: Sequence[ModelReader]) -> None:
    for item, file in zip(ordered, files, strict=True):
        difference = compare(files[0].schema, file.schema)
        if difference:
            first = ordered[0].collaborator
            raise UpdateRefusedError(
                f"the update of '{item.collaborator}' does not fit that of '{first}': {difference}"
            )


def _normalised(ordered: Sequence[Contribution]) -> Vector:
    names = [item.collaborator for item in ordered]
    if not names or len(set(names)) != len(names):
        raise UpdateRefusedError("there must be at least one update, and one of each collaborator")
    if len(ordered) == 1:
        return np.ones(1)
    for item in ordered:
        if not (math.isfinite(item.weight) and item.weight > 0):
            raise UpdateRefusedError(f"the update of '{item.collaborator}' has the weight {item.weight}")
    weights = np.array([item.weight for item in ordered], dtype=np.float64)
    return weights / math.fsum(weights)
