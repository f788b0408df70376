from pathlib import Path

import numpy as np
import pytest
from data_sets import ManyLabels

from openfl_like.data import part
from openfl_like.data.deal import DataSet, DealSettings, deal_out
from openfl_like.data.part import DataSetSource, DealtSet, LoadedSet
from openfl_like.data.parts import MadeFiles, PartFile, PartShards
from openfl_like.data.shard import build_shard
from openfl_like.data.shard_file import load_shard_config
from openfl_like.plan.simulation import ShardChoice


def shards(shard: ManyLabels | None = None, **settings: object) -> PartShards:
    whole, deal = DataSet.of(shard or ManyLabels()), DealSettings.model_validate({"sites": 5, **settings})
    dealt = DealtSet(LoadedSet(whole), deal_out(whole, deal), deal)
    return PartShards(dealt, {f"site-{number + 1}": number for number in range(5)})


def test_a_site_is_made_when_it_is_asked_for() -> None:
    found = shards()
    assert list(found) == [f"site-{number}" for number in range(1, 6)]
    assert len(found) == 5
    assert found["site-2"].get_dataset("train").samples.shape == (60, 1)
    with pytest.raises(KeyError):
        found["site-6"]


def test_one_digest_stands_for_all_sites() -> None:
    assert shards().digest() == shards().digest()
    changed = ManyLabels()
    changed.get_dataset("validate").samples[7] = 1.0
    others = [shards(changed), shards(seed=1), shards(label_noise={"fraction": 0.1}), shards(ManyLabels(classes=4))]
    assert len({one.digest() for one in (shards(), *others)}) == 5


def test_a_file_is_written_when_it_is_asked_for_and_is_the_same_site(tmp_path: Path) -> None:
    settings = DealSettings.model_validate({"sites": 5, "seed": 4, "partitioner": {"template": "shards"}})
    source = DataSetSource(ShardChoice(template="data_sets:ManyLabels", params={"title": "no: 1e3"}), tmp_path)
    file = PartFile(source, settings.model_dump(mode="json"), (Path("/data"),))
    numbers = {f"site-{number + 1}": number for number in range(5)}
    files = MadeFiles(file, numbers, tmp_path / "shards")
    assert (list(files), len(files)) == (list(numbers), 5)
    assert not (tmp_path / "shards").exists()
    path = files["site-4"]
    assert [found.name for found in (tmp_path / "shards").iterdir()] == ["site-4.yaml"]
    config = load_shard_config(path)
    assert config.reads == (Path("/data"),)
    mine = PartShards(part.dealt_set(source, settings), numbers)["site-4"].get_dataset("train")
    assert np.array_equal(build_shard(config, path.parent).get_dataset("train").samples, mine.samples)
    stamp = path.stat().st_mtime_ns
    assert files["site-4"].stat().st_mtime_ns == stamp
