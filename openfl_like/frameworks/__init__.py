"""Learning code: task runners and data loaders for each framework, and the one function that performs an assignment.

Layer `frameworks`, beside `wire`, `store` and `data` (none of them imports another). Runtimes and the worker process
import `perform`; the code of a workspace imports `torch` or `numpy` from here. Only `torch*` imports PyTorch, `keras*`
Keras and TensorFlow, `jax*` JAX, `sklearn` scikit-learn; none is loaded before a plan names it.
"""
