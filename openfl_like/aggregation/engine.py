"""Combining updates into the next global model, block by block."""

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from openfl_like.aggregation.algorithms import ServerAlgorithm
from openfl_like.aggregation.clipped import counted
from openfl_like.aggregation.combining import (
    BLOCK_ELEMENTS,
    Combiner,
    Portion,
    Sources,
    View,
    check_vector,
    combiner_for,
    is_looked_at,
    is_stepped,
    keep_alike,
    state_name,
)
from openfl_like.aggregation.gram import GramPass, mixed
from openfl_like.aggregation.passes import MAPPED_ELEMENTS, looked_through, run_pass
from openfl_like.aggregation.rules import AggregationRule, BlockRule, GramRule, LinearRule, PassRule
from openfl_like.aggregation.server_optimizers import ServerOptimizer
from openfl_like.aggregation.spans import Executor, Spans, inline
from openfl_like.aggregation.steps import Blockwise, Contributors, Linear, Step, Vector
from openfl_like.aggregation.storing import store
from openfl_like.aggregation.tensor_rules import Own, Stay, TensorChoice, choices_for, combiners_for
from openfl_like.errors import UpdateRefusedError
from openfl_like.tensors.chunked import STRETCH_BYTES, ChunkedWriter, Piece
from openfl_like.tensors.container import TensorFile, TensorWriter
from openfl_like.tensors.encoded import ModelReader, Sent, open_update
from openfl_like.tensors.finite import all_finite
from openfl_like.tensors.manifest import Manifest
from openfl_like.tensors.memory import TensorMemory
from openfl_like.tensors.named import ALGORITHM, Array, Schema, TensorSpec, compare

MAPPED_BYTES = 16 << 20
"""About how much of all updates together a thread has mapped before it lets the pages go."""
WIDEST = 8
"""Bytes of the elements that float64 in between may change: those of narrower ones come back as they were."""
_NOTHING = np.zeros((0, 0))


@dataclass(frozen=True, slots=True)
class UpdateFile:
    """An update that counts.

    Attributes:
        collaborator: Whose it is; contributions are combined in the order of these names.
        content: Its file, or what would be in it.
        weight: Its weight relative to the others, usually its number of samples.
        sent: How the file is encoded; None: it is a model file.
        factor: What its difference from the model that it started from is multiplied by.
        base: That model, if it is older than the global one: then the difference counts from the global one on.
    """

    collaborator: str
    content: Path | TensorMemory
    weight: float
    sent: Sent | None = None
    factor: float = 1.0
    base: Path | None = None


@dataclass(frozen=True, slots=True)
class Recipe:
    """How updates become a model: the rule combines them, the server optimizer or an algorithm goes that way.

    Attributes:
        rule: How they are combined.
        optimizer: How far the model goes; None: the whole way.
        algorithm: What is done with what sites send beside the model; None: it is combined like the model.
        choices: Rules for some tensors only.
        begin: Gives the rule's first step, whatever kind of rule it is.
        rule_slots: Names of what the rule keeps between rounds, as they are in the state file.
        slots: Names of all that is kept between rounds: first the rule's.
        needs_base: Whether the model that the updates started from is looked at.
    """

    rule: AggregationRule
    optimizer: ServerOptimizer | None = None
    algorithm: ServerAlgorithm | None = None
    choices: tuple[TensorChoice, ...] = ()
    begin: Callable[[Contributors], Step] = field(init=False, repr=False, compare=False)
    rule_slots: tuple[str, ...] = field(init=False, repr=False, compare=False)
    slots: tuple[str, ...] = field(init=False, repr=False, compare=False)
    needs_base: bool = field(init=False, repr=False, compare=False)

    @property
    def steps(self) -> bool:
        """Whether what the rule made is not all: somebody steps from the model before towards it."""
        return self.optimizer is not None or self.algorithm is not None

    def own(self, schema: Schema, given: Contributors) -> dict[str, Own]:
        """Return what is done with each tensor that has a rule of its own; raises as `aggregate_files` does."""
        steps = [Stay() if each.rule is None else _made_at_once(each.rule, given) for each in self.choices]
        found = choices_for(schema, self.choices, steps)
        if getattr(self.algorithm, "sums", False):
            total = Linear(np.ones(len(given.names)))
            found |= {spec.name: total for spec in schema if spec.is_float and spec.name.startswith(ALGORITHM)}
        return found

    def __post_init__(self) -> None:
        """Find out once what kind of rule it is: asking a value for its protocol costs more than a small round."""
        rule_slots = tuple(f"rule.{slot}" for slot in self.rule.slots) if isinstance(self.rule, PassRule) else ()
        kept = [f"server_optimizer.{slot}" for slot in self.optimizer.slots] if self.optimizer is not None else []
        kept += [f"algorithm.{slot}" for slot in self.algorithm.slots] if self.algorithm is not None else []
        derived = {
            "begin": _first_step(self.rule),
            "rule_slots": rule_slots,
            "slots": (*rule_slots, *kept),
            "needs_base": self.steps or bool(self.choices) or isinstance(self.rule, GramRule | PassRule),
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)


@dataclass(frozen=True, slots=True)
class Start:
    """What a round began with.

    Attributes:
        round: Its number, from 1.
        model: File of the global model that the updates started from.
        state: File of the state that belongs to it; None: nothing was kept, and every element begins with zero.
        eligible: From how many collaborators those who take part were chosen; 0: nobody asks.
    """

    round: int = 1
    model: Path | None = None
    state: Path | None = None
    eligible: int = 0


@dataclass(frozen=True, slots=True)
class Output:
    """Where a round's files will be.

    Attributes:
        model: The new model.
        state: What is kept for the next round; it is written if anything is.
        sync: False skips fsync.
        recyclable: A file that may be overwritten instead of making a new one for the model.
        recyclable_state: The same for the state.
    """

    model: Path
    state: Path | None = None
    sync: bool = True
    recyclable: Path | None = None
    recyclable_state: Path | None = None


@dataclass(frozen=True, slots=True)
class Combined:
    """The files that were made: the model, and the state if any is kept."""

    model: Manifest
    state: Manifest | None = None


@dataclass(frozen=True, slots=True)
class BlockSizes:
    """How much is looked at at once; blocks and spans of other sizes change no bit.

    Attributes:
        block_elements: Of each update, in a block.
        mapped_bytes: Of all updates, in a span.
        pass_elements: Of all updates, in a stretch of a pass; here the order of sums depends on it.
    """

    block_elements: int = BLOCK_ELEMENTS
    mapped_bytes: int = MAPPED_BYTES
    pass_elements: int = MAPPED_ELEMENTS


USUAL_SIZES = BlockSizes()


