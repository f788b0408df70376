"""FedNova: sites say how much they have done, so that none counts more for having done more."""

from collections.abc import Callable
from typing import Annotated

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from openfl_like.frameworks.algorithms.base import LocalEnd, LocalStart
from openfl_like.frameworks.model import Tensor, Tensors

_STEPS = "steps"


@dataclass(kw_only=True, config=ConfigDict(extra="forbid"))
class FedNova:
    """FedNova, client side: the sum a_i of the weights with which a site's gradients add up to its update.

    Wang et al. 2020, "Tackling the Objective Inconsistency Problem in Heterogeneous Federated Optimization",
    arXiv:2007.07481, section 4.1. Of plain gradient descent a_i is the number of steps; with a momentum r it is
    ``(steps - r (1 - r^steps) / (1 - r)) / (1 - r)``. The server half is `FedNovaServer`.

    Nothing is kept at the site, and one number is sent beside the model. Steps along other optimizers, such as Adam,
    are counted as if they were plain ones, as the paper's section 4.3 does.

    Args:
        momentum: Of the optimizer of the task runner, if it has one.
    """

    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0

    def __post_init__(self) -> None:
        self._steps = 0
        self._like: Callable[[np.ndarray], Tensor] = np.asarray

    def shared(self, model: Tensors) -> Tensors:  # noqa: ARG002 - the protocol's
        """Send one number."""
        return {_STEPS: np.zeros((), np.float32)}

    def begin(self, start: LocalStart) -> None:
        """Begin to count."""
        self._steps, self._like = 0, start.like

    def adjust(self, gradients: Tensors, weights: Tensors) -> Tensors:  # noqa: ARG002 - the protocol's
        """Count a step, and follow the gradients."""
        self._steps += 1
        return gradients

    def after_step(self, weights: Tensors) -> None:
        """Do nothing."""

    def end(self, weights: Tensors) -> LocalEnd:  # noqa: ARG002 - the protocol's
        """Send how much was done."""
        kept = self.momentum
        accumulated = (self._steps - kept * (1 - kept**self._steps) / (1 - kept)) / (1 - kept)
        return LocalEnd({_STEPS: self._like(np.asarray(accumulated, np.float32))})
