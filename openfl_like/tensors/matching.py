"""Tensors of a model that are named by patterns."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from openfl_like.errors import TensorError
from openfl_like.tensors.named import ALGORITHM, OPTIMIZER, Schema, TensorSpec

_SHOWN = 5


def matched(names: Iterable[str], patterns: Sequence[str]) -> dict[str, int]:
    """Say which tensors of the model itself have which pattern; what an algorithm or an optimizer adds has none.

    Args:
        names: Of all tensors.
        patterns: As in ``*.bn.*``; ``*`` is any text, ``?`` a character, ``[ab]`` one of these. Large and small letters
            differ. Of several that match, the first counts.

    Returns:
        Tensor -> the place of its pattern, from 0; without those that have none.

    Raises:
        TensorError: If a pattern matches nothing that none before it does.
    """
    own = [name for name in names if not name.startswith((ALGORITHM, OPTIMIZER))]
    found = {name: place for name in own if (place := _first(name, patterns)) is not None}
    for place, pattern in enumerate(patterns):
        if place not in found.values():
            before = any(fnmatchcase(name, pattern) for name in own)
            why = "matches only what a rule before it matches" if before else "matches no tensor of the model"
            raise TensorError(
                f"aggregation.rules[{place}].match: '{pattern}' {why}",
                cure="remove that rule, or put it first" if before else f"its tensors are {_listed(own)}",
            )
    return found


def own_tensors(schema: Schema) -> list[TensorSpec]:
    """Return the floating-point tensors of the model itself, sorted by name."""
    own = (spec for spec in schema if spec.is_float and not spec.name.startswith((ALGORITHM, OPTIMIZER)))
    return sorted(own, key=lambda spec: spec.name)


def _first(name: str, patterns: Sequence[str]) -> int | None:
    return next((place for place, pattern in enumerate(patterns) if fnmatchcase(name, pattern)), None)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in sorted(names)[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown
