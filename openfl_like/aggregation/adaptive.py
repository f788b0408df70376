"""Adaptive server optimizers: FedAdagrad, FedAdam and FedYogi."""

from typing import Annotated, ClassVar

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from openfl_like.aggregation.steps import Vector

_STRICT = ConfigDict(extra="forbid")
_Rate = Annotated[float, Field(gt=0)]
_Kept = Annotated[float, Field(ge=0, lt=1)]
_Positive = Annotated[float, Field(gt=0)]


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class _Adaptive:
    """Algorithm 2 of Reddi et al. 2021 (arXiv:2003.00295) but for what becomes of the second moment."""

    learning_rate: _Rate = 0.1
    beta1: _Kept = 0.9
    tau: _Positive = 1e-3
    slots: ClassVar[tuple[str, ...]] = ("first_moment", "second_moment")

    def step(self, base: Vector, target: Vector, state: Vector, round_number: int) -> Vector:  # noqa: ARG002 - every round is alike
        """Take a step; see `ServerOptimizer`.

        Args:
            base: Float64 [n], w.
            target: Float64 [n], w - d.
            state: Float64 [2, n], m and v.
            round_number: Which round this is.

        Returns:
            Float64 [n].
        """
        difference = base - target
        first, second = _first(state[0], self.beta1, difference), state[1]
        np.copyto(second, self.tau * self.tau, where=second == 0.0)  # it begins so, and is never zero again
        self._follow(second, difference * difference)
        return _adapted(base, first, second, self.learning_rate, self.tau)

    def _follow(self, second: Vector, squares: Vector) -> None:
        """Overwrite the second moment, given the squares of the differences."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class FedAdagrad(_Adaptive):
    """FedAdagrad (Reddi et al. 2021, arXiv:2003.00295, algorithm 2).

    With the difference d between the global model w and what the rule made of the updates, the first moment m becomes
    beta1 m + (1 - beta1) d, the second one v becomes v + d^2, and the model w - learning_rate m / (sqrt(v) + tau). The
    second moment begins with tau^2.

    Attributes:
        learning_rate: The length of a step (eta in the paper).
        beta1: The part of the first moment that is kept.
        tau: How far from zero the divisor is; the larger, the less adaptive.
    """

    beta1: _Kept = 0.0

    def _follow(self, second: Vector, squares: Vector) -> None:
        np.add(second, squares, out=second)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class FedAdam(_Adaptive):
    """FedAdam (Reddi et al. 2021, arXiv:2003.00295, algorithm 2).

    As `FedAdagrad`, but the second moment v becomes beta2 v + (1 - beta2) d^2.

    The paper corrects no bias. With ``bias_correction`` it is Adam (Kingma and Ba 2015, arXiv:1412.6980, algorithm 1)
    on d as the gradient, as `torch.optim.Adam` has it: the second moment begins with zero, both are divided by one less
    the power of their beta with the number of the round, and tau is that one's epsilon.

    Attributes:
        learning_rate: The length of a step (eta in the paper).
        beta1: The part of the first moment that is kept.
        beta2: The part of the second moment that is kept.
        tau: How far from zero the divisor is; the larger, the less adaptive.
        bias_correction: Whether moments are larger in the first rounds, in which they are still close to where they
            began.
    """

    beta2: _Kept = 0.99
    bias_correction: bool = False

    def step(self, base: Vector, target: Vector, state: Vector, round_number: int) -> Vector:
        """Take a step; see `ServerOptimizer`.

        Args:
            base: Float64 [n], w.
            target: Float64 [n], w - d.
            state: Float64 [2, n], m and v.
            round_number: Which round this is, from 1.

        Returns:
            Float64 [n].
        """
        if not self.bias_correction:
            return _Adaptive.step(self, base, target, state, round_number)
        difference = base - target
        first, second = _first(state[0], self.beta1, difference), state[1]
        self._follow(second, difference * difference)
        rate = self.learning_rate / (1.0 - self.beta1**round_number)
        return _adapted(base, first, second / (1.0 - self.beta2**round_number), rate, self.tau)

    def _follow(self, second: Vector, squares: Vector) -> None:
        np.multiply(second, self.beta2, out=second)
        np.add(second, (1.0 - self.beta2) * squares, out=second)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class FedYogi(_Adaptive):
    """FedYogi (Reddi et al. 2021, arXiv:2003.00295, algorithm 2).

    As `FedAdagrad`, but the second moment v becomes v - (1 - beta2) d^2 sign(v - d^2): it grows and shrinks by steps of
    the size of d^2, where that of `FedAdam` forgets large ones as fast as small ones.

    Attributes:
        learning_rate: The length of a step (eta in the paper).
        beta1: The part of the first moment that is kept.
        beta2: How slowly the second moment changes.
        tau: How far from zero the divisor is; the larger, the less adaptive.
    """

    beta2: _Kept = 0.99

    def _follow(self, second: Vector, squares: Vector) -> None:
        np.subtract(second, (1.0 - self.beta2) * squares * np.sign(second - squares), out=second)


def _first(first: Vector, beta1: float, difference: Vector) -> Vector:
    np.multiply(first, beta1, out=first)
    np.add(first, (1.0 - beta1) * difference, out=first)
    return first


def _adapted(base: Vector, first: Vector, second: Vector, rate: float, tau: float) -> Vector:
    made: Vector = base - rate * first / (np.sqrt(second) + tau)
    return made
