"""SCAFFOLD: control variates take the drift of each site out of its steps."""

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from openfl_like.frameworks.algorithms.base import LocalEnd, LocalStart, zeros_for
from openfl_like.frameworks.model import Tensor, Tensors

_CONTROL = "control"


@dataclass(kw_only=True, config=ConfigDict(extra="forbid"))
class Scaffold:
    """SCAFFOLD, client side: each step goes along ``gradient - c_i + c``.

    Karimireddy et al. 2020, "SCAFFOLD: Stochastic Controlled Averaging for Federated Learning", arXiv:1910.06378,
    algorithm 1 with option II. The control variate c_i of a site is the mean of the gradients that it saw in its last
    round, and c is that of all sites. Option II says it as ``c_i - c + (x - y_i) / (K lr)``, which is the same for
    plain gradient descent with a rate lr, and needs to know it; here gradients are added up, so that any optimizer
    will do. The server half is `ScaffoldServer`.

    At the site c_i is kept, the size of the trained weights; c is sent with the model, both ways.
    """

    def __post_init__(self) -> None:
        self._own: Tensors = {}
        self._all: Tensors = {}
        self._sum: dict[str, Tensor] = {}
        self._steps = 0

    def shared(self, model: Tensors) -> Tensors:
        """Send a control variate for each floating-point tensor; zeros at first."""
        return zeros_for(_CONTROL, model)

    def begin(self, start: LocalStart) -> None:
        """Begin with what the site kept, or nothing, and what all sites have together.

        Raises:
            TaskError: If the global model was made without this algorithm.
        """
        self._all = start.own(_CONTROL)
        self._own = {name: start.state.get(name, 0 * weight) for name, weight in start.weights.items()}
        self._sum, self._steps = {}, 0

    def adjust(self, gradients: Tensors, weights: Tensors) -> Tensors:  # noqa: ARG002 - the protocol's
        """Return ``gradient - c_i + c``, and remember the gradient."""
        self._steps += 1
        for name, gradient in gradients.items():
            self._sum[name] = self._sum[name] + gradient if name in self._sum else 1 * gradient
        return {name: gradient - self._own[name] + self._all[name] for name, gradient in gradients.items()}

    def after_step(self, weights: Tensors) -> None:
        """Do nothing."""

    def end(self, weights: Tensors) -> LocalEnd:
        """Send c plus what c_i has moved by, and keep c_i."""
        steps = max(1, self._steps)
        kept = {name: self._sum[name] / steps if name in self._sum else 0 * weight for name, weight in weights.items()}
        sent = {f"{_CONTROL}/{name}": self._all[name] + (kept[name] - self._own[name]) for name in kept}
        self._own, self._all, self._sum = {}, {}, {}
        return LocalEnd(sent, kept)
