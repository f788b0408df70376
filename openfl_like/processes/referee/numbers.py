"""Rules, validators, server optimizers and algorithms that a referee runs: it is shown blocks, and answers blocks."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from openfl_like.aggregation.algorithms import Told
from openfl_like.aggregation.gram import Gram
from openfl_like.aggregation.guarded import check_verdicts
from openfl_like.aggregation.steps import Block, Blockwise, Contributors, Linear, Step, Vector
from openfl_like.aggregation.validation.compared import Compared, Looks
from openfl_like.federation.failure import bounded, part_failed
from openfl_like.federation.task import Update
from openfl_like.federation.validation.verdict import UpdateVerdict
from openfl_like.processes.referee import values
from openfl_like.processes.referee.client import Given
from openfl_like.processes.referee.readers import PULLED_ELEMENTS
from openfl_like.processes.referee.remote import WIDTH, RemotePart
from openfl_like.tensors.encoded import ModelReader
from openfl_like.tensors.named import Array

MOST_TOTAL_BYTES = 256 << 20
"""Of what a pass gives for a block."""


class _AnswersLate:
    """What is asked on a thread only: nothing else is done until it answers."""

    __slots__ = ()
    answers_late: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class RemoteLinearRule(_AnswersLate):
    """See `LinearRule`."""

    part: RemotePart

    def factors(self, weights: Vector) -> Vector:
        """See `LinearRule`."""
        return self.part.numbers("factors", None, [weights], [weights.shape])[0]


@dataclass(frozen=True, slots=True)
class RemoteBlockRule(_AnswersLate):
    """See `BlockRule`."""

    part: RemotePart

    def reduce(self, blocks: Vector, weights: Vector) -> Vector:
        """See `BlockRule`."""
        return self.part.numbers("reduce", None, [blocks, weights], [blocks.shape[1:]])[0]


@dataclass(frozen=True, slots=True)
class RemoteGramRule(_AnswersLate):
    """See `GramRule`."""

    part: RemotePart

    def gram_factors(self, gram: Gram, weights: Vector) -> Vector:
        """See `GramRule`."""
        shown = [gram.differences, gram.with_base, weights]
        return self.part.numbers("gram_factors", [gram.base, list(gram.names)], shown, [weights.shape])[0]


@dataclass(frozen=True, slots=True)
class RemotePassRule(_AnswersLate):
    """See `PassRule`.

    Args:
        part: At the referee.
        slots: Names of what it keeps.
    """

    part: RemotePart
    slots: tuple[str, ...]

    def begin(self, weights: Vector, round_number: int) -> Step:
        """See `PassRule`."""
        given = self.part.ask("begin", round_number, [weights], [len(weights)])
        return _step(self.part, given, len(weights))


def _step(part: RemotePart, given: Given, count: int) -> Step:
    kind, value = part.read(given, lambda told: (str(told[0]), told[1]))
    if kind == "linear" and isinstance(value, float):
        part.check(given.arrays, [(count,)], ())
        if not np.isfinite(value):
            raise part_failed(part.name, "answered a factor of the base that is not finite")
        return Linear(given.arrays[0], value)
    if type(value) is not int or kind not in {"pass", "blockwise"}:
        raise part_failed(part.name, "answered what is no step of a rule")
    step = replace(part, to=("step", value))
    return Blockwise(_Combining(step)) if kind == "blockwise" else RemotePass(step, count)


@dataclass(frozen=True, slots=True)
class _Combining:
    part: RemotePart

    def __call__(self, block: Block) -> Vector:
        shapes = [block.base.shape, block.state.shape]
        made, kept = self.part.numbers("combine", None, [block.updates, block.base, block.state], shapes)
        block.state[:] = kept
        return made


@dataclass(frozen=True, slots=True)
class RemotePass:
    """See `Pass`.

    Args:
        part: The step at the referee.
        count: How many updates there are.
    """

    part: RemotePart
    count: int

    def see(self, block: Block) -> Vector:
        """See `Pass`."""
        most = min(4 * (self.count + 1) ** 2 + 4 * block.base.size, MOST_TOTAL_BYTES // WIDTH)
        given = self.part.ask("see", None, [block.updates, block.base, block.state], [most])
        if len(given.arrays) != 1 or given.arrays[0].dtype != np.float64:
            raise part_failed(self.part.name, "gave no float64 array for a block")
        return given.arrays[0]

    def end(self, total: Vector) -> Step:
        """See `Pass`."""
        return _step(self.part, self.part.ask("end", None, [total], [self.count]), self.count)


@dataclass(frozen=True, slots=True)
class RemoteServerOptimizer(_AnswersLate):
    """See `ServerOptimizer`.

    Args:
        part: At the referee.
        slots: Names of what it keeps.
    """

    part: RemotePart
    slots: tuple[str, ...]

    def step(self, base: Vector, target: Vector, state: Vector, round_number: int) -> Vector:
        """See `ServerOptimizer`."""
        shown = [base, target, state]
        made, kept = self.part.numbers("optimizer_step", round_number, shown, [base.shape, state.shape])
        state[:] = kept
        return made


@dataclass(frozen=True, slots=True)
class RemoteServerAlgorithm(_AnswersLate):
    """See `ServerAlgorithm`.

    Args:
        part: At the referee.
        slots: Names of what it keeps.
        averages: Whether it is made for a weighted average.
        sums: Whether what sites send for it is added up.
    """

    part: RemotePart
    slots: tuple[str, ...]
    averages: bool
    sums: bool = False

    def weigh(self, shares: Vector, told: Told, given: Contributors) -> Vector:
        """See `ServerAlgorithm`."""

        def pull(what: Sequence[Any]) -> Array:
            kind, name = what
            if kind != "told" or not isinstance(name, str):
                raise ValueError(f"it asks for {kind}")
            return told(name)

        shown = [shares, given.weights]
        return self.part.numbers("weigh", values.contributors_to(given), shown, [shares.shape], pull)[0]

    def step(self, base: Vector, target: Vector, state: Vector, given: Contributors) -> Vector:
        """See `ServerAlgorithm`."""
        shown = [base, target, state, given.weights]
        shapes = [base.shape, state.shape]
        made, kept = self.part.numbers("algorithm_step", values.contributors_to(given), shown, shapes)
        state[:] = kept
        return made

    def own(self, base: Vector, combined: Vector, given: Contributors) -> Vector:
        """See `ServerAlgorithm`."""
        shown = [base, combined, given.weights]
        return self.part.numbers("own", values.contributors_to(given), shown, [base.shape])[0]


@dataclass(frozen=True, slots=True)
class RemoteValidator(_AnswersLate):
    """See `Validator`."""

    part: RemotePart

    def check(self, update: ModelReader, base: ModelReader | None, facts: Update) -> str:
        """Have it looked at; the referee asks for what it wants to see of both models."""
        shown = {"update": update, **({} if base is None else {"base": base})}
        sizes = {source: {spec.name: spec.size for spec in model.schema} for source, model in shown.items()}

        def pull(what: Sequence[Any]) -> Array:
            source, name, start, stop = what
            most = sizes[source][name]
            if type(start) is not int or type(stop) is not int or not 0 <= start <= stop <= most:
                raise ValueError(f"it asks for elements that '{name}' does not have")
            if stop - start > PULLED_ELEMENTS:
                raise ValueError(f"it asks for {stop - start:,} elements at once")
            return np.asarray(shown[source].flat(name)[start:stop])

        value = {
            "update": values.schema_to(update.schema),
            "base": None if base is None else values.schema_to(base.schema),
            "facts": values.update_to(facts),
        }
        given = self.part.ask("check", value, (), [PULLED_ELEMENTS], pull)
        return self.part.read(given, _text)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"it is a {type(value).__name__} where a text is wanted")
    return bounded(" ".join(value[: values.MOST_TEXT].split()), values.MOST_TEXT)


@dataclass(frozen=True, slots=True)
class RemoteComparingValidator(_AnswersLate):
    """See `ComparingValidator`.

    Args:
        part: At the referee.
        looks: What it needs to know.
        template: What it is called in its verdicts.
    """

    part: RemotePart
    looks: Looks
    template: str

    def judge(self, compared: Compared) -> Iterable[UpdateVerdict]:
        """See `ComparingValidator`; at most one verdict on each update."""
        shown = [values.update_to(one) for one in compared.updates]
        given = self.part.ask("judge", shown, [compared.norms, compared.products], [0])
        verdicts = self.part.read(given, values.verdicts_from)
        check_verdicts(self.part.name, verdicts, compared)
        return [replace(one, validator=self.template, metric=one.metric[: values.MOST_TEXT]) for one in verdicts]
