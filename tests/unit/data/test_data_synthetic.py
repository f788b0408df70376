"""The invented data of Li et al. 2020."""

import numpy as np
import pytest

from openfl_like.data.shard import check_shard
from openfl_like.data.synthetic import SyntheticShard
from openfl_like.errors import ShardError


def distance(one: SyntheticShard, other: SyntheticShard) -> float:
    """Between the means of the features."""
    means = [shard.get_dataset("train").samples.mean(axis=0) for shard in (one, other)]
    return float(np.linalg.norm(means[0] - means[1]))


def test_it_keeps_its_promises_and_repeats() -> None:
    for site in range(1, 40):
        check_shard(SyntheticShard(site, alpha=2.0, beta=4.0, samples=30, spread=1.0))
    one, again = SyntheticShard(3), SyntheticShard(3)
    assert np.array_equal(one.get_dataset("train").samples, again.get_dataset("train").samples)
    assert (one.sample_shape, one.schema.classes, dict(one.schema.counts)) == (
        (60,),
        10,
        {"train": 100, "validate": 20},
    )


def test_sites_differ_as_much_as_is_asked_for() -> None:
    def spread_of(alpha: float, beta: float) -> float:
        shards = [SyntheticShard(site, samples=400, alpha=alpha, beta=beta) for site in range(1, 9)]
        return float(np.mean([distance(shards[0], other) for other in shards[1:]]))

    alike = np.mean([distance(SyntheticShard(1, iid=True, samples=400), SyntheticShard(2, iid=True, samples=400))])
    assert alike < 0.2 * spread_of(alpha=0, beta=0)
    assert spread_of(alpha=0, beta=0) < spread_of(alpha=0, beta=9)


def test_iid_sites_have_one_model() -> None:
    """A linear model that fits the samples of one site fits those of another."""

    def fitted(shard: SyntheticShard) -> np.ndarray:
        data = shard.get_dataset("train")
        ones = np.eye(shard.schema.classes)[data.targets]
        return np.asarray(np.linalg.lstsq(np.c_[data.samples, np.ones(len(ones))], ones, rcond=None)[0])

    def accuracy(model: np.ndarray, shard: SyntheticShard) -> float:
        data = shard.get_dataset("validate")
        scores = np.c_[data.samples, np.ones(len(data.samples))] @ model
        return float(np.mean(scores.argmax(axis=1) == data.targets))

    def across(*, iid: bool) -> float:
        one, other = (SyntheticShard(site, samples=3000, held_out=1000, iid=iid) for site in (1, 2))
        return accuracy(fitted(one), other)

    assert across(iid=True) > 0.5
    assert across(iid=False) < 0.3


def test_sizes_spread_around_the_median() -> None:
    sizes = [SyntheticShard(site, samples=50, spread=0.5).schema.counts["train"] for site in range(1, 200)]
    assert 45 < np.median(sizes) < 55
    assert 0.4 < np.std(np.log(sizes)) < 0.6
    assert {SyntheticShard(site, samples=50).schema.counts["train"] for site in range(1, 9)} == {50}


@pytest.mark.parametrize("params", [{"samples": 0}, {"site": 0}, {"classes": 0}, {"features": 0}, {"alpha": -1.0}])
def test_what_cannot_be(params: dict[str, float]) -> None:
    with pytest.raises(ShardError):
        SyntheticShard(**params)  # type: ignore[arg-type] # the mistakes are the point
