"""Conversion to and from half precision at the speed of memory.

Numpy converts each number on its own and stops at every one that becomes subnormal, which most of the differences
between two models do: that takes twenty times as long as the bits take here.
"""

from functools import cache

import numpy as np
import numpy.typing as npt

from openfl_like.tensors.named import Array

_SIGN = np.uint32(0x8000)
_INFINITY = np.uint32(0x7C00)
_LEAST_NORMAL = np.uint32(0x38800000)  # 2**-14 as a float32
_REBIAS = np.uint32(0x38000000 - 0x0FFF)  # exponents begin 112 lower; and just less than half of the last bit


def to_half(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float16]:
    """Rounds to the nearest, ties to even; what is too large becomes infinite. Hand in blocks that fit the cache.

    Args:
        values: A vector without NaN.
    """
    bits = values.view(np.uint32)
    magnitude = bits & np.uint32(0x7FFFFFFF)
    half = magnitude >> np.uint32(13)
    half &= np.uint32(1)  # a tie goes up if the last bit is odd
    half += magnitude
    half -= _REBIAS
    half >>= np.uint32(13)
    # Adding 0.5 rounds at 2**-24, the place of a subnormal's last bit.
    subnormal = (magnitude.view(np.float32) + np.float32(0.5)).view(np.uint32)
    subnormal -= np.float32(0.5).view(np.uint32)
    np.copyto(half, subnormal, where=magnitude < _LEAST_NORMAL)
    np.minimum(half, _INFINITY, out=half)
    sign = bits >> np.uint32(16)
    sign &= _SIGN
    half |= sign
    return half.astype(np.uint16).view(np.float16)


def from_half(values: Array) -> npt.NDArray[np.float64]:
    """Widen by looking each of the 65536 numbers up."""
    return _all_halves().take(values.view(np.uint16))


@cache
def _all_halves() -> npt.NDArray[np.float64]:
    return np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float64)