def aggregate_files(
    recipe: Recipe,
    contributions: Sequence[UpdateFile],
    out: Output,
    *,
    start: Start = Start(),
    executor: Executor = inline,
    sizes: BlockSizes = USUAL_SIZES,
) -> Combined:
    """Combine model files into a new one.

    The updates are read in the order of the collaborators' names, in float64, and cast once at the end; integers are
    rounded half to even, booleans are true from 0.5 on. An element that all updates have alike, and that the rule gives
    back, keeps its bits. Memory is some MiB per thread, however many and large updates
    are, and so is what is mapped of them; compressed ones are decoded as they are read. A single contribution that a
    rule gives back unchanged is copied bit for bit.

    Args:
        recipe: Rule and server optimizer.
        contributions: At least one; their order does not matter.
        out: Where the new files will be.
        start: What the round began with.
        executor: Who does the work; the result is the same bit for bit.
        sizes: How much is looked at at once.

    Raises:
        UpdateRefusedError: If there is nothing to combine, names or weights are not usable, the tensors differ, the
            rule has too few updates, or the result is not finite.
        TensorError: If a file is damaged.
    """
    ordered = sorted(contributions, key=lambda item: item.collaborator)
    contributors = contributors_of(ordered, start)
    with ExitStack() as stack:
        files = [stack.enter_context(closing(open_update(item.content, item.sent))) for item in ordered]
        _check_schemas(ordered, files)
        own = recipe.own(files[0].schema, contributors)
        factors, bases = [item.factor for item in ordered], [item.base for item in ordered]
        files = counted(files, factors, bases, start.model, stack)
        sources = _sources(recipe, files, start, stack, frozenset(own))
        step = looked_through(
            recipe.begin(contributors),
            lambda look: run_pass(look, sources, executor, len(recipe.rule_slots), sizes.pass_elements),
        )
        check_factors(step, len(files))
        weighed = step
        if recipe.algorithm is not None and recipe.algorithm.averages and isinstance(step, Linear):
            weighed = mixed(recipe.algorithm.weigh(step.factors, sources.told, contributors))
        return _write(Making(recipe, weighed, sources, contributors, sizes, step, own), out, executor)


def _sources(
    recipe: Recipe, files: Sequence[ModelReader], start: Start, stack: ExitStack, apart: frozenset[str]
) -> Sources:
    if not recipe.needs_base:
        return Sources(files)
    if start.model is None:
        raise UpdateRefusedError("the global model that the updates were trained from is missing")
    base = stack.enter_context(TensorFile(start.model))
    difference = compare(base.schema, files[0].schema)
    if difference:
        raise UpdateRefusedError(f"the updates do not fit the global model: {difference}")
    state = stack.enter_context(TensorFile(start.state)) if start.state is not None and recipe.slots else None
    if state is not None:
        difference = compare(_state_schema(base.schema, recipe.slots), state.schema)
        if difference:
            raise UpdateRefusedError(f"the state of the version before is not this plan's: {difference}")
    return Sources(files, base, state, recipe.slots, apart)


def _state_schema(schema: Schema, slots: Sequence[str]) -> Schema:
    """Describe the state that belongs to a model: float64, so that nothing is lost when it is written."""
    kept = (
        TensorSpec(state_name(slot, spec.name), "F64", spec.shape)
        for slot in slots
        for spec in schema
        if is_looked_at(spec)
    )
    return tuple(sorted(kept, key=lambda spec: spec.name))


def _first_step(rule: AggregationRule) -> Callable[[Contributors], Step]:
    """Say how a rule is asked for its first step; one that takes blocks is tried with a small one before."""
    begin = _begin_of(rule)
    return _after_trial(rule, begin) if isinstance(rule, BlockRule) else begin


def _made_at_once(rule: BlockRule | LinearRule, given: Contributors) -> Linear | Blockwise:
    step = _first_step(rule)(given)
    if not isinstance(step, Linear | Blockwise):
        raise UpdateRefusedError("a rule for some tensors has to see whole updates")
    check_factors(step, len(given.names))
    return step


def _begin_of(rule: AggregationRule) -> Callable[[Contributors], Step]:
    if isinstance(rule, LinearRule):
        return lambda given: Linear(rule.factors(given.weights))
    if isinstance(rule, PassRule):
        return lambda given: rule.begin(given.weights, given.round)
    if isinstance(rule, GramRule):
        return lambda given: GramPass(lambda gram: mixed(rule.gram_factors(gram, given.weights)), given.names)
    return lambda given: _blockwise(rule, given.weights)


def _blockwise(rule: BlockRule, weights: Vector) -> Step:
    if len(weights) == 1:
        return Linear(np.ones(1))
    return Blockwise(lambda block: rule.reduce(block.updates, weights))


def _after_trial(rule: BlockRule, begin: Callable[[Contributors], Step]) -> Callable[[Contributors], Step]:
    """Have too few updates refused before any file is made."""

    def tried(given: Contributors) -> Step:
        check_vector(rule.reduce(np.zeros((len(given.weights), 1)), given.weights.copy()), 1, "the rule")
        return begin(given)

    return tried


