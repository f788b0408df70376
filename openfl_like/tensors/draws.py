"""Random numbers that are a function of a key and a position: any part of a stream can be made without the rest."""

from hashlib import blake2b
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Draws: TypeAlias = npt.NDArray[np.uint64]

_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIXERS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))


def stream_key(seed: int, name: str) -> int:
    """Derive the key of a tensor's own stream from the update's seed."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8, key=seed.to_bytes(8, "little")).digest(), "little")


def draws(key: int, start: int, stop: int) -> Draws:
    """Return the numbers ``start`` to ``stop`` of a stream, each of 64 bits.

    SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators", figure 15) as a counter:
    whole-number arithmetic alone, so the same on every machine and with every version of numpy.
    """
    state = np.arange(start + 1, stop + 1, dtype=np.uint64)
    state *= _STEP
    state += np.array([key], dtype=np.uint64)
    shifted = np.empty_like(state)
    for shift, factor in _MIXERS:
        state ^= np.right_shift(state, np.uint64(shift), out=shifted)
        state *= np.uint64(factor)
    state ^= np.right_shift(state, np.uint64(31), out=shifted)
    return state


def fractions(key: int, start: int, stop: int) -> npt.NDArray[np.uint16]:
    """Return the numbers ``start`` to ``stop`` of another stream, each of 16 bits: parts of 2**16, even over [0, 1).

    Four of them are cut from each number of `draws`, the lowest bits first.
    """
    first = start // 4
    return draws(key, first, -(-stop // 4)).view("<u2")[start - 4 * first : stop - 4 * first]
