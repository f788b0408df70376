"""What a rule says step by step: look at all updates once more, or make the model like this."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

Vector: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Contributors:
    """Whose updates make a model.

    Attributes:
        weights: Float64 [K], adding up to 1.
        round: The number of the round, from 1.
        names: Of the collaborators, sorted.
        eligible: From how many collaborators they were chosen; 0: nobody asks.
    """

    weights: Vector
    round: int
    names: tuple[str, ...]
    eligible: int = 0

    @property
    def share(self) -> float:
        """The part of all that could have taken part."""
        return min(1.0, len(self.names) / max(1, self.eligible))


@dataclass(frozen=True, slots=True)
class Block:
    """The same elements of everything that a rule may look at.

    Attributes:
        updates: Float64 [K, n]; row k is update k, sorted by collaborator name. It may be overwritten.
        base: Float64 [n]; the global model that the updates started from. It may be overwritten.
        state: Float64 [S, n]; what the rule keeps between rounds, a row for each of its ``slots``, zeros at first.
    """

    updates: Vector
    base: Vector
    state: Vector


@dataclass(frozen=True, slots=True)
class Linear:
    """The model is the sum of the updates, each times a factor: this is spared the block of all of them.

    Attributes:
        factors: Float64 [K].
        base: Factor of the global model that the updates started from.
    """

    factors: Vector
    base: float = 0.0


@dataclass(frozen=True, slots=True)
class Blockwise:
    """The model is made block by block.

    Attributes:
        combine: Gives float64 [n] for a block, and overwrites its ``state`` with what is to be kept. An element may
            depend on its own column only, for a block is any part of a tensor. Several threads may be in there at once.
    """

    combine: Callable[[Block], Vector]


class Pass(Protocol):
    """A look at all updates, block by block, before the model is made: sums over the whole model come of it.

    A block is of one floating-point tensor (integers and booleans, which count and mask, are not looked at). How the
    model is cut into blocks depends on the model and K alone, and what the blocks give is added up in their order:
    neither threads nor machines change a bit of the total.
    """

    def see(self, block: Block) -> Vector:
        """Look at a block. Several threads may be in here at once.

        Returns:
            Float64 of the same shape for every block, also for one without columns. Products and sums along rows have
            the same bits everywhere; matrix products (BLAS) do not.
        """
        ...

    def end(self, total: Vector) -> "Step":
        """Say what comes next.

        Args:
            total: What `see` gave for all blocks, added up.

        Raises:
            UpdateRefusedError: If these updates cannot be combined.
        """
        ...


Step: TypeAlias = Pass | Linear | Blockwise
