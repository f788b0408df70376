"""Combining updates into the next global model, block by block."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from openfl_like.aggregation.rules import AggregationRule, LinearRule, Vector
from openfl_like.errors import UpdateRefusedError
from openfl_like.tensors.chunked import STRETCH_BYTES, ChunkedWriter, Piece
from openfl_like.tensors.encoded import ModelReader, Sent, open_update
from openfl_like.tensors.finite import all_finite
from openfl_like.tensors.manifest import Manifest
from openfl_like.tensors.named import Array, Elements, TensorSpec, compare

BLOCK_ELEMENTS = 64 * 1024
"""So much float64 twice stays in the second-level cache; with less, threads wait for each other between the steps."""
SCRATCH_ELEMENTS = 256 * 1024
"""The most that the block of all updates has together: with many of them, it has fewer columns."""
LEAST_ELEMENTS = 256
MAPPED_BYTES = 16 << 20
"""About how much of all updates together a thread has mapped before it lets the pages go."""

Job: TypeAlias = Callable[[], None]
Executor: TypeAlias = Callable[[Job, int], None]
"""Runs the work on up to so many threads, all of which take from the same heap of stretches, and waits for them."""


@dataclass(frozen=True, slots=True)
class UpdateFile:
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


def inline(work: Job, most: int) -> None:  # noqa: ARG001 - an executor of one
    """The crew that is the calling thread."""
    work()


def aggregate_files(
    rule: AggregationRule,
    contributions: Sequence[UpdateFile],
    out: Path,
    *,
    sync: bool = True,
    recyclable: Path | None = None,
    executor: Executor = inline,
) -> Manifest:
    """Combines model files into a new one.

    The updates are read in the order of the collaborators' names, in float64, and cast once at the end; integers are
    rounded half to even, booleans are true from 0.5 on. Memory is some MiB per thread, however many and large updates
    are, and so is what is mapped of them; compressed ones are decoded as they are read. A single contribution is copied
    bit for bit.

    Args:
        rule: How a block is combined.
        contributions: At least one; their order does not matter.
        out: Where the new model will be.
        sync: False skips fsync.
        recyclable: A file that may be overwritten instead of making a new one.
        executor: Who does the work; the result is the same bit for bit.

    Returns:
        The manifest of the new file.

    Raises:
        UpdateRefusedError: If there is nothing to combine, names or weights are not usable, the tensors differ, the
            rule has too few updates, or the result is not finite.
        TensorError: If a file is damaged.
    """
    ordered = sorted(contributions, key=lambda item: item.collaborator)
    weights = _normalised(ordered)
    with ExitStack() as stack:
        files = [stack.enter_context(closing(open_update(item.path, item.sent))) for item in ordered]
        _check_schemas(ordered, files)
        make = _maker(rule, weights)
        span_bytes = min(STRETCH_BYTES, MAPPED_BYTES // len(files))
        with ChunkedWriter(out, files[0].schema, span_bytes=span_bytes, sync=sync, recyclable=recyclable) as writer:
            spans = _Spans(writer.count)
            executor(lambda: _work(make(), files, writer, spans), writer.count)
    return writer.manifest()


class _Spans:
    """What is left to be done, given out one by one; nothing more when somebody has failed."""

    def __init__(self, count: int) -> None:
        self._left = iter(range(count))
        self.failed = False

    def __iter__(self) -> Iterator[int]:
        # Threads share this iterator of the built-in range, and each next() is one step of the interpreter.
        while not self.failed and (index := next(self._left, None)) is not None:
            yield index


@dataclass(frozen=True, slots=True)
class _Combiner:
    """How one thread combines blocks: with its own scratch space.

    Attributes:
        block: Most elements at once.
        combine: From the rows of all updates, gives float64 or, for a copy, the elements as they are.
    """

    block: int
    combine: Callable[[list[Array]], Array]


def _maker(rule: AggregationRule, weights: Vector) -> Callable[[], _Combiner]:
    count = len(weights)
    trial = rule.reduce(np.zeros((count, 1)), weights.copy())  # too few updates are refused before any file is made
    if trial.shape != (1,) or trial.dtype != np.float64:
        raise UpdateRefusedError(f"the rule gave {trial.dtype}{list(trial.shape)} for a block of float64[{count}, 1]")
    if count == 1:
        return lambda: _Combiner(BLOCK_ELEMENTS, lambda rows: rows[0])
    if isinstance(rule, LinearRule):
        factors = rule.factors(weights)
        return lambda: _adding(factors)
    return lambda: _reducing(rule, weights)


def _adding(factors: Vector) -> _Combiner:
    sums, products = np.empty(BLOCK_ELEMENTS), np.empty(BLOCK_ELEMENTS)

    def combine(rows: list[Array]) -> Array:
        total, product = sums[: rows[0].size], products[: rows[0].size]
        _multiply(rows[0], factors[0], total)
        for row, factor in zip(rows[1:], factors[1:], strict=True):
            _multiply(row, factor, product)
            np.add(total, product, out=total)
        return total

    return _Combiner(BLOCK_ELEMENTS, combine)


def _multiply(row: Array, factor: np.float64, out: Vector) -> None:
    np.copyto(out, row)  # and not one step of mixed types, for which numpy goes through a buffer
    np.multiply(out, factor, out=out)


def _reducing(rule: AggregationRule, weights: Vector) -> _Combiner:
    width = max(LEAST_ELEMENTS, min(BLOCK_ELEMENTS, SCRATCH_ELEMENTS // len(weights)))
    scratch = np.empty(len(weights) * width)

    def combine(rows: list[Array]) -> Array:
        size = rows[0].size
        blocks = scratch[: len(rows) * size].reshape(len(rows), size)
        for target, row in zip(blocks, rows, strict=True):
            target[:] = row
        result = rule.reduce(blocks, weights)
        if result.shape != (size,) or result.dtype != np.float64:
            raise UpdateRefusedError(f"the rule gave {result.dtype}{list(result.shape)} for {size} columns")
        return result

    return _Combiner(width, combine)


class _Rows:
    """The elements of a tensor in all files, for one thread; opening a packed one again and again would cost much."""

    def __init__(self, files: Sequence[ModelReader]) -> None:
        self._files = files
        self._name = ""
        self._flats: list[Elements] = []

    def read(self, spec: TensorSpec, start: int, stop: int) -> list[Array]:
        """Gives the same elements of each file."""
        if self._name != spec.name:
            self._name, self._flats = spec.name, [file.flat(spec.name) for file in self._files]
        rows = [flat[start:stop] for flat in self._flats]
        if spec.dtype == "BOOL" and len(rows) > 1:
            # A peer's boolean may be any byte but 0: only the comparison makes it 0 or 1.
            return [row.view(np.uint8) != 0 for row in rows]
        return rows


def _work(combiner: _Combiner, files: Sequence[ModelReader], writer: ChunkedWriter, spans: _Spans) -> None:
    span, rows = np.empty(writer.span_bytes, np.uint8), _Rows(files)
    try:
        # What does not fit becomes infinite, and a result that is not finite is refused.
        with np.errstate(over="ignore", invalid="ignore"):
            for index in spans:
                pieces = writer.pieces(index)
                for piece in pieces:
                    _fill(combiner, piece, rows, piece.view(span))
                parts = [(piece.spec.name, piece.start, piece.stop) for piece in pieces]
                for file in files:
                    file.release(parts)
                writer.put(index, span)
    except BaseException:
        spans.failed = True
        raise


def _fill(combiner: _Combiner, piece: Piece, rows: _Rows, target: Array) -> None:
    for start in range(piece.start, piece.stop, combiner.block):
        stop = min(start + combiner.block, piece.stop)
        combined = combiner.combine(rows.read(piece.spec, start, stop))
        _store(piece.spec, combined, target[start - piece.start : stop - piece.start])


def _store(spec: TensorSpec, values: Array, target: Array) -> None:
    if spec.is_float or values.dtype == target.dtype:
        np.copyto(target, values, casting="unsafe")
        _check_finite(spec, target)
        return
    _check_finite(spec, values)
    if spec.dtype == "BOOL":
        np.greater_equal(values, 0.5, out=target)
        return
    low, high = _integer_bounds(spec.numpy_dtype)
    np.copyto(target, np.clip(np.rint(values), low, high), casting="unsafe")


def _integer_bounds(dtype: np.dtype[Any]) -> tuple[float, float]:
    """The smallest and largest float64 that the dtype can hold; 2**63 - 1 itself would round up out of it."""
    info = np.iinfo(dtype)
    high = float(info.max)
    return float(info.min), high if int(high) <= info.max else float(np.nextafter(high, 0.0))


def _check_finite(spec: TensorSpec, block: Array) -> None:
    if block.dtype.kind not in "iub" and not all_finite(block):
        raise UpdateRefusedError(f"the combined tensor '{spec.name}' holds a value that is not finite")


def _check_schemas(ordered: Sequence[UpdateFile], files: Sequence[ModelReader]) -> None:
    for item, file in zip(ordered, files, strict=True):
        difference = compare(files[0].schema, file.schema)
        if difference:
            first = ordered[0].collaborator
            raise UpdateRefusedError(
                f"the update of '{item.collaborator}' does not fit that of '{first}': {difference}"
            )


def _normalised(ordered: Sequence[UpdateFile]) -> Vector:
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
