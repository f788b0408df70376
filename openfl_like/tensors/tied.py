"""Tensors of one model that are one tensor under several names, as tied weights are: they are compressed alike."""

from collections import defaultdict

from blake3 import blake3

from openfl_like.tensors.container import TensorFile
from openfl_like.tensors.named import TensorSpec, bytes_of

GLANCE = 4096
"""Elements of a tensor that are looked at first: nearly all that differ do so here."""


def first_names(model: TensorFile) -> dict[str, str]:
    """Return, for each floating-point tensor of a global model, the first name of those with its dtype, shape and bits.

    Who compresses and who reads have the same model, so nobody has to say which weights are tied.
    """
    alike: dict[tuple[object, ...], list[TensorSpec]] = defaultdict(list)
    for spec in model.schema:
        if spec.is_float:
            alike[spec.dtype, spec.shape].append(spec)
    found: dict[str, str] = {}
    for group in alike.values():
        for same in _split(model, group, GLANCE):
            for equal in _split(model, same, None):
                found |= {spec.name: equal[0].name for spec in equal}
    return found


def _split(model: TensorFile, specs: list[TensorSpec], elements: int | None) -> list[list[TensorSpec]]:
    """Divide tensors of one shape by their first elements, or by all of them."""
    if len(specs) == 1:
        return [specs]
    parts: dict[bytes, list[TensorSpec]] = defaultdict(list)
    for spec in specs:
        values = model.flat(spec.name)[:elements]
        parts[blake3(bytes_of(values)).digest()].append(spec)
    return list(parts.values())
