"""Sketches of updates: a few numbers that are about as far from each other as the updates are."""

import numpy as np

from openfl_like.federation.seeds import derive_seed
from openfl_like.tensors.encoded import ModelReader
from openfl_like.tensors.matching import own_tensors
from openfl_like.tensors.named import compare

DIMENSION = 32
"""How many numbers a sketch has."""
_BLOCK = 1 << 16
"""So many elements are looked at at once."""

_MOST = 1e30
"""Of each number: squares and sums of more would be none."""


def sketch(update: ModelReader, base: ModelReader | None, seed: int) -> tuple[float, ...]:
    """Return an update's sketch: each element is added to one of `DIMENSION` sums, or taken from it, by lot.

    This is feature hashing (Weinberger et al. 2009, arXiv:0902.2206), or a row of a count sketch (Charikar, Chen and
    Farach-Colton 2002): squared distances are kept on the average over the lots. The elements of floating-point tensors
    count, but for those of an algorithm and of an optimizer.

    Args:
        update: What is looked at.
        base: The model that is taken from it; None: none is.
        seed: Of the lots; sketches of one seed can be compared.

    Returns:
        The numbers; none of an update that does not fit the model, or is not finite.
    """
    if base is not None and compare(base.schema, update.schema):
        return ()
    total = np.zeros(DIMENSION)
    for spec in own_tensors(update.schema):
        random = np.random.Generator(np.random.PCG64(derive_seed(seed, "sketch", spec.name)))
        elements, start_from = update.flat(spec.name), None if base is None else base.flat(spec.name)
        for start in range(0, spec.size, _BLOCK):
            part = slice(start, min(start + _BLOCK, spec.size))
            values = np.asarray(elements[part], np.float64)
            if start_from is not None:
                values = values - np.asarray(start_from[part], np.float64)
            lots = random.integers(0, 2 * DIMENSION, len(values))
            total += np.bincount(lots >> 1, np.where(lots % 2, values, -values), DIMENSION)
    return tuple(np.clip(total, -_MOST, _MOST).tolist()) if np.isfinite(total).all() else ()
