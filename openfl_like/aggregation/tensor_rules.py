"""Rules for some tensors of a model: another one than for the rest, or to leave them as they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from openfl_like.aggregation.combining import Combiner, combiner_for
from openfl_like.aggregation.rules import BlockRule, LinearRule
from openfl_like.aggregation.steps import Blockwise, Linear
from openfl_like.errors import TensorError, UpdateRefusedError
from openfl_like.tensors.matching import matched
from openfl_like.tensors.named import Schema


@dataclass(frozen=True, slots=True)
class TensorChoice:
    """A rule for the tensors that a pattern matches.

    Attributes:
        match: The pattern; see `tensors.matching.matched`.
        rule: How their elements are combined; None: they stay at the sites, and the model keeps what it has.
    """

    match: str
    rule: BlockRule | LinearRule | None


@dataclass(frozen=True, slots=True)
class Stay:
    """The elements of a tensor are those of the model before, whatever updates say."""


Own = Stay | Linear | Blockwise
"""What is done with a tensor that has a rule of its own."""


def choices_for(schema: Schema, choices: Sequence[TensorChoice], steps: Sequence[Own]) -> dict[str, Own]:
    """Return what is done with each tensor that has a rule of its own.

    Raises:
        UpdateRefusedError: If a rule is for no tensor.
    """
    try:
        found = matched([spec.name for spec in schema], [choice.match for choice in choices])
    except TensorError as error:
        raise UpdateRefusedError(error.message, cure=error.cure) from error
    return {name: steps[place] for name, place in found.items()}


def combiners_for(own: Mapping[str, Own], count: int, most_elements: int) -> dict[str, Combiner]:
    """Make the combiners of one thread, one for each step.

    Args:
        own: What `choices_for` gave.
        count: How many updates there are.
        most_elements: Of a block.
    """
    made: dict[int, Combiner] = {}
    for step in own.values():
        if id(step) not in made:
            made[id(step)] = _combiner(step, count, most_elements)
    return {name: made[id(step)] for name, step in own.items()}


def _combiner(step: Own, count: int, most_elements: int) -> Combiner:
    if isinstance(step, Stay):
        return Combiner(most_elements, lambda view, portion, _: view.as_it_was(portion))
    return combiner_for(step, count, most_elements)
