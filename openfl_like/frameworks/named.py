"""Which learning frameworks a plan and its workspace name: read from the text, no submitted code is run."""

import ast
from collections.abc import Iterator
from pathlib import Path

from openfl_like.plan.schema import Plan
from openfl_like.registry import BUILTIN

PYTORCH, TENSORFLOW, SKLEARN, JAX = "torch", "tensorflow", "sklearn", "jax"
OF_MODULE = {"torch": PYTORCH, "tensorflow": TENSORFLOW, "keras": TENSORFLOW, "sklearn": SKLEARN, "jax": JAX}
OWN = "openfl_like.frameworks."
_MOST_OF_A_FILE, _MOST_BYTES = 256 << 10, 1 << 20
"""How much code is read: a parsed module takes up to a thousand times its size, and this happens in the Envoy."""


def named_frameworks(plan: Plan, workspace: Path) -> frozenset[str]:
    """Return the frameworks that the plan's parts or any module of the workspace import.

    Args:
        plan: The plan.
        workspace: Directory with the submitted code; what cannot be parsed, or is too much, names nothing.
    """
    parts = {"task_runner": plan.task_runner, "data_loader": plan.data_loader}
    modules = {BUILTIN[kind].get(part.template, part.template).partition(":")[0] for kind, part in parts.items()}
    for file in _readable(workspace):
        modules.update(_imported(file))
    return frozenset(framework for module in modules if (framework := _framework_of(module)))


def _readable(workspace: Path) -> Iterator[Path]:
    """Yield modules, of which none is too large, until they are too much together."""
    left = _MOST_BYTES
    for file in sorted(path for path in workspace.rglob("*.py") if path.is_file()):
        size = file.stat().st_size
        if size <= min(left, _MOST_OF_A_FILE):
            left -= size
            yield file


def _framework_of(module: str) -> str:
    """Name the framework that a module belongs to, or that our module of it is for; empty for any other."""
    word = module.removeprefix(OWN).partition(".")[0].partition("_")[0]
    return OF_MODULE.get(word, "")


def _imported(file: Path) -> Iterator[str]:
    try:
        nodes = list(ast.walk(ast.parse(file.read_bytes())))
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
