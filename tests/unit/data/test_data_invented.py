"""Data that is invented from what a site publishes."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openfl_like.data.invented import InventedShard, invented_params
from openfl_like.data.published import DTYPES, LARGEST_SAMPLE, ArrayForm, published_of
from openfl_like.data.shard import check_shard
from openfl_like.errors import ShardError
from openfl_like.federation.parties import ShardFacts

FLOATS = sorted(name for name in DTYPES if name.startswith("float"))
WHOLE = sorted(name for name in DTYPES if "int" in name)
ends = st.none() | st.floats(-1e4, 1e4, width=16)


@given(
    st.sampled_from(FLOATS),
    st.tuples(ends, ends),
    st.lists(st.integers(1, 3), max_size=3),
    st.integers(0, 7),
    st.integers(1, 40),
)
def test_whatever_is_published_the_data_fits_it(
    dtype: str, limits: tuple[float | None, float | None], shape: list[int], classes: int, train: int
) -> None:
    low, high = limits
    if low is not None and high is not None and low > high:
        low, high = high, low
    shard = InventedShard(shape, sample_dtype=dtype, sample_range=[low, high], classes=classes, train=train, validate=3)
    check_shard(shard)


@given(st.sampled_from(WHOLE), st.integers(0, 100), st.integers(0, 27))
def test_whole_numbers_reach_both_ends_of_their_range(dtype: str, low: int, more: int) -> None:
    shard = InventedShard([5], sample_dtype=dtype, sample_range=[low, low + more], train=4)
    check_shard(shard)
    samples = shard.get_dataset("train").samples
    assert (samples.min(), samples.max()) == (low, low + more)


@pytest.mark.parametrize(("dtype", "lowest", "highest"), [("uint8", 0, 255), ("int16", -32768, 32767), ("int64", 0, 1)])
def test_whole_numbers_without_a_range_go_as_far_as_is_sensible(dtype: str, lowest: int, highest: int) -> None:
    samples = InventedShard([50], sample_dtype=dtype).get_dataset("train").samples
    assert (samples.min(), samples.max()) == (lowest, highest)


def test_every_class_is_there_and_the_largest_always() -> None:
    assert set(InventedShard([2], classes=10, train=30).get_dataset("train").targets) == set(range(10))
    assert InventedShard([2], classes=500, train=10).get_dataset("train").targets.max() == 499


def test_a_wide_range_around_zero_gives_numbers_like_scaled_ones() -> None:
    samples = InventedShard([200], sample_range=[-100, 100]).get_dataset("train").samples
    assert np.abs(samples).max() < 8
    assert 0.9 < samples.std() < 1.1


def test_the_same_seed_gives_the_same_and_kinds_differ() -> None:
    one, other = InventedShard([3], classes=2), InventedShard([3], classes=2, seed=1)
    assert np.array_equal(one.get_dataset("train").samples, one.get_dataset("train").samples)
    assert not np.array_equal(one.get_dataset("train").samples, one.get_dataset("validate").samples)
    assert not np.array_equal(one.get_dataset("train").samples, other.get_dataset("train").samples)
    with pytest.raises(ShardError, match="ask for train or validate"):
        one.get_dataset("test")


def test_the_params_give_a_shard_of_the_same_form() -> None:
    schema = {
        "sample_dtype": "float64", "target_dtype": "uint8", "sample_range": [0, None], "classes": 4,
        "counts": {"train": 10**6, "validate": 5},
    }  # fmt: skip
    data = published_of(ShardFacts((3, 2), (), schema=schema))
    shard = InventedShard(**invented_params(data, {"train": 12, "validate": 5}, 3))  # type: ignore[arg-type]  # JSON
    assert shard.schema.counts == {"train": 12, "validate": 5}
    again = published_of(ShardFacts(shard.sample_shape, shard.target_shape, schema={
        "sample_dtype": shard.schema.sample_dtype, "target_dtype": shard.schema.target_dtype,
        "sample_range": shard.schema.sample_range, "target_range": shard.schema.target_range,
        "classes": shard.schema.classes,
    }))  # fmt: skip
    assert again.form == data.form


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"sample_dtype": "object"}, "'object' is not a number's"),
        ({"sample_dtype": 5}, "'5' is not a number's"),
        ({"sample_range": [3, 1]}, "from 3 to 1 holds nothing"),
        ({"sample_range": [math.nan, 1]}, "holds nothing"),
        ({"sample_range": [0]}, "not a pair"),
        ({"sample_range": ["0", 1]}, "not the end of a range"),
        ({"sample_range": [0, 10**400]}, "not the end of a range"),
        ({"classes": -1}, "not a whole number"),
        ({"classes": 10**9}, "not a whole number"),
        ({"classes": True}, "not a whole number"),
        ({"counts": [1]}, "not a mapping"),
        ({"counts": {"train": 1.5}}, "not a whole number"),
    ],
)
def test_a_site_that_publishes_what_cannot_be_is_refused(schema: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        published_of(ShardFacts((4,), (), schema=schema))


@pytest.mark.parametrize("shape", [(0,), (-1, 4), (LARGEST_SAMPLE + 1,), (2**40, 2**40)])
def test_a_shape_that_would_fill_a_memory_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="not one that can be"):
        published_of(ShardFacts(shape, ()))


def test_what_is_not_told_is_taken_to_be_usual() -> None:
    data = published_of(ShardFacts((4,), (), schema={"classes": 3}))
    assert (data.samples, data.targets) == (ArrayForm((4,), "float32"), ArrayForm((), "int64", (0.0, 2.0)))
    assert published_of(ShardFacts((4,), ())).targets.dtype == "float32"
    assert data.counts == {}
