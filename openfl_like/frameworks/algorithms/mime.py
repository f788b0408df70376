"""Mime and MimeLite: sites step like a central optimizer, whose momentum does not change while they do."""

from typing import Annotated

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from openfl_like.frameworks.algorithms.base import LocalEnd, LocalStart, zeros_for
from openfl_like.frameworks.algorithms.gradients import SiteGradients
from openfl_like.frameworks.model import Tensor, Tensors

_STRICT = ConfigDict(extra="forbid")
_MOMENTUM, _GRADIENT, _KNOWN = "momentum", "gradient", "known"


@dataclass(kw_only=True, config=_STRICT)
class MimeLite:
    """MimeLite: each step goes along ``(1 - beta) gradient + beta m``, with the same m in all steps of a round.

    Karimireddy et al. 2020, "Mime: Mimicking Centralized Stochastic Algorithms in Federated Learning",
    arXiv:2008.03606, algorithm 1, with momentum as the base algorithm. A site looks at all its samples at the global
    model x, and tells ``beta m + (1 - beta) F_i'(x)``; the mean of these is the paper's next m, so that there is no
    server half.

    Deviations: momentum is the only base algorithm; the mean is that of the plan's aggregation rule, weighted by
    samples unless ``weighted: false`` says otherwise; samples that ``drop_last`` leaves out are not looked at.

    Nothing is kept at the site; m, the size of the trained weights, is sent with the model, both ways.

    Args:
        momentum: The paper's beta; it tries 0, 0.9 and 0.99. The optimizer of the task runner should have none.
    """

    momentum: Annotated[float, Field(gt=0, lt=1)] = 0.9

    def __post_init__(self) -> None:
        self._momentum: Tensors = {}
        self._whole: Tensors = {}

    def shared(self, model: Tensors) -> Tensors:
        """Send m; zeros at first."""
        return zeros_for(_MOMENTUM, model)

    def begin(self, start: LocalStart) -> None:
        """Take m, and look at all samples; raises TaskError if the model was made without this algorithm."""
        self._momentum = start.own(_MOMENTUM)
        self._whole = _at_all(start)

    def adjust(self, gradients: Tensors, weights: Tensors) -> Tensors:  # noqa: ARG002 - the protocol's
        """Return ``(1 - beta) gradient + beta m``."""
        return _mixed(self.momentum, gradients, self._momentum)

    def after_step(self, weights: Tensors) -> None:
        """Do nothing."""

    def end(self, weights: Tensors) -> LocalEnd:  # noqa: ARG002 - the protocol's
        """Send the site's part of the next m."""
        sent = _mixed(self.momentum, self._whole, self._momentum)
        self._momentum, self._whole = {}, {}
        return LocalEnd(_named(_MOMENTUM, sent))


@dataclass(kw_only=True, config=_STRICT)
class Mime:
    """Mime: as `MimeLite`, with the gradient corrected by what a site has of its own: ``gradient - F_i'(x) + c``.

    Karimireddy et al. 2020, arXiv:2008.03606, algorithm 1 and its equation of the corrected gradient (that of
    stochastic variance reduction, SVRG): at each step, the gradient of the same batch at the global model x is taken
    off, and c is added, the mean of the sites' gradients over all their samples.

    Deviations, beside those of `MimeLite`: the paper's c is that of this round's sites at this round's model, for which
    they would have to be asked before they train. Here it is that of the last round, and the first round is not
    corrected. Where the model comes to rest, both are the same. Dropout draws anew for the gradient at x, unless the
    framework is JAX.

    Nothing is kept at the site; m and c are sent with the model, both ways; m only if there is a momentum.

    Args:
        momentum: The paper's beta; 0 for the correction alone.
    """

    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9

    def __post_init__(self) -> None:
        self._momentum: Tensors = {}
        self._all: Tensors = {}
        self._whole: Tensors = {}
        self._anchor: Tensors = {}
        self._known = 0.0
        self._one: Tensor = None
        self._gradients = SiteGradients()

    def shared(self, model: Tensors) -> Tensors:
        """Send c, whether it is known, and m; zeros at first."""
        momentum = zeros_for(_MOMENTUM, model) if self.momentum else {}
        return {**momentum, **zeros_for(_GRADIENT, model), _KNOWN: np.zeros((), np.float32)}

    def begin(self, start: LocalStart) -> None:
        """Take m and c, and look at all samples; raises TaskError if the model was made without this algorithm."""
        self._all, self._anchor, self._gradients = start.own(_GRADIENT), start.weights, start.gradients
        self._momentum = start.own(_MOMENTUM) if self.momentum else {}
        self._known = float(start.shared[_KNOWN])
        self._whole, self._one = _at_all(start), start.like(np.ones((), np.float32))

    def adjust(self, gradients: Tensors, weights: Tensors) -> Tensors:  # noqa: ARG002 - the protocol's
        """Return ``(1 - beta) (gradient - F_i'(x) + c) + beta m``."""
        there = self._gradients.of_batch(self._anchor)
        corrected = {
            name: gradient - self._known * (there[name] - self._all[name]) for name, gradient in gradients.items()
        }
        return _mixed(self.momentum, corrected, self._momentum)

    def after_step(self, weights: Tensors) -> None:
        """Do nothing."""

    def end(self, weights: Tensors) -> LocalEnd:  # noqa: ARG002 - the protocol's
        """Send the site's gradient, and its part of the next m."""
        momentum = _mixed(self.momentum, self._whole, self._momentum) if self.momentum else {}
        sent = {**_named(_MOMENTUM, momentum), **_named(_GRADIENT, self._whole), _KNOWN: self._one}
        self._momentum, self._all, self._whole, self._anchor = {}, {}, {}, {}
        return LocalEnd(sent)


def _at_all(start: LocalStart) -> Tensors:
    """Return the gradient over all samples at the global model; zeros for weights that have none."""
    found = start.gradients.of_all(start.weights)
    return {name: found[name] if name in found else 0 * weight for name, weight in start.weights.items()}


def _mixed(momentum: float, gradients: Tensors, kept: Tensors) -> Tensors:
    """Return ``(1 - beta) gradient + beta m`` of each gradient."""
    if not momentum:
        return gradients
    return {name: (1 - momentum) * gradient + momentum * kept[name] for name, gradient in gradients.items()}


def _named(kind: str, tensors: Tensors) -> dict[str, Tensor]:
    return {f"{kind}/{name}": tensor for name, tensor in tensors.items()}
