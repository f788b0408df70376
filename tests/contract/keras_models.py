"""Keras models for the contract of task runners; imported only by the process that runs them."""

import keras
from keras import layers

from openfl_like.frameworks.keras import KerasRunner


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
