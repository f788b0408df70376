"""What people take out of tables and files, and what they are told of it."""

import numpy as np
import pytest

from openfl_like.data.arrays import check_is_array, check_values
from openfl_like.errors import ShardError

LIMITS = (-100.0, 100.0)
ANY = (-np.inf, np.inf)


def rows(dtype: object = np.float32) -> np.ndarray:
    return np.arange(160, dtype=np.float32).reshape(40, 4).astype(dtype) / 10  # type: ignore[call-overload,no-any-return]  # any dtype


def with_values(value: float, *places: tuple[int, ...], shape: tuple[int, ...] = (40, 4)) -> np.ndarray:
    array = np.zeros(shape, np.float32)
    for place in places:
        array[place] = value
    return array


@pytest.mark.parametrize(
    "array", [rows(), rows("float64"), rows("float16"), rows(">f4"), np.arange(3), np.array([True, False])]
)
def test_numbers_are_taken(array: np.ndarray) -> None:
    check_is_array("train samples", array)
    check_values("train samples", array, LIMITS)


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (with_values(np.nan, (7, 2)), "a missing value (NaN) in row 7, column 2 of the array (counted from 0)"),
        (
            with_values(np.nan, (7, 2), (7, 3), (9, 0)),
            "a missing value (NaN) in row 7, column 2 of the array (counted from 0), the first of 3 in 2 rows",
        ),
        (with_values(np.nan, (3,), shape=(5,)), "a missing value (NaN) in row 3 of the array (counted from 0)"),
        (
            with_values(np.nan, (1, 2, 3), shape=(4, 5, 6)),
            "a missing value (NaN) in row 1 at [2, 3] of the array (counted from 0)",
        ),
        (with_values(np.inf, (7, 2)), "an infinite value in row 7, column 2 of the array (counted from 0)"),
        (
            with_values(-np.inf, (0,), (1,), shape=(5,)),
            "an infinite value in row 0 of the array (counted from 0), the first of 2 in 2 rows",
        ),
    ],
)
@pytest.mark.parametrize("limits", [LIMITS, ANY])
def test_what_is_not_finite_is_told_with_its_place_and_a_cure(
    array: np.ndarray, told: str, limits: tuple[float, float]
) -> None:
    with pytest.raises(ShardError) as caught:
        check_values("train samples", array, limits)
    assert caught.value.message == f"the train samples have {told}"
    assert "leave those rows out" in caught.value.cure


@pytest.mark.parametrize(
    ("array", "limits", "told"),
    [
        (np.array([1, 2, 1]), (0.0, 1.0), "reach from 1 to 2, the schema promises 0 to 1; beyond that is row 1"),
        (
            np.array([1, -1, -1]),
            (0.0, 1.0),
            "reach from -1 to 1, the schema promises 0 to 1; beyond that is row 1 of the array (counted from 0), the",
        ),
        (
            with_values(7, (3, 1)),
            (0.0, 1.0),
            "reach from 0 to 7, the schema promises 0 to 1; beyond that is row 3, col",
        ),
    ],
)
def test_what_is_beyond_its_promise_is_told_with_its_place(
    array: np.ndarray, limits: tuple[float, float], told: str
) -> None:
    with pytest.raises(ShardError) as caught:
        check_values("train targets", array, limits)
    assert told in caught.value.message
    assert "classes are counted from 0" in caught.value.cure


@pytest.mark.parametrize(
    ("array", "told", "cure"),
    [
        (np.array(["ill", "well"]), "are text (<U4), not numbers", "a number"),
        (np.array([b"ill"]), "are bytes (|S3), not numbers", "a number"),
        (np.array(["2020-01-01"], "datetime64[D]"), "are dates (datetime64[D]), not numbers", "days since"),
        (np.array([3], "timedelta64[s]"), "are durations (timedelta64[s]), not numbers", "seconds"),
        (np.array([1j]), "are complex numbers (complex128), not numbers", "imaginary"),
        (np.zeros(2, [("age", "f4")]), "are a table with names of columns, not numbers", "stack"),
        (rows(object), "are objects of Python (dtype object), not numbers", "astype"),
        (
            np.array([[1, None]], object),
            "not numbers; row 0, column 1 of the array (counted from 0) has None",
            "astype",
        ),
        (np.array([1, "x"], object), "not numbers; row 1 of the array (counted from 0) has a str", "astype"),
    ],
)
def test_what_is_not_a_number_is_called_what_it_is(array: np.ndarray, told: str, cure: str) -> None:
    with pytest.raises(ShardError) as caught:
        check_values("train samples", array, LIMITS)
    assert told in caught.value.message
    assert cure in caught.value.cure


@pytest.mark.parametrize("row", [list, np.array])
def test_rows_that_are_not_equally_long_are_told(row: type) -> None:
    ragged = np.empty(3, object)
    ragged[:] = [row([1.0, 2.0]), row([1.0, 2.0]), row([1.0])]
    with pytest.raises(
        ShardError, match=r"ragged rows: row 0 has 2 values, row 2 has 1 value \(counted from 0\) \(cut them"
    ):
        check_values("train samples", ragged, LIMITS)


class Table:
    def to_numpy(self) -> np.ndarray:
        return rows()


class Tensor:
    def numpy(self) -> np.ndarray:
        return rows()


@pytest.mark.parametrize(
    ("value", "told", "cure"),
    [
        ([[1.0]], "are a list, not a NumPy array", "numpy.asarray"),
        (Table(), "are a Table, not a NumPy array", ".to_numpy()"),
        (Tensor(), "are a Tensor, not a NumPy array", ".numpy()"),
        (None, "are None, not a NumPy array", "numpy.asarray"),
        (np.array(5.0), "are a single value", "a row for each sample"),
    ],
)
def test_what_is_not_an_array_is_told_with_how_one_is_made_of_it(value: object, told: str, cure: str) -> None:
    with pytest.raises(ShardError) as caught:
        check_is_array("train samples", value)
    assert told in caught.value.message
    assert cure in caught.value.cure
