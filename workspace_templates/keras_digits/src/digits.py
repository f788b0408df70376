"""Handwritten digits: a small network."""

import keras
import numpy as np

from openfl_like.frameworks.keras import KerasRunner
from openfl_like.frameworks.runner import DataLoader, RunnerContext


class DigitsRunner(KerasRunner):
    """One hidden layer, ten outputs.

    Args:
        loader: Images of the site.
        context: Where to work.
        hidden: Units of the hidden layer.
        lr: Learning rate.
        momentum: Share of the last step that is kept.
    """

    def __init__(
        self,
        loader: DataLoader[np.ndarray],
        context: RunnerContext,
        *,
        hidden: int = 64,
        lr: float = 0.1,
        momentum: float = 0.9,
    ) -> None:
        super().__init__(loader, context)
        self._hidden = hidden
        self._lr = lr
        self._momentum = momentum

    def build_model(self) -> keras.Model:
        """8 x 8 pixels in, one score for each digit out."""
        layers = keras.layers
        return keras.Sequential(
            [
                keras.Input(self.context.sample_shape),
                layers.Flatten(),
                layers.Dense(self._hidden, activation="relu"),
                layers.Dense(10),
            ]
        )

    def build_optimizer(self) -> keras.optimizers.Optimizer:
        """Gradient descent with momentum."""
        return keras.optimizers.SGD(learning_rate=self._lr, momentum=self._momentum)
