import numpy as np
import pytest

from openfl_like.data.builtin import BreastCancerShard, DigitsShard
from openfl_like.data.shard import ArrayShard
from openfl_like.errors import NotFoundError, ShardError

pytestmark = pytest.mark.sklearn
KINDS = ("train", "validate")


def rows(shard: ArrayShard) -> list[bytes]:
    return [row.tobytes() for kind in KINDS for row in shard.get_dataset(kind).samples]


@pytest.mark.parametrize(("factory", "whole"), [(DigitsShard, 1797), (BreastCancerShard, 569)])
@pytest.mark.parametrize("partitioner", [None, {"template": "dirichlet", "settings": {"alpha": 0.5}}])
def test_sites_share_the_whole_set(
    factory: type[DigitsShard | BreastCancerShard], whole: int, partitioner: dict[str, object] | None
) -> None:
    shards = [factory(site=site, sites=3, partitioner=partitioner, seed=4) for site in (1, 2, 3)]
    everything = [row for shard in shards for row in rows(shard)]
    assert len(everything) == whole
    assert sorted(everything) == sorted(rows(factory(seed=9)))


def test_digits_are_scaled_images() -> None:
    shard = DigitsShard()
    data = shard.get_dataset("train")
    assert (shard.sample_shape, shard.target_shape, shard.schema.classes) == ((8, 8), (), 10)
    assert (data.samples.dtype.name, data.targets.dtype.name) == ("float32", "int64")
    assert (data.samples.min(), data.samples.max()) == (0.0, 1.0)


def test_tumours_are_scaled_measurements() -> None:
    samples = BreastCancerShard().get_dataset("train").samples
    assert samples.shape[1] == 30
    assert (np.abs(samples.mean(axis=0)) < 1).all()
    assert ((samples.std(axis=0) > 0.3) & (samples.std(axis=0) < 3)).all()


def test_an_unknown_partitioner_is_refused() -> None:
    with pytest.raises(NotFoundError, match="did you mean 'dirichlet'"):
        DigitsShard(partitioner={"template": "dirichlt"})


def test_an_unknown_key_of_the_partitioner_is_refused() -> None:
    with pytest.raises(ShardError, match="setings"):
        DigitsShard(partitioner={"template": "iid", "setings": {}})
