"""Rules, server optimizers, algorithms and comparing validators of a workspace: what they answer is looked at.

The same is asked of them, in the same words, in the process of who asks and in a referee. See `federation.parts.guards`
for the parts that compute nothing.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from openfl_like.aggregation.algorithms import Told
from openfl_like.aggregation.gram import Gram
from openfl_like.aggregation.steps import Block, Blockwise, Contributors, Linear, Step, Vector
from openfl_like.aggregation.validation.compared import Compared, Looks
from openfl_like.errors import PlanError
from openfl_like.federation.failure import part_failed
from openfl_like.federation.parts.guards import RAISERS, called, shown
from openfl_like.federation.validation.verdict import Consequence, UpdateVerdict
from openfl_like.tensors.finite import all_finite

MOST_SLOTS = 8
_WAYS = ("factors", "begin", "gram_factors", "reduce")
"""Of a rule, what it is asked: the first that it has."""


def check_numbers(
    part: str, found: Sequence[object], shapes: Sequence[tuple[int, ...]], given: Sequence[Vector] = ()
) -> None:
    """Look at the arrays that a part has answered.

    Args:
        part: Its name in messages.
        found: What it has answered.
        shapes: Of the float64 arrays that are wanted.
        given: What it was shown; if one of these is not finite, what is answered need not be. A part may overwrite
            what it is shown: then it gets the benefit of the doubt, and whoever stores the numbers refuses them.

    Raises:
        FailedPartError: If they are others, or are not finite.
    """
    same = len(found) == len(shapes)
    for array, shape in zip(found, shapes, strict=False):
        same = same and isinstance(array, np.ndarray) and array.shape == shape and array.dtype == np.float64
    if not same:
        told = ", ".join(_described(array) for array in found) or "nothing"
        raise part_failed(part, f"answered {told} instead of {', '.join(f'float64{list(one)}' for one in shapes)}")
    numbers: list[Any] = list(found)
    if not all(map(all_finite, numbers)) and all(map(all_finite, given)):
        raise part_failed(part, "answered a value that is not finite")


def _described(found: object) -> str:
    return f"{found.dtype}{list(found.shape)}" if isinstance(found, np.ndarray) else shown(found)


def ways_of(rule: object) -> list[str]:
    """Return how a rule can be asked, the quickest way first."""
    return [way for way in _WAYS if hasattr(rule, way)]


def slots_of(found: Iterable[object]) -> tuple[str, ...]:
    """Return the names of what a part keeps between rounds.

    Raises:
        ValueError: If these are no names, or too many.
    """
    slots = tuple(found)
    if not all(isinstance(slot, str) and slot.isidentifier() and slot.isascii() and len(slot) <= 64 for slot in slots):
        raise ValueError("the name of a slot is an identifier")
    if len(slots) > MOST_SLOTS or len({*slots}) != len(slots):
        raise ValueError(f"it keeps {len(slots)} slots; {MOST_SLOTS} are the most, each once")
    return tuple(map(str, slots))


def guarded_numbers(kind: str, name: str, part: Any) -> object:  # noqa: ANN401 (of the workspace)
    """Return a part whose answers are looked at; as it is if nothing here is of its kind.

    Args:
        kind: As in the registry.
        name: The part's, in messages.
        part: What has the members of its kind.

    Raises:
        PlanError: If what it says of itself cannot be.
        FailedPartError: If it raises when it is asked.
    """
    make = _GUARDS.get(kind)
    if make is None or (kind == "validator" and not hasattr(part, "looks")):
        return part
    try:
        return called(name, lambda: make(name, part), passed=(*RAISERS, ValueError, TypeError))
    except (ValueError, TypeError) as mistake:
        raise PlanError(f"{name} is not what one must be: {mistake}", cure="see docs/workspace-parts.md") from mistake


class _MayAnswerLate:
    """A part that is asked on a thread only, if it says so."""

    __slots__ = ()

    @property
    def answers_late(self) -> bool:
        """Whether it is asked on a thread only."""
        return getattr(getattr(self, "inner", None), "answers_late", False) is True


@dataclass(frozen=True, slots=True)
class GuardedLinearRule(_MayAnswerLate):
    """See `LinearRule`."""

    name: str
    inner: Any

    def factors(self, weights: Vector) -> Vector:
        """See `LinearRule`."""
        found: Vector = called(self.name, lambda: self.inner.factors(weights))
        check_numbers(self.name, [found], [weights.shape], [weights])
        return found


@dataclass(frozen=True, slots=True)
class GuardedBlockRule(_MayAnswerLate):
    """See `BlockRule`."""

    name: str
    inner: Any

    def reduce(self, blocks: Vector, weights: Vector) -> Vector:
        """See `BlockRule`."""
        made: Vector = called(self.name, lambda: self.inner.reduce(blocks, weights))
        check_numbers(self.name, [made], [blocks.shape[1:]], [blocks, weights])
        return made


@dataclass(frozen=True, slots=True)
class GuardedGramRule(_MayAnswerLate):
    """See `GramRule`."""

    name: str
    inner: Any

    def gram_factors(self, gram: Gram, weights: Vector) -> Vector:
        """See `GramRule`."""
        found: Vector = called(self.name, lambda: self.inner.gram_factors(gram, weights))
        check_numbers(self.name, [found], [weights.shape], [gram.differences, gram.with_base, weights])
        return found


@dataclass(frozen=True, slots=True)
class GuardedPassRule(_MayAnswerLate):
    """See `PassRule`."""

    name: str
    inner: Any
    slots: tuple[str, ...]

    def begin(self, weights: Vector, round_number: int) -> Step:
        """See `PassRule`."""
        return _guarded_step(
            self.name, called(self.name, lambda: self.inner.begin(weights, round_number)), len(weights)
        )


def _guarded_step(part: str, step: object, count: int) -> Step:
    if isinstance(step, Linear):
        check_numbers(part, [step.factors], [(count,)])
        base: object = step.base
        if not isinstance(base, int | float) or not np.isfinite(base):
            raise part_failed(part, f"answered {shown(base)} as the factor of the base")
        return step
    if isinstance(step, Blockwise):
        return Blockwise(_GuardedCombining(part, step.combine))
    if not (hasattr(step, "see") and hasattr(step, "end")):
        raise part_failed(part, f"answered {shown(step)}, which is not a step of a rule")
    return GuardedPass(part, step, count)


@dataclass(frozen=True, slots=True)
class _GuardedCombining:
    part: str
    combine: Callable[[Block], Vector]

    def __call__(self, block: Block) -> Vector:
        made = called(self.part, lambda: self.combine(block))
        given = [block.updates, block.base]  # what was kept before is finite: else it would not have been kept
        check_numbers(self.part, [made, block.state], [block.base.shape, block.state.shape], given)
        return made


@dataclass(frozen=True, slots=True)
class GuardedPass:
    """See `Pass`."""

    name: str
    inner: Any
    count: int

    def see(self, block: Block) -> Vector:
        """See `Pass`."""
        found: object = called(self.name, lambda: self.inner.see(block))
        if not isinstance(found, np.ndarray) or found.dtype != np.float64:
            raise part_failed(self.name, f"answered {_described(found)} instead of float64 for a block that it saw")
        return found

    def end(self, total: Vector) -> Step:
        """See `Pass`."""
        return _guarded_step(self.name, called(self.name, lambda: self.inner.end(total)), self.count)


@dataclass(frozen=True, slots=True)
class GuardedServerOptimizer(_MayAnswerLate):
    """See `ServerOptimizer`."""

    name: str
    inner: Any
    slots: tuple[str, ...]

    def step(self, base: Vector, target: Vector, state: Vector, round_number: int) -> Vector:
        """See `ServerOptimizer`."""
        made: Vector = called(self.name, lambda: self.inner.step(base, target, state, round_number))
        check_numbers(self.name, [made, state], [base.shape, state.shape], [base, target])
        return made


@dataclass(frozen=True, slots=True)
class GuardedServerAlgorithm(_MayAnswerLate):
    """See `ServerAlgorithm`."""

    name: str
    inner: Any
    slots: tuple[str, ...]
    averages: bool
    sums: bool

    def weigh(self, shares: Vector, told: Told, given: Contributors) -> Vector:
        """See `ServerAlgorithm`."""
        found: Vector = called(self.name, lambda: self.inner.weigh(shares, told, given))
        check_numbers(self.name, [found], [given.weights.shape], [shares, given.weights])
        return found

    def step(self, base: Vector, target: Vector, state: Vector, given: Contributors) -> Vector:
        """See `ServerAlgorithm`."""
        made: Vector = called(self.name, lambda: self.inner.step(base, target, state, given))
        check_numbers(self.name, [made, state], [base.shape, state.shape], [base, target])
        return made

    def own(self, base: Vector, combined: Vector, given: Contributors) -> Vector:
        """See `ServerAlgorithm`."""
        made: Vector = called(self.name, lambda: self.inner.own(base, combined, given))
        check_numbers(self.name, [made], [base.shape], [base, combined])
        return made


@dataclass(frozen=True, slots=True)
class GuardedComparingValidator(_MayAnswerLate):
    """See `ComparingValidator`."""

    name: str
    inner: Any
    looks: Looks

    def judge(self, compared: Compared) -> Iterable[UpdateVerdict]:
        """See `ComparingValidator`; at most one verdict on each update."""
        given = called(self.name, lambda: self.inner.judge(compared))
        if not isinstance(given, Iterable):
            raise part_failed(self.name, f"answered {shown(given)}, which are not verdicts")
        verdicts = called(self.name, lambda: tuple(given))
        check_verdicts(self.name, verdicts, compared)
        return verdicts


def check_verdicts(part: str, verdicts: Iterable[object], compared: Compared) -> None:
    """Look at the verdicts of a validator that compares updates; raises FailedPartError if they cannot be."""
    judged = set[str]()
    for verdict in verdicts:
        if not isinstance(verdict, UpdateVerdict):
            raise part_failed(part, f"answered {shown(verdict)}, which is not a verdict")
        if verdict.collaborator in judged or all(verdict.collaborator != one.collaborator for one in compared.updates):
            raise part_failed(part, "judged an update twice, or one that it was not shown")
        if not _sound(verdict):
            raise part_failed(part, "gave a bound that is not finite, or less than 0")
        judged.add(verdict.collaborator)


def _sound(verdict: UpdateVerdict) -> bool:
    known = verdict.observed is None or np.isfinite(verdict.observed)
    least = 0.0 if verdict.action is not Consequence.DROP else -np.inf
    return bool(known and np.isfinite(verdict.bound) and verdict.bound >= least)


def _rule(name: str, part: Any) -> object:  # noqa: ANN401 (of the workspace)
    match ways_of(part)[0]:
        case "factors":
            return GuardedLinearRule(name, part)
        case "begin":
            return GuardedPassRule(name, part, slots_of(part.slots))
        case "gram_factors":
            return GuardedGramRule(name, part)
        case _:
            return GuardedBlockRule(name, part)


_GUARDS: dict[str, Callable[[str, Any], object]] = {
    "aggregation": _rule,
    "server_optimizer": lambda name, part: GuardedServerOptimizer(name, part, slots_of(part.slots)),
    "server_algorithm": lambda name, part: GuardedServerAlgorithm(
        name, part, slots_of(part.slots), part.averages is True, getattr(part, "sums", False) is True
    ),
    "validator": lambda name, part: GuardedComparingValidator(name, part, Looks(part.looks)),
}
