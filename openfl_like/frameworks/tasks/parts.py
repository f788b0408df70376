"""Looking at the parts of a plan that work at a site: whether they have all that is asked of them."""

import inspect
from collections.abc import Callable

from openfl_like.errors import TaskError


def check_members(part: object, protocol: type, what: str) -> None:
    """Refuse a part that lacks something which only a later round would ask for."""
    wanted = [name for name in vars(protocol) if not name.startswith("_")]
    lacking = [name for name in wanted if not hasattr(type(part), name) and name not in dir(part)]
    if lacking:
        names = ", ".join(f"'{name}'" for name in lacking)
        cure = f"add it to the class; {protocol.__module__}.{protocol.__name__} says what each does"
        raise TaskError(f"{what}: the class {type(part).__name__} has no {names}", cure=cure)


def parameters_of(function: Callable[..., object]) -> frozenset[str]:
    """Return the names of a function's parameters; none if it does not tell them."""
    try:
        return frozenset(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return frozenset()
