import ml_dtypes
import numpy as np
import pytest

from openfl_like.errors import TensorError
from openfl_like.tensors.named import DTYPES, TensorSpec, compare, schema_of


def test_schema_is_sorted_by_name() -> None:
    schema = schema_of({"b": np.zeros(2, np.float32), "a": np.zeros((3, 0), ml_dtypes.bfloat16)})
    assert schema == (TensorSpec("a", "BF16", (3, 0)), TensorSpec("b", "F32", (2,)))


@pytest.mark.parametrize("name", sorted(DTYPES))
def test_every_dtype_is_known_by_its_name(name: str) -> None:
    assert schema_of({"x": np.zeros(1, DTYPES[name])})[0].dtype == name


@pytest.mark.parametrize("dtype", ["O", "c16", "U3", ">f4", "M8[s]", "V4"])
def test_a_dtype_without_a_name_is_refused(dtype: str) -> None:
    with pytest.raises(TensorError, match="cannot hold"):
        schema_of({"x": np.zeros(1, dtype)})


def test_compare_is_silent_about_equals() -> None:
    schema = schema_of({"a": np.zeros(2)})
    assert compare(schema, schema) == ""


def test_compare_names_every_kind_of_difference() -> None:
    expected = schema_of({"gone": np.zeros(1), "shape": np.zeros((2, 2)), "dtype": np.zeros(3, np.float32)})
    actual = schema_of({"new": np.zeros(1), "shape": np.zeros((2, 3)), "dtype": np.zeros(3, np.float16)})
    assert compare(expected, actual) == (
        "missing: gone; unexpected: new; "
        "different: 'dtype' F16[3] instead of F32[3], 'shape' F64[2, 3] instead of F64[2, 2]"
    )


def test_compare_stays_one_short_line() -> None:
    actual = schema_of({f"t{index}": np.zeros(1) for index in range(100)})
    assert compare((), actual).endswith("and 95 more")