def check_factors(step: Linear | Blockwise, count: int) -> None:
    """Refuse factors that are not one float64 for each of so many updates; raises UpdateRefusedError."""
    if isinstance(step, Linear) and (step.factors.shape != (count,) or step.factors.dtype != np.float64):
        found = f"{step.factors.dtype}{list(step.factors.shape)}"
        raise UpdateRefusedError(f"the rule gave factors {found} for {count} updates")


class StateWriter:
    """Writes what is kept, from several threads."""

    def __init__(self, writer: TensorWriter, slots: Sequence[str]) -> None:
        self._writer, self._slots = writer, slots
        self._lock = threading.Lock()

    def write(self, portion: Portion, state: Vector) -> None:
        """Write what is kept for a part of a tensor, a row for each slot."""
        for slot, row in zip(self._slots, state, strict=True):
            if not all_finite(row):
                raise UpdateRefusedError(f"the state '{slot}' of tensor '{portion.spec.name}' is not finite")
        with self._lock:
            for slot, row in zip(self._slots, state, strict=True):
                self._writer.write(state_name(slot, portion.spec.name), portion.start, row)


@dataclass(frozen=True, slots=True)
class Making:
    """A model that is being made.

    Attributes:
        recipe: How.
        step: What its rule said at last.
        sources: What it is made of.
        contributors: Whose updates these are.
        sizes: How much is looked at at once.
        unweighed: What its rule said, if an algorithm has changed the factors since: tensors that nobody steps are made
            so. None: it is the same.
        own: What is done with tensors that have a rule of their own.
    """

    recipe: Recipe
    step: Linear | Blockwise
    sources: Sources
    contributors: Contributors
    sizes: BlockSizes
    unweighed: Linear | Blockwise | None = None
    own: Mapping[str, Own] = field(default_factory=dict)

    @property
    def schema(self) -> Schema:
        """The tensors of the model."""
        return self.sources.updates[0].schema


