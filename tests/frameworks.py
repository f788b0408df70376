"""Which learning frameworks a test process may import: PyTorch, TensorFlow and JAX never share one.

TensorFlow's tests have a run of their own, ``pytest --frameworks tensorflow``, and so have JAX's, which are skipped
where it is not installed; ``--frameworks none`` runs what needs no framework and passes where none is installed.
"""

import sys
from collections.abc import Collection

import pytest

DEFAULT = "torch"
FORBIDDEN = {
    "torch": {"tensorflow", "jax"},
    "tensorflow": {"torch", "jax"},
    "jax": {"torch", "tensorflow"},
    "none": {"torch", "tensorflow", "sklearn", "jax"},
}
"""Run -> the modules that nothing in it may import. PyTorch's run has scikit-learn, too."""
ALONE = frozenset({"tensorflow", "jax"})
"""Runs that have no tests but their framework's."""
MARKS = {
    "torch": pytest.mark.torch,
    "keras": pytest.mark.tensorflow,
    "sklearn": pytest.mark.sklearn,
    "jax": pytest.mark.jax,
}


def marks_of(name: str) -> tuple[pytest.MarkDecorator, ...]:
    """Return the marks of a test's parameter that names a framework."""
    return tuple(mark for word, mark in MARKS.items() if word in name)


def belongs(marks: Collection[str], run: str) -> bool:
    """Whether a test with these marks is one of a run."""
    if run in ALONE:
        return run in marks
    return not set(marks) & FORBIDDEN[run]


def imports_another(module: str, run: str) -> bool:
    """Whether a test module imports at its top what its run may not: one that is named after its framework may."""
    return run != "torch" and module.rpartition("_")[2] in {"torch", "sklearn"}


def intruders(run: str, imported: Collection[str]) -> set[str]:
    """Return what was imported against the rule."""
    return FORBIDDEN[run].intersection(imported)


def check(run: str) -> None:
    """Fail if this process has imported what it may not."""
    found = intruders(run, sys.modules)
    if found:
        pytest.fail(f"{', '.join(sorted(found))} is imported in the run of --frameworks {run}: see tests/frameworks.py")
