"""Random numbers that are a function of a key and a position: any part of a stream can be made without the rest."""

from hashlib import blake2b
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Draws: TypeAlias = npt.NDArray[np.uint64]

_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIXERS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))


def stream_key(seed: int, name: str) -> int:
    """Derives the key of a tensor's own stream from the update's seed."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8, key=seed.to_bytes(8, "little")).digest(), "little")


def draws(key: int, start: int, stop: int) -> Draws:
    """Gives the numbers ``start`` to ``stop`` of a stream, each of 64 bits.

    SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators", figure 15) as a counter:
    whole-number arithmetic alone, so the same on every machine and with every version of numpy.
    """
    state = np.arange(start + 1, stop + 1, dtype=np.uint64) * _STEP + np.array([key], dtype=np.uint64)
    for shift, factor in _MIXERS:
        state = (state ^ (state >> np.uint64(shift))) * np.uint64(factor)
    return state ^ (state >> np.uint64(31))


def uniforms(key: int, start: int, stop: int) -> npt.NDArray[np.float64]:
    """Gives the numbers ``start`` to ``stop`` of a stream as float64, even over [0, 1)."""
    return (draws(key, start, stop) >> np.uint64(11)).astype(np.float64) * 2.0**-53
