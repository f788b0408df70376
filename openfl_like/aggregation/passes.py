"""A rule's look at all updates: what it sees is added up in one order, whoever sees it and when."""

import threading
from collections.abc import Callable

import numpy as np

from openfl_like.aggregation.combining import LEAST_ELEMENTS, SCRATCH_ELEMENTS, Sources, View, fill_rows, is_looked_at
from openfl_like.aggregation.spans import Executor, Spans
from openfl_like.aggregation.steps import Block, Blockwise, Linear, Pass, Step, Vector
from openfl_like.errors import UpdateRefusedError
from openfl_like.tensors.named import TensorSpec

# How sums are rounded depends on these two (and on the size of the scratch space): another value, other bits.
WIDEST_ELEMENTS = 8192
"""The most columns of a block, so that sums of products stay in the second-level cache with a few updates, too."""
MAPPED_ELEMENTS = 4 << 20
"""About how many elements of all updates together a thread has mapped before it lets the pages go."""
MOST_PASSES = 64
"""So often a rule may look at all updates before it says how they are combined; built-in ones need few."""


def looked_through(step: Step, look: Callable[[Pass], Vector]) -> Linear | Blockwise:
    """Have a rule look at all updates as often as it wants to.

    Args:
        step: Its first step.
        look: Has a pass see everything, and adds up what it gives.

    Raises:
        UpdateRefusedError: If it does not come to an end.
    """
    passes = 0
    while not isinstance(step, Linear | Blockwise):
        if passes == MOST_PASSES:
            raise UpdateRefusedError(f"the rule wants to look at all updates more than {MOST_PASSES} times")
        step, passes = step.end(look(step)), passes + 1
    return step


class _Total:
    """A sum in the order of the parts' numbers; parts that come too early wait."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._early: dict[int, Vector] = {}
        self._next = 0
        self._sum: Vector | None = None

    def add(self, index: int, part: Vector) -> None:
        with self._lock:
            self._early[index] = part
            while self._next in self._early:
                self._sum = _added(self._sum, self._early.pop(self._next))
                self._next += 1

    def value(self) -> Vector:
        assert self._sum is not None  # noqa: S101 - there is at least one part
        return self._sum


def run_pass(
    look: Pass, sources: Sources, executor: Executor, rule_slots: int, mapped_elements: int = MAPPED_ELEMENTS
) -> Vector:
    """Have a pass see all floating-point elements of the model, an algorithm's apart, and add up what it gives.

    How the model is cut depends on its tensors, the number of updates and ``mapped_elements`` alone.

    Args:
        look: The rule's.
        sources: What it may look at.
        executor: Who does the work.
        rule_slots: How many of the slots are the rule's.
        mapped_elements: Of all updates, in one stretch; how the model is cut depends on them.

    Raises:
        UpdateRefusedError: If what it gives for two blocks cannot be added up.
    """
    count = len(sources.updates)
    width = max(LEAST_ELEMENTS, min(WIDEST_ELEMENTS, SCRATCH_ELEMENTS // count))
    stretch = max(1, mapped_elements // count // width) * width
    stretches = [
        (spec, start, min(start + stretch, spec.size))
        for spec in sources.updates[0].schema
        if is_looked_at(spec) and spec.name not in sources.apart
        for start in range(0, spec.size, stretch)
    ]
    if not stretches:  # a model of whole numbers: what a pass gives for nothing is the sum of nothing
        return look.see(Block(np.zeros((count, 0)), np.zeros(0), np.zeros((rule_slots, 0))))
    spans, total = Spans(len(stretches)), _Total()

    def work() -> None:
        looking = _Looking(look, sources, width, rule_slots)
        with spans.stopping_others(), np.errstate(over="ignore", invalid="ignore"):
            for index in spans:
                total.add(index, looking.at(*stretches[index]))

    executor(work, len(stretches))
    return total.value()


class _Looking:
    """What one thread needs to look."""

    def __init__(self, look: Pass, sources: Sources, width: int, rule_slots: int) -> None:
        self._look, self._sources, self._width, self._rule_slots = look, sources, width, rule_slots
        self._view = View(sources)
        self._scratch = np.empty(len(sources.updates) * width)

    def at(self, spec: TensorSpec, first: int, last: int) -> Vector:
        found: Vector | None = None
        for start in range(first, last, self._width):
            stop = min(start + self._width, last)
            updates = fill_rows(self._scratch, self._view.rows(spec, start, stop))
            state = self._view.state(spec, start, stop)[: self._rule_slots]
            found = _added(found, self._look.see(Block(updates, self._view.base(spec, start, stop), state)))
        self._sources.release([(spec.name, first, last)])
        assert found is not None  # noqa: S101 - no stretch is empty
        return found


def _added(total: Vector | None, part: Vector) -> Vector:
    if part.dtype != np.float64 or (total is not None and total.shape != part.shape):
        shape = None if total is None else list(total.shape)
        raise UpdateRefusedError(f"the rule's pass gave {part.dtype}{list(part.shape)}, and {shape} for other blocks")
    return part if total is None else np.add(total, part)
