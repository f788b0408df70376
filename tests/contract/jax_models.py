"""JAX models for the contract of task runners; imported only by a run that may import JAX."""

import jax
import numpy as np
from jax import numpy as jnp

from openfl_like.frameworks.jax import GradientDescent, JaxRunner
from openfl_like.frameworks.jax_model import Array, JaxOptimizer, Tree

jax.config.update("jax_enable_x64", True)  # noqa: FBT003 - JAX takes it by position only


class Net(JaxRunner):
    """Two layers with dropout between them, which draws."""

    def build_model(self, key: Array) -> Tree:
        first, second = jax.random.split(key)
        return {
            "dense": {"weight": 0.5 * jax.random.normal(first, (3, 5), np.float32), "bias": jnp.zeros(5, np.float32)},
            "out": [0.5 * jax.random.normal(second, (5, 1), np.float32), jnp.zeros(1, np.float32)],
        }

    def predict(self, params: Tree, samples: Array, key: Array | None) -> Array:
        hidden = jax.nn.tanh(samples @ params["dense"]["weight"] + params["dense"]["bias"])
        if key is not None:
            hidden = hidden * jax.random.bernoulli(key, 0.8, hidden.shape) / np.float32(0.8)
        return hidden @ params["out"][0] + params["out"][1]

    def build_optimizer(self) -> JaxOptimizer:
        return GradientDescent(lr=0.1, momentum=0.9)


class Mixed(JaxRunner):
    """An array of each dtype, and a counter that nothing counts up."""

    def build_model(self, key: Array) -> Tree:
        dtypes = ("float16", "bfloat16", "float64")
        arrays = {dtype: jax.random.normal(key, (3, 1)).astype(dtype) for dtype in dtypes}
        return {**arrays, "count": jnp.zeros((), np.int64)}

    def predict(self, params: Tree, samples: Array, key: Array | None) -> Array:  # noqa: ARG002 - nothing is drawn
        return samples @ sum(params[dtype].astype(np.float64) for dtype in ("float16", "bfloat16", "float64"))


class Logistic(JaxRunner):
    """Logistic regression in float64."""

    def build_model(self, key: Array) -> Tree:  # noqa: ARG002 - nothing is drawn
        return {"weight": jnp.zeros(3), "bias": jnp.zeros(())}

    def predict(self, params: Tree, samples: Array, key: Array | None) -> Array:  # noqa: ARG002 - as above
        return samples @ params["weight"] + params["bias"]


class Line(JaxRunner):
    """A linear model with so many outputs."""

    outputs = 1

    def build_model(self, key: Array) -> Tree:  # noqa: ARG002 - nothing is drawn
        return {"weight": jnp.zeros((3, self.outputs), np.float32), "bias": jnp.zeros(self.outputs, np.float32)}

    def predict(self, params: Tree, samples: Array, key: Array | None) -> Array:  # noqa: ARG002 - as above
        return samples @ params["weight"] + params["bias"]
