"""Half precision: the same bits as numpy's, for every kind of number."""

import numpy as np
import pytest

from openfl_like.tensors.halves import from_half, to_half


def test_rounding_is_that_of_numpy() -> None:
    every = np.arange(0, 2**32, 4099, dtype=np.uint64).astype(np.uint32).view(np.float32)  # signs, exponents, mantissas
    edges = [0, 65504, 65519.996, 65520, 1e38, 2**-14, 2**-14 * (1 - 2**-12), 2**-24, 2**-25, 2**-25 * 1.0001, 1e-45]
    ties = np.arange(1, 4096, 2) * 2.0**-25
    others = np.concatenate([edges, np.negative(edges), ties, 1 + ties * 2**14]).astype(np.float32)
    values = np.concatenate([every[~np.isnan(every)], others])
    with np.errstate(all="ignore"):
        wanted = values.astype(np.float16)
    with np.errstate(all="raise"):
        assert to_half(values).tobytes() == wanted.tobytes()


def test_every_half_is_widened_exactly() -> None:
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    wide = from_half(halves)
    assert wide.dtype == np.float64
    assert np.array_equal(wide, halves.astype(np.float64), equal_nan=True)


@pytest.mark.parametrize("size", [0, 1, 7])
def test_any_size(size: int) -> None:
    assert to_half(np.ones(size, np.float32)).tolist() == [1.0] * size
    assert from_half(np.ones(size, np.float16)).tolist() == [1.0] * size
