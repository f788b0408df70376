import os

import numpy as np
import pytest

from openfl_like.errors import TaskError
from openfl_like.frameworks.reported import read_metrics, read_samples


class Odd:
    """An object of a workspace whose every word raises."""

    def __str__(self) -> str:
        raise SystemExit(3)

    def __float__(self) -> float:
        raise SystemExit(3)


@pytest.mark.parametrize("value", [0.5, True, np.float32(0.5), np.array(0.5), np.array([0.5]), np.array([[0.5]])])
def test_a_single_number_of_any_kind_is_a_metric(value: object) -> None:
    assert read_metrics("validate", {"dice": value}) == {"dice": pytest.approx(float(np.asarray(value).item()))}


@pytest.mark.parametrize("value", [None, "good", 1j, [0.5], {"a": 1}, np.array([0.5, 0.25]), Odd(), b"\xff"])
def test_whatever_is_not_one_number_is_named_with_its_task(value: object) -> None:
    with pytest.raises(TaskError, match="task 'validate': the metric 'dice' is "):
        read_metrics("validate", {"accuracy": 1.0, "dice": value})


def test_names_that_nobody_can_write_are_refused() -> None:
    with pytest.raises(TaskError, match=r"task 'train': the name of the metric 'of Bef\\udcfcnde.csv' is not text"):
        read_metrics("train", {"of " + os.fsdecode(b"Bef\xfcnde.csv"): 0.5})
    with pytest.raises(TaskError, match="longer than 200 characters"):
        read_metrics("train", {"x" * 5000: 0.5})
    with pytest.raises(TaskError, match="returned 1001 metrics, more than 1000"):
        read_metrics("train", {str(number): 0.5 for number in range(1001)})


class Jealous(str):
    """A text that nobody may compare."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        raise AssertionError(f"it was compared with {other!r}")

    __hash__ = str.__hash__


class Named:
    """A name whose text is of a class of the workspace."""

    def __str__(self) -> str:
        return Jealous("loss")


def test_names_are_plain_text_whatever_class_they_had() -> None:
    for name in (Named(), Jealous("loss")):
        (found,) = read_metrics("train", {name: 0.5})  # type: ignore[dict-item] # that it is no text is the point
        assert type(found) is str


@pytest.mark.parametrize("value", [0, 7, 2**53, np.int64(7), True])
def test_counts_are_whole_numbers(value: object) -> None:
    assert read_samples("train", value) == value


@pytest.mark.parametrize("value", [-1, 2**53 + 1, 2**63, 1.5, None, "7", Odd()])
def test_whatever_is_no_count_is_named_with_its_task(value: object) -> None:
    with pytest.raises(TaskError, match=r"task 'train' returned .* as the number of samples"):
        read_samples("train", value)
