"""The updates of a round side by side: what validators that compare them are shown, and the order in which they are."""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

from openfl_like.aggregation.combining import Sources
from openfl_like.aggregation.engine import UpdateFile
from openfl_like.aggregation.gram import Gram, GramPass
from openfl_like.aggregation.passes import run_pass
from openfl_like.aggregation.spans import Executor, inline
from openfl_like.aggregation.steps import Block, Linear, Pass, Step, Vector
from openfl_like.errors import UpdateRefusedError
from openfl_like.federation.task import Update
from openfl_like.federation.validation.verdict import Consequence, Measure, UpdateVerdict
from openfl_like.tensors.container import TensorFile
from openfl_like.tensors.encoded import open_update
from openfl_like.tensors.named import compare

Indices: TypeAlias = npt.NDArray[np.intp]
LEAST = 3
"""Of fewer updates a dishonest one is as many as the honest ones, and nothing that is usual can be told."""


class Looks(IntEnum):
    """What a validator needs to know of updates, from the cheapest on.

    Attributes:
        REPORTS: What the sites report; no update is read.
        NORMS: Their norms: each update is read once.
        PRODUCTS: The inner products of each with each, K / 2 multiplications an element.
    """

    REPORTS = 0
    NORMS = 1
    PRODUCTS = 2


@dataclass(frozen=True, slots=True)
class Compared:
    """The K updates that are left, sorted by collaborator, as the validators before have left them.

    Norms and products are those of the differences from the global model, over all floating-point tensors but an
    algorithm's own, in float64.

    Attributes:
        updates: What the sites report.
        norms: Float64 [K], Euclidean; not finite where an update is not. Empty unless a validator looks at them.
        products: Float64 [K, K]; empty unless a validator looks at them.
    """

    updates: tuple[Update, ...]
    norms: Vector = field(default_factory=lambda: np.zeros(0))
    products: Vector = field(default_factory=lambda: np.zeros((0, 0)))


@runtime_checkable
class ComparingValidator(Protocol):
    """Compares the updates of a round with each other."""

    @property
    def looks(self) -> Looks:
        """What it needs to know."""
        ...

    def judge(self, compared: Compared) -> Iterable[UpdateVerdict]:
        """Give a verdict on each update that does not count as it is.

        Args:
            compared: At least one update. Their order does not depend on that in which they came.

        Raises:
            UpdateRefusedError: If nothing can be told of so few updates.
        """
        ...


def judge_updates(
    validators: Sequence[ComparingValidator],
    updates: Sequence[Update],
    files: Sequence[UpdateFile],
    base: TensorFile,
    executor: Executor = inline,
) -> tuple[UpdateVerdict, ...]:
    """Have validators compare updates, one after the other: each sees what those before it have left.

    All updates are read once, however many validators there are, and none is ever in memory as a whole.

    Args:
        validators: The plan's, in order.
        updates: What the sites report; at most one of each.
        files: The same updates, in the same order.
        base: The global model that they started from.
        executor: Who does the work; the result is the same bit for bit.

    Returns:
        The verdicts of the validators in their order, of each in the order of the collaborators.

    Raises:
        UpdateRefusedError: If a validator refuses, or the tensors of an update are not those of the global model.
    """
    order = sorted(range(len(updates)), key=lambda index: updates[index].collaborator)
    ordered = [updates[index] for index in order]
    looks = max((validator.looks for validator in validators), default=Looks.REPORTS)
    total = _looked([files[index] for index in order], base, looks, executor) if looks else None
    left, factors, verdicts = np.arange(len(ordered)), np.ones(len(ordered)), list[UpdateVerdict]()
    for validator in validators:
        if not left.size:
            break
        compared = _compared([ordered[index] for index in left], total, left, factors)
        given = sorted(validator.judge(compared), key=lambda verdict: verdict.collaborator)
        verdicts += given
        names = {ordered[index].collaborator: index for index in left}
        for verdict in given:
            factors[names[verdict.collaborator]] *= verdict.factor
        gone = [names[verdict.collaborator] for verdict in given if verdict.action is Consequence.DROP]
        left = np.setdiff1d(left, gone)
    return tuple(verdicts)


def _compared(updates: Sequence[Update], total: Vector | None, left: Indices, factors: Vector) -> Compared:
    if total is None:
        return Compared(tuple(updates))
    kept = factors[left]
    if total.ndim == 1:
        return Compared(tuple(updates), np.sqrt(total[left]) * kept)
    products = total[np.ix_(left, left)] * kept * kept[:, np.newaxis]
    return Compared(tuple(updates), np.sqrt(products.diagonal()), products)


def _looked(files: Sequence[UpdateFile], base: TensorFile, looks: Looks, executor: Executor) -> Vector:
    """Read the updates once: their squared norms, float64 [K], or all inner products, float64 [K, K]."""
    with ExitStack() as stack:
        opened = [stack.enter_context(closing(open_update(file.content, file.sent))) for file in files]
        for file, update in zip(files, opened, strict=True):
            difference = compare(base.schema, update.schema)
            if difference:
                problem = f"the update of '{file.collaborator}' does not fit the global model: {difference}"
                raise UpdateRefusedError(problem, cure="have updates checked by the validator 'schema'")
        look: Pass = GramPass(_nothing_more) if looks is Looks.PRODUCTS else _Norms()
        total = run_pass(look, Sources(opened, base), executor, 0)
    if total.ndim == 1:
        return total
    upper = np.triu(total)[:-1, :-1]
    return upper + np.triu(upper, 1).T


class _Norms:
    """The look at the squared norms of the updates less the base."""

    def see(self, block: Block) -> Vector:
        np.subtract(block.updates, block.base, out=block.updates)
        squares: Vector = np.multiply(block.updates, block.updates).sum(axis=1)
        return squares

    def end(self, total: Vector) -> Step:
        return Linear(total)


def _nothing_more(gram: Gram) -> Step:
    return Linear(gram.norms())


def refuse_few(validator: str, count: int) -> None:
    """Refuse updates of which nothing usual can be told.

    Raises:
        UpdateRefusedError: If there are too few.
    """
    if count < LEAST:
        raise UpdateRefusedError(
            f"the validator '{validator}' can tell nothing of {count} updates",
            cure=f"have a round wait for {LEAST} updates or more (participation.min_updates)",
        )


def endless(compared: Compared, validator: str, measure: Measure, bound: float) -> list[UpdateVerdict]:
    """Drop the updates that have no finite norm."""
    return [
        UpdateVerdict(update.collaborator, validator, measure, None, bound, Consequence.DROP)
        for update, norm in zip(compared.updates, compared.norms, strict=True)
        if not np.isfinite(norm)
    ]