def _write(making: Making, out: Output, executor: Executor) -> Combined:
    count = len(making.sources.updates)
    span_bytes = min(STRETCH_BYTES, making.sizes.mapped_bytes // count)
    state: TensorWriter | None = None
    with ExitStack() as writing:
        if out.state is not None and making.recipe.slots:
            schema = _state_schema(making.schema, making.recipe.slots)
            state = TensorWriter(out.state, schema, sync=out.sync, recyclable=out.recyclable_state)
            writing.enter_context(state)
        keeper = None if state is None else StateWriter(state, making.recipe.slots)
        writer = ChunkedWriter(
            out.model, making.schema, span_bytes=span_bytes, sync=out.sync, recyclable=out.recyclable
        )
        with writer:
            spans = Spans(writer.count)
            executor(lambda: SpanWorker(making, keeper).work(writer, spans), writer.count)
    return Combined(writer.manifest(), None if state is None else state.manifest())


@dataclass(slots=True)
class SpanWorker:
    """One thread that makes spans of the model.

    Args:
        making: What is made.
        keeper: Takes what is to be kept.
    """

    making: Making
    keeper: StateWriter | None
    view: View = field(init=False)
    combiner: Combiner = field(init=False)
    averaging: Combiner = field(init=False)
    own: dict[str, Combiner] = field(init=False)
    span: npt.NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8))

    def __post_init__(self) -> None:
        self.view = View(self.making.sources)
        making = self.making
        count, most = len(making.sources.updates), making.sizes.block_elements
        self.combiner = self.averaging = combiner_for(making.step, count, most)
        if making.unweighed is not None and making.unweighed is not making.step:
            self.averaging = combiner_for(making.unweighed, count, most)
        self.own = combiners_for(making.own, count, most)

    def work(self, writer: ChunkedWriter, spans: Spans) -> None:
        """Compute spans until none is left."""
        with spans.stopping_others():
            for index in spans:
                self.make(writer, index)

    def make(self, writer: ChunkedWriter, index: int) -> None:
        """Compute one span."""
        if self.span.size < writer.span_bytes:
            self.span = np.empty(writer.span_bytes, np.uint8)
        pieces = writer.pieces(index)
        # What does not fit becomes infinite, and a result that is not finite is refused.
        with np.errstate(over="ignore", invalid="ignore"):
            for piece in pieces:
                self._fill(piece, piece.view(self.span))
        self.making.sources.release([(piece.spec.name, piece.start, piece.stop) for piece in pieces])
        writer.put(index, self.span)

    def _fill(self, piece: Piece, target: Array) -> None:
        width, stays = self._combiner(piece.spec).width, self._stays(piece.spec)
        for start in range(piece.start, piece.stop, width):
            portion = Portion(piece.spec, start, min(start + width, piece.stop))
            made, block = self._made(portion), target[start - piece.start : portion.stop - piece.start]
            store(portion.spec, made, block)
            if portion.spec.numpy_dtype.itemsize == WIDEST and made.dtype == np.float64 and not stays:
                keep_alike(self.view.rows(portion.spec, portion.start, portion.stop), made, block)

    def _combiner(self, spec: TensorSpec) -> Combiner:
        usual = self.combiner if is_stepped(spec) else self.averaging
        return self.own.get(spec.name, usual) if self.own else usual

    def _stays(self, spec: TensorSpec) -> bool:
        return isinstance(self.making.own.get(spec.name), Stay)

    def _made(self, portion: Portion) -> Array:
        recipe, kept = self.making.recipe, _NOTHING
        if recipe.slots:
            kept = self.view.state(portion.spec, portion.start, portion.stop)
        made = self._combiner(portion.spec).combine(self.view, portion, kept[: len(recipe.rule_slots)])
        if recipe.steps and is_stepped(portion.spec) and not self._stays(portion.spec):
            made = self._stepped(portion, made.astype(np.float64, copy=False), kept[len(recipe.rule_slots) :])
        elif recipe.algorithm is not None and portion.spec.is_float and portion.spec.name.startswith(ALGORITHM):
            base = self.view.base(portion.spec, portion.start, portion.stop)
            combined = made.astype(np.float64, copy=False)
            made = recipe.algorithm.own(base, combined, self.making.contributors)
            check_vector(made, base.size, "the algorithm")
        if self.keeper is not None and is_looked_at(portion.spec):
            self.keeper.write(portion, kept)
        return made

    def _stepped(self, portion: Portion, target: Vector, kept: Vector) -> Vector:
        """Return where the model goes from where it was, given what the rule made of the updates."""
        recipe, given = self.making.recipe, self.making.contributors
        base = self.view.base(portion.spec, portion.start, portion.stop)
        if recipe.optimizer is not None:
            made, whose = recipe.optimizer.step(base, target, kept, given.round), "the server optimizer"
        elif recipe.algorithm is not None:
            made, whose = recipe.algorithm.step(base, target, kept, given), "the algorithm"
        else:
            return target
        check_vector(made, base.size, whose)
        return made


def _check_schemas(ordered: Sequence[UpdateFile], files: Sequence[ModelReader]) -> None:
    for item, file in zip(ordered, files, strict=True):
        difference = compare(files[0].schema, file.schema)
        if difference:
            first = ordered[0].collaborator
            raise UpdateRefusedError(
                f"the update of '{item.collaborator}' does not fit that of '{first}': {difference}"
            )


def contributors_of(ordered: Sequence[UpdateFile], start: Start) -> Contributors:
    """Return whose updates these are, sorted by name; raises UpdateRefusedError if names or weights are not usable."""
    names = tuple(item.collaborator for item in ordered)
    return Contributors(_normalised(ordered), start.round, names, start.eligible)


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
