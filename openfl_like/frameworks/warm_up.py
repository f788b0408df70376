"""What a worker can do before it knows its experiment: the imports of a framework, and what its first step imports.

Nothing is left behind but modules: no random generator, no setting and no name that a framework counts up is changed,
or a worker that was warmed up would not give the bytes of one that was not.
"""

from collections.abc import Collection
from importlib import import_module

from openfl_like.frameworks.named import JAX, PYTORCH, SKLEARN, TENSORFLOW

ALWAYS = (
    "openfl_like.data.shard",
    "openfl_like.data.shard_file",
    "openfl_like.frameworks.perform",
    "openfl_like.plan.digest",
)
MODULES = {
    PYTORCH: "openfl_like.frameworks.torch",
    TENSORFLOW: "openfl_like.frameworks.keras",  # no step: Keras numbers the layers of a process
    SKLEARN: "openfl_like.frameworks.sklearn",
    JAX: "openfl_like.frameworks.jax",
}


def warm_up(frameworks: Collection[str]) -> None:
    """Import what every worker needs, and these frameworks.

    Raises:
        ImportError: If one of them is not installed.
    """
    for module in ALWAYS:
        import_module(module)
    for framework in frameworks:
        import_module(MODULES[framework])
    if PYTORCH in frameworks:
        import_module("openfl_like.frameworks.torch_first_step").first_step()
