"""Logistic regression in numpy, over data of two classes."""

import numpy as np

from openfl_like.frameworks.numpy import NumpyRunner, Tensors
from openfl_like.frameworks.runner import DataLoader, RunnerContext


class Logistic(NumpyRunner):
    """One output: the log-odds of the second class.

    Args:
        loader: Data of the site.
        context: Where to work.
        lr: Learning rate.
    """

    stateless = True  # nothing but the model is kept between assignments: simulated sites may share a runner

    def __init__(self, loader: DataLoader[np.ndarray], context: RunnerContext, *, lr: float = 0.1) -> None:
        super().__init__(loader, context, lr=lr)

    def build_model(self, random: np.random.Generator) -> Tensors:
        """One small random weight for each feature, and a bias."""
        features = self.context.sample_shape[0]
        return {
            "weight": random.normal(0, 0.01, features).astype(np.float32),
            "bias": np.zeros((), dtype=np.float32),
        }

    def predict(self, model: Tensors, samples: np.ndarray) -> np.ndarray:
        """Log-odds, ``[n]``."""
        scores: np.ndarray = samples @ model["weight"] + model["bias"]
        return scores

    def gradient(self, model: Tensors, samples: np.ndarray, targets: np.ndarray) -> tuple[float, Tensors]:
        """Mean logistic loss and its gradient."""
        scores = self.predict(model, samples)
        loss = float(np.mean(np.logaddexp(0, scores) - targets * scores))
        error = (1 / (1 + np.exp(-scores)) - targets) / len(targets)
        return loss, {"weight": samples.T @ error, "bias": error.sum()}
