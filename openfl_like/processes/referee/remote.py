"""A part of a round at a referee: asks it, and looks whether what it answers can be."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from pydantic import ValidationError

from openfl_like.aggregation.guarded import check_numbers
from openfl_like.aggregation.steps import Vector
from openfl_like.federation.failure import part_failed
from openfl_like.processes.referee.client import Given, PartCall, Pull, Referee, nothing
from openfl_like.tensors.named import Array

Value = TypeVar("Value")
WIDTH = 8
"""Bytes of a float64."""


def _told(mistake: Exception) -> str:
    if isinstance(mistake, ValidationError):
        first = mistake.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(mistake)


@dataclass(frozen=True, slots=True)
class RemotePart:
    """A part, or a step that one has given.

    Args:
        referee: Where it is.
        name: In messages.
        to: ``part`` or ``step``, and its number.
    """

    referee: Referee
    name: str
    to: tuple[str, int]

    def decide(self, method: str, value: object, read: Callable[[Any], Value]) -> Value:
        """Ask for a decision; raises FailedPartError if it fails, or is none."""
        given = self.referee.ask(PartCall(self.name, self.to, method, value))
        return self._read(given, read)

    def ask(
        self, method: str, value: object, arrays: Sequence[Array], sizes: Sequence[int], pull: Pull = nothing
    ) -> Given:
        """Ask for something else; the answer's arrays may have so many elements in all."""
        room = WIDTH * sum(sizes) + 64 * len(sizes)
        return self.referee.ask(PartCall(self.name, self.to, method, value, arrays, room, pull))

    def numbers(
        self,
        method: str,
        value: object,
        arrays: Sequence[Vector],
        shapes: Sequence[tuple[int, ...]],
        pull: Pull = nothing,
    ) -> list[Vector]:
        """Ask for float64 arrays of given shapes.

        Raises:
            FailedPartError: If they have others, or are not finite though everything that it was shown is.
        """
        sizes = [int(np.prod(shape)) for shape in shapes]
        found = self.ask(method, value, arrays, sizes, pull).arrays
        self.check(found, shapes, arrays)
        return list(found)

    def check(self, found: Sequence[Array], shapes: Sequence[tuple[int, ...]], shown: Sequence[Vector]) -> None:
        """Look at arrays that were answered; raises as `numbers`."""
        check_numbers(self.name, found, shapes, shown)

    def _read(self, given: Given, read: Callable[[Any], Value]) -> Value:
        try:
            return read(given.value)
        except (ValueError, LookupError, TypeError, AttributeError) as mistake:
            raise part_failed(self.name, f"answered what is no answer: {_told(mistake)}") from mistake

    def read(self, given: Given, read: Callable[[Any], Value]) -> Value:
        """Return what an answer says; raises FailedPartError if it says nothing of the kind."""
        return self._read(given, read)
