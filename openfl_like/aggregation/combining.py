"""Making the elements of a model from those of its updates: what one thread does, with its own scratch space."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from openfl_like.aggregation.steps import Block, Blockwise, Linear, Vector
from openfl_like.errors import UpdateRefusedError
from openfl_like.tensors.container import Part, TensorFile
from openfl_like.tensors.encoded import ModelReader
from openfl_like.tensors.memory_rows import stacked_of
from openfl_like.tensors.named import ALGORITHM, OPTIMIZER, Array, Elements, TensorSpec

BLOCK_ELEMENTS = 64 * 1024
"""So much float64 twice stays in the second-level cache; with less, threads wait for each other between the steps."""
SCRATCH_ELEMENTS = 256 * 1024
"""The most that the block of all updates has together: with many of them, it has fewer columns."""
LEAST_ELEMENTS = 256
LEAST_TOGETHER = 8
"""Fewer columns than these numpy may add in another order."""


STATISTICS = frozenset({"running_mean", "running_var", "moving_mean", "moving_variance"})
"""Last parts of the names that PyTorch and Keras give to running statistics, which no gradient is followed for."""


def is_looked_at(spec: TensorSpec) -> bool:
    """Whether rules look at a tensor before the model is made, and something may be kept for it."""
    return spec.is_float and not spec.name.startswith(ALGORITHM)


def is_stepped(spec: TensorSpec) -> bool:
    """Whether server optimizers and algorithms step a tensor from the model before, or else take what the rule made.

    They do not step running statistics and the state of the sites' optimizers: averages of squares among them must not
    become negative.
    """
    last = spec.name.replace("/", ".").rpartition(".")[2]
    return is_looked_at(spec) and not spec.name.startswith(OPTIMIZER) and last not in STATISTICS


def state_name(slot: str, tensor: str) -> str:
    """Name the tensor of a state file that belongs to a tensor of the model."""
    return f"{slot}/{tensor}"


@dataclass(frozen=True, slots=True)
class Sources:
    """The open files that a model is made of.

    Attributes:
        updates: In the order of the collaborators' names.
        base: The global model that they started from; None: there is none, or nobody asks for it.
        state: What the version before has left; None: every element begins with zero.
        slots: Names of what is kept: first the rule's, then the server optimizer's.
        apart: Tensors that have a rule of their own.
    """

    updates: Sequence[ModelReader]
    base: TensorFile | None = None
    state: TensorFile | None = None
    slots: tuple[str, ...] = ()
    apart: frozenset[str] = frozenset()

    def told(self, name: str) -> Vector:
        """Return the number that each update has in a tensor of the algorithm's own, float64 [K].

        Raises:
            UpdateRefusedError: If there is no such tensor, or it is not a single number.
        """
        whole = f"{ALGORITHM}{name}"
        if all((spec.name, spec.size) != (whole, 1) for spec in self.updates[0].schema):
            raise UpdateRefusedError(
                f"the updates have no number '{whole}'", cure="start from a model that was made with this algorithm"
            )
        return np.array([float(update.flat(whole)[:1][0]) for update in self.updates])

    def release(self, parts: Sequence[Part]) -> None:
        """Take the pages of parts of the model that were read off this process's memory."""
        for file in self.updates if self.base is None else (*self.updates, self.base):
            file.release(parts)
        if self.state is not None:
            kept = set(self.state.names)
            named = [(state_name(slot, name), start, stop) for name, start, stop in parts for slot in self.slots]
            self.state.release([part for part in named if part[0] in kept])


