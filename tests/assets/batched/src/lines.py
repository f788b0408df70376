"""A runner of numpy."""

import numpy as np

from openfl_like.frameworks.numpy import NumpyRunner, Tensors


class Line(NumpyRunner):
    """A straight line."""

    def build_model(self, random: np.random.Generator) -> Tensors:
        return {"weights": np.zeros((6, 2), np.float32)}

    def predict(self, model: Tensors, samples: np.ndarray) -> np.ndarray:
        return samples @ model["weights"]

    def gradient(self, model: Tensors, samples: np.ndarray, targets: np.ndarray) -> tuple[float, Tensors]:
        off = self.predict(model, samples) - targets
        return float((off**2).mean()), {"weights": 2 * samples.T @ off / off.size}
