"""NaN and infinity are found in every width, and nothing else is taken for them."""

import numpy as np
import pytest

from openfl_like.tensors.finite import all_finite
from openfl_like.tensors.named import DTYPES


@pytest.mark.parametrize("name", ["F16", "BF16"])
def test_every_number_of_sixteen_bits_is_judged_as_numpy_does(name: str) -> None:
    every = np.arange(2**16, dtype=np.uint16).view(DTYPES[name])
    with np.errstate(invalid="ignore"):  # signalling NaNs
        wanted = np.isfinite(every.astype(np.float64)).tolist()
    assert [all_finite(every[place : place + 1]) for place in range(2**16)] == wanted
    assert not all_finite(every)


@pytest.mark.parametrize("name", ["F16", "BF16", "F32", "F64"])
def test_one_bad_value_is_found_and_the_largest_numbers_are_good(name: str) -> None:
    dtype = DTYPES[name]
    largest = {"F16": 65504.0, "BF16": float.fromhex("0x1.fep127"), "F32": float(np.finfo(np.float32).max)}
    values = np.full(1001, largest.get(name, 1.7e308), dtype)
    assert all_finite(values)
    assert all_finite(-values)
    assert all_finite(values[:0])
    for bad in (np.nan, np.inf, -np.inf):
        values[500] = bad
        assert not all_finite(values)
        assert all_finite(values[501:])
