"""The half of an algorithm that runs at the sites; only there is it imported."""

import numpy as np

from openfl_like.frameworks.algorithms.base import LocalEnd, LocalStart, zeros_for
from openfl_like.frameworks.model import Tensors


class CarriedDrift:
    """Every step goes a little the way that all sites went together in the rounds before.

    After FedCM (Xu et al. 2021, arXiv:2106.10874, algorithm 1). Deviations: the drift is a step's mean change of the
    weights instead of a gradient, and the server keeps a running mean of it (`src.numbers.CarriedDriftServer`).

    Args:
        share: How much of a step is the drift's.
        keep: For the server.
    """

    def __init__(self, share: float, keep: float) -> None:
        self.share, self.keep = share, keep

    def shared(self, model: Tensors) -> Tensors:
        """First values of what is sent beside the model: no drift."""
        return zeros_for("drift", model)

    def begin(self, start: LocalStart) -> None:
        """Begin to train from the global model."""
        self.start, self.drift, self.steps = start, start.own("drift"), 0

    def adjust(self, gradients: Tensors, weights: Tensors) -> Tensors:
        """Mix the drift into the gradients."""
        return {
            name: (1 - self.share) * gradient + self.share * self.drift[name] for name, gradient in gradients.items()
        }

    def after_step(self, weights: Tensors) -> None:
        """Count the steps."""
        self.steps += 1

    def end(self, weights: Tensors) -> LocalEnd:
        """Send how far a step went, on the mean."""
        steps = max(self.steps, 1)
        before = self.start.weights
        return LocalEnd(
            {f"drift/{name}": (before[name] - weight) / np.float32(steps) for name, weight in weights.items()}
        )
