"""FedCurv: each site stays near what the others have found, where these would lose much by a change."""

from typing import Annotated

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from openfl_like.frameworks.algorithms.base import LocalEnd, LocalStart, zeros_for
from openfl_like.frameworks.algorithms.gradients import SiteGradients
from openfl_like.frameworks.model import Tensor, Tensors

_FISHER, _WEIGHTED = "fisher", "fisher_weights"
_COUNT, _ROUNDS, _ROUND = "count", "rounds", "round"


@dataclass(kw_only=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
class FedCurv:
    """FedCurv, client side: each step goes along ``gradient + 2 lambda (U w - V)``.

    Shoham et al. 2019, "Overcoming Forgetting in Federated Learning on Non-IID Data", arXiv:1910.07796, section 3: a
    site i minimises ``F_i(w) + lambda sum_j (w - w_j)' diag(I_j) (w - w_j)`` over the other sites j of the round
    before, w_j being what they sent and I_j the diagonal of their Fisher information there. Of that only the sums over
    j are needed, of ``u_j = diag(I_j)`` and ``v_j = diag(I_j) w_j``: each site sends both, and takes its own off the
    sums to have U and V. The server half is `FedCurvServer`.

    Deviations: I_j is taken from the gradients of whole batches, see `gradients.SiteGradients.squares_of_all`; the
    average of the models is that of the plan, weighted by samples unless ``weighted: false`` says otherwise; in a round
    for which only some sites were chosen, the others are those that made the model it starts from.

    At the site u and v are kept, each the size of the trained weights; their sums are sent with the model, both ways.
    What a site takes off them, it takes off before the numbers are compressed.

    Args:
        pull: The paper's lambda. Steps overshoot if it is too large for the learning rate; begin with 0.001.
    """

    pull: Annotated[float, Field(ge=0)]

    def __post_init__(self) -> None:
        self._fisher: dict[str, Tensor] = {}
        self._weighted: dict[str, Tensor] = {}
        self._one: Tensor = None
        self._round = 0
        self._gradients = SiteGradients()

    def shared(self, model: Tensors) -> Tensors:
        """Send u and v for each floating-point tensor, how many sites these are of and in which round; zeros first."""
        number = np.zeros((), np.float32)
        return {**zeros_for(_FISHER, model), **zeros_for(_WEIGHTED, model), _COUNT: number, _ROUNDS: number}

    def begin(self, start: LocalStart) -> None:
        """Take the sums, less what the site has told of itself if that is in them.

        Raises:
            TaskError: If the global model was made without this algorithm.
        """
        self._fisher, self._weighted = start.own(_FISHER), start.own(_WEIGHTED)
        self._one, self._round, self._gradients = start.like(np.ones((), np.float32)), start.round, start.gradients
        count, kept = float(start.shared[_COUNT]), start.state
        told_in = float(start.shared[_ROUNDS]) / count if count else 0.0
        if kept and float(kept[_ROUND]) == round(told_in):
            self._fisher = {name: total - kept[f"{_FISHER}/{name}"] for name, total in self._fisher.items()}
            self._weighted = {name: total - kept[f"{_WEIGHTED}/{name}"] for name, total in self._weighted.items()}

    def adjust(self, gradients: Tensors, weights: Tensors) -> Tensors:
        """Return ``gradient + 2 lambda (U w - V)``."""
        if not self.pull:
            return gradients
        return {
            name: gradient + 2 * self.pull * (self._fisher[name] * weights[name] - self._weighted[name])
            for name, gradient in gradients.items()
        }

    def after_step(self, weights: Tensors) -> None:
        """Do nothing."""

    def end(self, weights: Tensors) -> LocalEnd:
        """Look at all samples once more, and send u and v."""
        found = self._gradients.squares_of_all(weights)
        fisher = {name: found[name] if name in found else 0 * weight for name, weight in weights.items()}
        told = {f"{_FISHER}/{name}": square for name, square in fisher.items()}
        told |= {f"{_WEIGHTED}/{name}": square * weights[name] for name, square in fisher.items()}
        number = self._round * self._one
        sent = {**told, _COUNT: self._one, _ROUNDS: number}
        self._fisher, self._weighted = {}, {}
        return LocalEnd(sent, {**told, _ROUND: number})
