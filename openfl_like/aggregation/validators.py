"""Checks of an update before it may count."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from openfl_like.errors import TensorError
from openfl_like.federation.task import Update, check_facts, without_undefined
from openfl_like.tensors.container import Part, TensorFile
from openfl_like.tensors.encoded import ModelReader, Sent, open_update
from openfl_like.tensors.finite import all_finite
from openfl_like.tensors.memory import TensorMemory
from openfl_like.tensors.memory_rows import TensorRow
from openfl_like.tensors.named import compare

BLOCK_ELEMENTS = 256 * 1024
_STRICT = ConfigDict(extra="forbid")


class Validator(Protocol):
    """Looks at one update."""

    def check(self, update: ModelReader, base: TensorFile | None, facts: Update) -> str:
        """Say why the update must not count; empty if it may.

        Args:
            update: The trained model; one that came compressed is decoded as it is read.
            base: The model it started from; None for the initial model.
            facts: What the collaborator said about it.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Finite:
    """Every floating-point element is a finite number."""

    def check(self, update: ModelReader, base: TensorFile | None, facts: Update) -> str:  # noqa: ARG002 - the file says it all
        """Read the floating-point tensors block by block, unless somebody has done that already."""
        if isinstance(update, TensorFile) and update.known_finite:
            return ""
        if isinstance(update, TensorRow):
            return f"tensor '{update.not_finite}' holds a value that is not finite" if update.not_finite else ""
        read, parts = 0, list[Part]()
        for spec in update.schema:
            if not spec.is_float:
                continue
            flat = update.flat(spec.name)
            for start in range(0, spec.size, BLOCK_ELEMENTS):
                stop = min(start + BLOCK_ELEMENTS, spec.size)
                if not all_finite(flat[start:stop]):
                    return f"tensor '{spec.name}' holds a value that is not finite"
                parts.append((spec.name, start, stop))
                read += stop - start
                if read >= BLOCK_ELEMENTS:
                    update.release(parts)
                    read, parts = 0, []
        return ""


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class SameSchema:
    """Names, dtypes and shapes are those of the model the update started from."""

    def check(self, update: ModelReader, base: TensorFile | None, facts: Update) -> str:  # noqa: ARG002 - the files say it all
        """Compare the headers."""
        difference = compare(base.schema, update.schema) if base is not None else ""
        return f"its tensors are not those of the global model: {difference}" if difference else ""


def validate_update(
    validators: Sequence[Validator],
    content: Path | TensorMemory,
    base: TensorFile | None,
    facts: Update,
    sent: Sent | None = None,
    *,
    finite: bool = False,
) -> str:
    """Run all checks of an update; the first complaint is the answer, empty if there is none.

    Args:
        validators: The plan's.
        content: The update's model file, or what would be in it; one that is damaged is a complaint.
        base: The global model it started from, if there is one.
        facts: What the collaborator said about it; metrics that are not finite numbers are left out of it and are no
            complaint: the update counts.
        sent: How it is encoded; None: it is a model file.
        finite: Whether somebody has seen already that all numbers of a model file are finite.
    """
    facts = without_undefined(facts)
    complaint = check_facts(facts)
    if complaint:
        return complaint
    try:
        update = open_update(content, sent, verify=True)
    except TensorError as error:
        return f"its model file is damaged: {error.message}"
    if isinstance(update, TensorFile):
        update.known_finite = finite
    with closing(update):
        complaints = (validator.check(update, base, facts) for validator in validators)
        return next((complaint for complaint in complaints if complaint), "")
