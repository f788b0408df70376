"""What is special to the rules that sort: how many values are left out, and the comparisons that do it."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openfl_like.aggregation.build import build_recipe
from openfl_like.aggregation.rules import Median, TrimmedMean
from openfl_like.aggregation.sorting import MOST_ROWS, comparators, sort_rows
from openfl_like.errors import PlanError, UpdateRefusedError
from openfl_like.plan.schema import AggregationSection, Plan


def plan_with(**settings: object) -> Plan:
    parts = {"template": "src.m:Runner"}
    return Plan(
        name="p",
        task_runner=parts,
        data_loader=parts,
        tasks={"train": {"function": "train"}},
        aggregation={"template": "trimmed_mean", "settings": settings},
    )


@pytest.mark.parametrize(
    ("fraction", "count", "kept"),
    [(0.2, 5, (1, 2, 3)), (0.25, 4, (1, 2)), (0.25, 7, (1, 2, 3, 4, 5)), (0.4, 10, (4, 5)), (0.49, 3, (1,))],
)
def test_how_many_are_left_out(fraction: float, count: int, kept: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).permutation(2.0 ** np.arange(count)).reshape(count, 1)
    wanted = np.mean([2.0**place for place in kept])
    assert TrimmedMean(fraction=fraction).reduce(values, np.full(count, 1 / count)).tolist() == [wanted]


def test_a_product_that_is_rounded_down_still_counts() -> None:
    assert 0.29 * 100 < 29
    values = np.concatenate([np.full(29, -1e9), np.zeros(42), np.full(29, 3e9)]).reshape(100, 1)
    assert TrimmedMean(fraction=0.29).reduce(values, np.full(100, 0.01)).tolist() == [0.0]


@pytest.mark.parametrize(("fraction", "count", "least"), [(0.2, 4, 5), (0.1, 9, 10), (0.3, 3, 4), (0.49, 1, 3)])
def test_too_few_updates_are_refused_with_the_number_that_is_needed(fraction: float, count: int, least: int) -> None:
    rule = TrimmedMean(fraction=fraction)
    with pytest.raises(UpdateRefusedError, match=f"of {count} updates the fraction {fraction} is less than one") as it:
        rule.reduce(np.zeros((count, 1)), np.full(count, 1 / count))
    assert f"needs {least} updates" in it.value.cure
    assert rule.reduce(np.zeros((least, 1)), np.full(least, 1 / least)).tolist() == [0.0]


@pytest.mark.parametrize("fraction", [0, 0.5, -0.1, 1, "half"])
def test_fractions_that_leave_nothing_or_all_are_mistakes_in_the_plan(fraction: object) -> None:
    with pytest.raises(PlanError) as caught:
        build_recipe(plan_with(fraction=fraction))
    assert "aggregation.settings.fraction" in str(caught.value)


def test_the_fraction_must_be_chosen() -> None:
    with pytest.raises(PlanError):
        build_recipe(plan_with())
    assert build_recipe(plan_with(fraction=0.2)).rule == TrimmedMean(fraction=0.2)
    median = plan_with().model_copy(update={"aggregation": AggregationSection(template="median")})
    assert build_recipe(median).rule == Median()


@pytest.mark.parametrize("count", range(1, 12))
def test_the_comparisons_sort_whatever_is_there(count: int) -> None:
    """What sorts every sequence of zeros and ones sorts every sequence (Knuth, section 5.3.4, theorem Z)."""
    columns = np.array(list(product([0.0, 1.0], repeat=count))).T
    wanted = np.sort(columns, axis=0)
    for first in range(count):
        for stop in range(first + 1, count + 1):
            assert (np.array(sort_rows(columns.copy(), first, stop)) == wanted[first:stop]).all()


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(1, 2 * MOST_ROWS), st.integers(0, 2**32))
def test_rows_are_sorted_however_many_there_are(count: int, seed: int) -> None:
    columns = np.random.default_rng(seed).integers(-9, 9, size=(count, 50)).astype(np.float64)
    assert (np.array(sort_rows(columns.copy(), 0, count)) == np.sort(columns, axis=0)).all()


def test_comparisons_that_nobody_needs_are_left_out() -> None:
    assert len(comparators(8, 0, 8)) == 19
    assert len(comparators(8, 0, 1)) < len(comparators(8, 3, 5)) < 19
    assert comparators(1, 0, 1) == ()
