import numpy as np
import pytest

from openfl_like.data.shard import Dataset
from openfl_like.data.split import concatenate, split_dataset, stratified_holdout
from openfl_like.errors import ShardError

TARGETS = np.repeat([0, 1, 2], [60, 30, 10])


def test_every_label_is_held_out_in_proportion() -> None:
    train, held = stratified_holdout(TARGETS, 0.2, 3)
    assert np.bincount(TARGETS[held]).tolist() == [12, 6, 2]
    assert sorted([*train, *held]) == list(range(100))


def test_the_seed_decides() -> None:
    assert np.array_equal(stratified_holdout(TARGETS, 0.2, 3)[1], stratified_holdout(TARGETS, 0.2, 3)[1])
    assert not np.array_equal(stratified_holdout(TARGETS, 0.2, 3)[1], stratified_holdout(TARGETS, 0.2, 4)[1])


def test_a_single_row_is_trained_on() -> None:
    train, held = stratified_holdout(np.array([0, 0, 0, 0, 7]), 0.9, 0)
    assert 4 in train
    assert len(held) == 3


@pytest.mark.parametrize("holdout", [0.0, 1.0, -0.5, 2.0])
def test_a_share_outside_zero_and_one_is_refused(holdout: float) -> None:
    with pytest.raises(ShardError, match="holdout"):
        stratified_holdout(TARGETS, holdout, 0)


def test_samples_stay_with_their_targets() -> None:
    parts = split_dataset(Dataset(TARGETS * 10.0, TARGETS), 0.25, 1)
    whole = concatenate([parts["train"], parts["validate"]])
    assert len(whole) == 100
    assert np.array_equal(whole.samples, whole.targets * 10.0)