class View:
    """The elements of a tensor in all sources, for one thread; opening a packed one again and again would cost much."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._name = ""
        self._flats: list[Elements] = []
        self._stacked = stacked_of(sources.updates)

    def rows(self, spec: TensorSpec, start: int, stop: int) -> list[Array]:
        """Give the same elements of each update, in the dtype that they have."""
        if self._name != spec.name:
            self._name, self._flats = spec.name, [file.flat(spec.name) for file in self._sources.updates]
        rows = [flat[start:stop] for flat in self._flats]
        if spec.dtype == "BOOL" and len(rows) > 1:
            # A peer's boolean may be any byte but 0: only the comparison makes it 0 or 1.
            return [row.view(np.uint8) != 0 for row in rows]
        return rows

    def together(self, spec: TensorSpec, start: int, stop: int) -> Array | None:
        """Give what `rows` gives as one array, [K, n], where all updates lie in one piece of memory; else None."""
        many = (stop - start) * len(self._sources.updates) > SCRATCH_ELEMENTS
        if self._stacked is None or spec.dtype == "BOOL" or many:
            return None
        return self._stacked.elements(spec.name, start, stop)

    def base(self, spec: TensorSpec, start: int, stop: int) -> Vector:
        """Give elements of the global model, as float64 of their own; zeros if nobody asks for it."""
        if self._sources.base is None:
            return np.zeros(stop - start)
        row = self._sources.base.flat(spec.name)[start:stop]
        return (row.view(np.uint8) != 0 if spec.dtype == "BOOL" else row).astype(np.float64)

    def as_it_was(self, portion: "Portion") -> Array:
        """Give elements of the global model as they are."""
        assert self._sources.base is not None  # noqa: S101 - who has such tensors has asked for it
        return self._sources.base.flat(portion.spec.name)[portion.start : portion.stop]

    def state(self, spec: TensorSpec, start: int, stop: int) -> Vector:
        """Give what is kept for these elements, float64 [S, n] of its own; zeros where nothing is kept."""
        kept = np.zeros((len(self._sources.slots), stop - start))
        if self._sources.state is not None and is_looked_at(spec):
            for row, slot in zip(kept, self._sources.slots, strict=True):
                row[:] = self._sources.state.flat(state_name(slot, spec.name))[start:stop]
        return kept


@dataclass(frozen=True, slots=True)
class Portion:
    """Elements of a tensor that are made at once."""

    spec: TensorSpec
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Combiner:
    """How one thread makes elements.

    Attributes:
        width: Most elements at once.
        combine: Gives float64 or, for a copy, the elements as they are; overwrites the state that it is given.
    """

    width: int
    combine: Callable[[View, Portion, Vector], Array]


def combiner_for(step: Linear | Blockwise, count: int, most_elements: int = BLOCK_ELEMENTS) -> Combiner:
    """Make the combiner of one thread.

    Args:
        step: What the rule said at last.
        count: How many updates there are.
        most_elements: Of a block; it changes no bit of the result.
    """
    if isinstance(step, Blockwise):
        return _reducing(step, count, most_elements)
    if count == 1 and step.factors[0] == 1.0 and not step.base:
        return Combiner(most_elements, lambda view, portion, _: view.rows(portion.spec, portion.start, portion.stop)[0])
    return _adding(step, most_elements)


def _adding(step: Linear, most_elements: int) -> Combiner:
    sums, products = np.empty(most_elements), np.empty(most_elements)

    def combine(view: View, portion: Portion, _: Vector) -> Array:
        total, product = sums[: portion.stop - portion.start], products[: portion.stop - portion.start]
        if not _add_together(view, portion, step.factors, total):
            rows = view.rows(portion.spec, portion.start, portion.stop)
            _multiply(rows[0], step.factors[0], total)
            for row, factor in zip(rows[1:], step.factors[1:], strict=True):
                _multiply(row, factor, product)
                np.add(total, product, out=total)
        if step.base:
            base = view.base(portion.spec, portion.start, portion.stop)
            np.add(total, np.multiply(base, step.base, out=base), out=total)
        return total

    return Combiner(most_elements, combine)


def _add_together(view: View, portion: Portion, factors: Vector, total: Vector) -> bool:
    """Add all updates with one call, in the same order and so to the same bits; False if they are not together."""
    if portion.stop - portion.start < LEAST_TOGETHER:
        return False
    found = view.together(portion.spec, portion.start, portion.stop)
    if found is None:
        return False
    rows = found.astype(np.float64)
    np.multiply(rows, factors[:, None], out=rows)
    np.add.reduce(rows, axis=0, out=total)
    return True


def _multiply(row: Array, factor: np.float64, out: Vector) -> None:
    np.copyto(out, row)  # and not one step of mixed types, for which numpy goes through a buffer
    np.multiply(out, factor, out=out)


def width_of(count: int, most_elements: int = BLOCK_ELEMENTS) -> int:
    """How many columns a block of so many updates has."""
    return max(LEAST_ELEMENTS, min(most_elements, SCRATCH_ELEMENTS // count))


def fill_rows(scratch: Vector, rows: Sequence[Array]) -> Vector:
    """Copy rows into scratch space, as float64 [K, n]."""
    size = rows[0].size
    blocks = scratch[: len(rows) * size].reshape(len(rows), size)
    for target, row in zip(blocks, rows, strict=True):
        target[:] = row
    return blocks


def _reducing(step: Blockwise, count: int, most_elements: int) -> Combiner:
    width = width_of(count, most_elements)
    scratch = np.empty(count * width)

    def combine(view: View, portion: Portion, state: Vector) -> Array:
        blocks = fill_rows(scratch, view.rows(portion.spec, portion.start, portion.stop))
        result = step.combine(Block(blocks, view.base(portion.spec, portion.start, portion.stop), state))
        check_vector(result, portion.stop - portion.start, "the rule")
        return result

    return Combiner(width, combine)


def keep_alike(rows: Sequence[Array], made: Vector, block: Array) -> None:
    """Give elements that all updates have alike their own bits back, where the rule means to.

    float64 in between loses the last bits: a weighted mean of one value is that value but for rounding, and whole
    numbers from 2**53 on are not float64 at all.

    Args:
        rows: The same elements of each update, of 8 bytes each.
        made: What the rule made of them.
        block: The same in the model's dtype; what is to be given back is put there.
    """
    first, bound = rows[0], 2 * len(rows) * np.finfo(np.float64).eps
    if any(row.dtype != block.dtype for row in rows):  # compressed: decoded as float64
        return
    alike = np.abs(made - first) <= bound * np.abs(first.astype(np.float64))
    for row in rows[1:]:
        alike &= row == first
    np.copyto(block, first, where=alike)


def check_vector(result: Vector, size: int, whose: str) -> None:
    """Refuse what is not float64 with so many elements.

    Raises:
        UpdateRefusedError: If it is not.
    """
    if result.shape != (size,) or result.dtype != np.float64:
        raise UpdateRefusedError(f"{whose} gave {result.dtype}{list(result.shape)} for {size} columns")
