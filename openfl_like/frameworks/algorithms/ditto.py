"""Ditto: each site keeps a model of its own, which stays near the global one."""

from collections.abc import Mapping
from typing import Annotated

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from openfl_like.frameworks.algorithms.base import LocalEnd, LocalStart
from openfl_like.frameworks.algorithms.gradients import SiteGradients
from openfl_like.frameworks.model import Tensor, Tensors

_PERSONAL = "personal/"


@dataclass(kw_only=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
class Ditto:
    """Ditto: beside the global model w, which is trained as without it, each site trains a model v_i of its own.

    Li et al. 2021, "Ditto: Fair and Robust Federated Learning Through Personalization", arXiv:2012.04221, equation 1
    and algorithm 1: a site minimises ``F_i(v) + lambda/2 |v - w|^2``, by steps along ``F_i'(v_i) + lambda (v_i - w)``
    with a rate eta and the w that it was sent. Tasks with ``apply: personal`` evaluate v_i.

    Deviations: v_i takes one step with each batch that w is trained with (the paper's number s of its steps is one of
    its own), by plain gradient descent, whatever the optimizer of w is. It begins with the w of the first round that
    the site takes part in, not with that of round 0. What is not trained along gradients, such as running statistics,
    is that of the global model.

    At the site v_i is kept, the size of the trained weights; nothing is sent beside the model.

    Args:
        pull: The paper's lambda, which tries 0.1, 1 and 2; 0: each site learns for itself.
        rate: The paper's eta, the learning rate of v_i.
    """

    pull: Annotated[float, Field(ge=0)]
    rate: Annotated[float, Field(gt=0)] = 0.1

    def __post_init__(self) -> None:
        self._anchor: Tensors = {}
        self._own: dict[str, Tensor] = {}
        self._gradients = SiteGradients()

    def shared(self, model: Tensors) -> Tensors:  # noqa: ARG002 - the protocol's
        """Send nothing beside the model."""
        return {}

    def begin(self, start: LocalStart) -> None:
        """Go on with the site's own model, or begin one with the global model."""
        self._anchor, self._gradients = start.weights, start.gradients
        self._own = {name: start.state.get(f"{_PERSONAL}{name}", weight) for name, weight in start.weights.items()}

    def adjust(self, gradients: Tensors, weights: Tensors) -> Tensors:  # noqa: ARG002 - the protocol's
        """Take a step of the site's own model with this batch, and leave the gradients as they are."""
        for name, gradient in self._gradients.of_batch(self._own).items():
            if name not in self._own:
                continue  # it stays at the site as it is
            away = self._own[name] - self._anchor[name]
            self._own[name] = self._own[name] - self.rate * (gradient + self.pull * away)
        return gradients

    def after_step(self, weights: Tensors) -> None:
        """Do nothing."""

    def end(self, weights: Tensors) -> LocalEnd:  # noqa: ARG002 - the protocol's
        """Keep the site's own model."""
        kept = {f"{_PERSONAL}{name}": tensor for name, tensor in self._own.items()}
        self._anchor, self._own = {}, {}
        return LocalEnd(state=kept)

    def personal(self, state: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Return the site's own model; see `base.PersonalAlgorithm`."""
        return {name.removeprefix(_PERSONAL): array for name, array in state.items() if name.startswith(_PERSONAL)}
