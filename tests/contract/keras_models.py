"""Keras models for the contract of task runners; imported only by the process that runs them."""

import keras
import numpy as np
from keras import layers

from openfl_like.frameworks.algorithms.session import LocalSession
from openfl_like.frameworks.keras import KerasRunner
from openfl_like.frameworks.keras_model import KerasNetwork
from openfl_like.frameworks.model import Model


class Net(KerasRunner):
    """Batch normalisation brings weights that are not trained, dropout a generator."""

    def build_model(self) -> keras.Model:
        return keras.Sequential(
            [
                layers.Dense(5),
                layers.BatchNormalization(momentum=0.9),
                layers.Dropout(0.2),
                layers.ReLU(),
                layers.Dense(1),
            ]
        )

    def build_optimizer(self) -> keras.optimizers.Optimizer:
        return keras.optimizers.SGD(learning_rate=0.1, momentum=0.9)


class Adaptive(Net):
    def build_optimizer(self) -> keras.optimizers.Optimizer:
        return keras.optimizers.Adam(learning_rate=0.01)


class Counter(layers.Layer):  # type: ignore[misc] # Keras has no types
    """Counts the batches that it was trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.count = self.add_weight(shape=(), dtype="int64", initializer="zeros", trainable=False, name="count")

    def call(self, inputs: object, training: bool = False) -> object:  # noqa: FBT001, FBT002 - as Keras calls it
        if training:
            self.count.assign_add(keras.ops.ones((), "int64"))
        return inputs


class Mixed(KerasRunner):
    """A layer of each dtype, and a counter."""

    def build_model(self) -> keras.Model:
        halves = [layers.Dense(4, dtype=dtype) for dtype in ("float64", "float16", "bfloat16")]
        return keras.Sequential([*halves, Counter(), layers.Dense(1)])


class Logistic(KerasRunner):
    """Logistic regression in float64."""

    def build_model(self) -> keras.Model:
        return keras.Sequential([keras.Input((3,), dtype="float64"), layers.Dense(1, dtype="float64")])


class Line(KerasRunner):
    """A linear model with so many outputs."""

    outputs = 1

    def build_model(self) -> keras.Model:
        return keras.Sequential([keras.Input((3,)), layers.Dense(self.outputs)])


class Quadratic(layers.Layer):  # type: ignore[misc] # Keras has no types
    """Gives the square root of twice its loss."""

    def __init__(self, curvature: float, centre: float) -> None:
        super().__init__(dtype="float64")
        self.x = self.add_weight(shape=(1,), dtype="float64", initializer="zeros", name="x")
        self._scale, self._centre = np.float64(curvature**0.5), np.float64(centre)

    def call(self, inputs: object) -> object:
        return self._scale * (self.x - self._centre) + 0 * inputs  # type: ignore[operator] # as Keras gives it


class QuadraticSite:
    """See `quadratics.Site`."""

    def __init__(self, curvature: float, centre: float, rate: float) -> None:
        self._layer = Quadratic(curvature, centre)
        network = keras.Sequential([keras.Input((1,), dtype="float64"), self._layer])
        optimizer = keras.optimizers.SGD(learning_rate=rate)
        optimizer.build(network.trainable_variables)
        self.batch = np.zeros((1, 1)), np.zeros((1, 1))
        found = KerasNetwork(network, optimizer, ["x"], lambda outputs, _: keras.ops.sum(outputs**2) / 2, "/CPU:0")
        found.plain = False
        self.model: Model = found

    def move_to(self, x: float) -> None:
        self._layer.x.assign([x])

    def step(self, session: LocalSession) -> None:
        _, gradients = self.model.loss_and_gradients(*self.batch)
        self.model.apply(session.adjust(gradients, self.model))
        session.after_step(self.model)
