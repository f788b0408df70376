"""Server optimizers: how the model that the rule made of the updates becomes the next global model."""

from typing import Annotated, ClassVar, Protocol

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from openfl_like.aggregation.steps import Vector

_STRICT = ConfigDict(extra="forbid")


class ServerOptimizer(Protocol):
    """Takes a step from the global model towards what the rule made of the updates, and may keep state between rounds.

    It is given the floating-point tensors; integers and booleans are what the rule made.
    """

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of what it keeps; each is float64 for each floating-point element of the model, zero at first."""
        ...

    def step(self, base: Vector, target: Vector, state: Vector, round_number: int) -> Vector:
        """Take a step. An element may depend on its own column only; several threads may be in here at once.

        Args:
            base: Float64 [n]; the global model that the updates started from.
            target: Float64 [n]; what the rule made of the updates.
            state: Float64 [S, n], a row for each slot; to be overwritten with what is to be kept.
            round_number: Which round this is, from 1: so many steps were taken, this one included.

        Returns:
            Float64 [n], the next global model.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class NoServerOptimizer:
    """The next global model is what the rule made of the updates, bit for bit."""

    slots: ClassVar[tuple[str, ...]] = ()

    def step(self, base: Vector, target: Vector, state: Vector, round_number: int) -> Vector:  # noqa: ARG002 - all but the target is for others
        """Take the whole way at once."""
        return target


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class FedAvgM:
    """Server momentum FedAvgM (Hsu et al. 2019, arXiv:1909.06335, the section on momentum).

    With the difference d between the global model w and what the rule made of the updates, the velocity v becomes
    momentum v + d, and the model w - learning_rate v. It is stochastic gradient descent with momentum, without
    dampening, on d as the gradient. Deviation from the paper, which has a learning rate of 1: it is a setting.

    Attributes:
        learning_rate: The part of the velocity that is taken.
        momentum: The part of the last velocity that is kept (beta in the paper).
    """

    learning_rate: Annotated[float, Field(gt=0)] = 1.0
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    slots: ClassVar[tuple[str, ...]] = ("momentum",)

    def step(self, base: Vector, target: Vector, state: Vector, round_number: int) -> Vector:  # noqa: ARG002 - every round is alike
        """Take a step with momentum.

        Args:
            base: Float64 [n], w.
            target: Float64 [n], w - d.
            state: Float64 [1, n], v.
            round_number: Which round this is.

        Returns:
            Float64 [n].
        """
        velocity = state[0]
        np.multiply(velocity, self.momentum, out=velocity)
        np.add(velocity, base - target, out=velocity)
        taken: Vector = base - self.learning_rate * velocity
        return taken
