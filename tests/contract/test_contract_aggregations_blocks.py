"""What every aggregation rule that combines blocks must do besides."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from openfl_like.aggregation.rules import BlockRule, LinearRule, Median, TrimmedMean, WeightedAverage
from openfl_like.aggregation.steps import Vector
from tests.contract.test_contract_aggregations import RULES, same_bits, shares

BLOCK_RULES = {name: rule for name, rule in RULES.items() if isinstance(rule, BlockRule)}
each_block_rule = pytest.mark.parametrize("rule", BLOCK_RULES.values(), ids=list(BLOCK_RULES))

COUNTS = [3, 4, 5, 8, 31, 32, 33, 40]
few = settings(max_examples=40, deadline=None, derandomize=True)
BLOCKS = npst.arrays(
    np.float64,
    st.tuples(st.integers(3, 40), st.integers(1, 9)),
    elements=st.floats(-1e6, 1e6, width=32) | st.sampled_from([0.0, -0.0, 1.0]),
)


def reduced(rule: BlockRule, blocks: Vector, weights: Vector | None = None) -> Vector:
    return rule.reduce(blocks.copy(), shares(len(blocks)) if weights is None else weights.copy()).copy()


@each_block_rule
@pytest.mark.parametrize("count", COUNTS)
def test_a_part_has_the_bits_of_the_whole(rule: BlockRule, count: int) -> None:
    blocks = np.random.default_rng(count).normal(size=(count, 1003))
    blocks[:, ::7] = np.random.default_rng(1).choice([0.0, -0.0, 1.0], size=(count, 144))
    whole = reduced(rule, blocks)
    assert whole.dtype == np.float64
    assert whole.shape == (1003,)
    parts = [reduced(rule, blocks[:, start : start + 37]) for start in range(0, 1003, 37)]
    assert same_bits(np.concatenate(parts), whole)


@each_block_rule
@few
@given(blocks=BLOCKS)
def test_the_result_lies_between_the_smallest_and_the_largest(rule: BlockRule, blocks: Vector) -> None:
    room = 1e-9 * np.abs(blocks).max(axis=0)
    result = reduced(rule, blocks)
    assert (blocks.min(axis=0) - room <= result).all()
    assert (result <= blocks.max(axis=0) + room).all()


@each_block_rule
@few
@given(blocks=BLOCKS, order=st.randoms(use_true_random=False))
def test_the_order_of_updates_does_not_matter(rule: BlockRule, blocks: Vector, order: object) -> None:
    """Sums of weighted rows are rounded in their order, which aggregation makes that of the names."""
    places = list(range(len(blocks)))
    order.shuffle(places)  # type: ignore[attr-defined]  # a random.Random
    weights = shares(len(blocks))
    there, back = reduced(rule, blocks, weights), reduced(rule, blocks[places], weights[places])
    if isinstance(rule, LinearRule):
        assert np.allclose(there, back, rtol=1e-9, atol=1e-9 * np.abs(blocks).max())
    else:
        assert same_bits(there, back)


@each_block_rule
@pytest.mark.parametrize("count", COUNTS)
def test_a_nan_in_a_block_is_not_hidden(rule: BlockRule, count: int) -> None:
    for place in range(count):
        blocks = np.random.default_rng(place).normal(size=(count, 20))
        blocks[place, 13] = np.nan
        assert np.flatnonzero(np.isnan(reduced(rule, blocks))).tolist() == [13]


@pytest.mark.parametrize("rule", [rule for rule in RULES.values() if isinstance(rule, LinearRule)])
def test_factors_give_the_same_bits(rule: LinearRule) -> None:
    blocks = np.random.default_rng(5).normal(size=(6, 500))
    factors = rule.factors(shares(6))
    total = blocks[0] * factors[0]
    for row, factor in zip(blocks[1:], factors[1:], strict=True):
        total += row * factor
    assert isinstance(rule, BlockRule)
    assert same_bits(reduced(rule, blocks), total)


def naive_trimmed(blocks: Vector, cut: int) -> npt.NDArray[np.float64]:
    kept = np.sort(blocks, axis=0)[cut : len(blocks) - cut]
    mean: Vector = kept.mean(axis=0)
    return mean


@few
@given(blocks=BLOCKS)
def test_the_robust_rules_are_those_of_numpy(blocks: Vector) -> None:
    close = {"rtol": 1e-12, "atol": 1e-12 * np.abs(blocks).max()}
    assert np.array_equal(reduced(Median(), blocks), np.median(blocks, axis=0))
    wanted = naive_trimmed(blocks, int(0.34 * len(blocks)))
    assert np.allclose(reduced(TrimmedMean(fraction=0.34), blocks), wanted, **close)


@pytest.mark.parametrize("rule", [Median(), TrimmedMean(fraction=0.34)], ids=str)
@pytest.mark.parametrize("lie", [1e300, -1e300, np.inf, -np.inf])
def test_dishonest_sites_move_the_model_no_further_than_honest_ones(rule: BlockRule, lie: float) -> None:
    honest = np.random.default_rng(0).normal(size=(6, 200))
    blocks = np.concatenate([honest, np.full((3, 200), lie)])[[0, 6, 1, 7, 2, 3, 4, 8, 5]]
    result, mean = reduced(rule, blocks), reduced(WeightedAverage(), blocks)
    assert (honest.min(axis=0) <= result).all()
    assert (result <= honest.max(axis=0)).all()
    assert not np.isfinite(mean).all() or np.abs(mean).max() > 1e200


@pytest.mark.parametrize("rule", [Median(), TrimmedMean(fraction=0.25)], ids=str)
def test_robust_rules_take_no_notice_of_weights(rule: BlockRule) -> None:
    blocks = np.random.default_rng(2).normal(size=(5, 50))
    alike, greedy = np.full(5, 0.2), np.array([0.996, 0.001, 0.001, 0.001, 0.001])
    assert same_bits(reduced(rule, blocks, alike), reduced(rule, blocks, greedy))
