"""What every shard descriptor that has a short name must do."""

import pytest
from pydantic import JsonValue

from openfl_like import registry
from openfl_like.data.shard import KINDS, ShardDescriptor, build_shard
from openfl_like.data.shard_file import ShardConfig
from openfl_like.plan.workspace import template_path

PARAMS: dict[str, dict[str, JsonValue]] = {
    "heart_disease": {"hospital": "switzerland"},
    "digits": {"site": 2, "sites": 3, "partitioner": {"template": "labels", "settings": {"labels": 4}}},
    "breast_cancer": {"site": 1, "sites": 2},
    "csv": {
        "file": str(template_path("csv") / "shards" / "data.csv"),
        "target": "outcome",
        "classes": ["healthy", "ill"],
        "scale": {"age": [50, 20], "pressure": [130, 30], "pulse": [75, 15]},
    },
    "synthetic": {"site": 3, "samples": 40, "spread": 0.5},
    "invented": {"sample_shape": [6, 4], "classes": 5, "train": 40, "validate": 12},
    "each": {"site": 3, "shard": {"template": "synthetic", "params": {"classes": 2}}},
    "part": {
        "part": 2,
        "whole": {"template": "heart_disease", "params": {"hospital": "switzerland"}},
        "deal": {"sites": 3, "partitioner": {"template": "shards"}, "label_noise": {"fraction": 0.1}},
    },
}
NAMES = [
    pytest.param(
        name, marks=() if name not in {"digits", "breast_cancer"} else pytest.mark.sklearn
    )  # their data is in there
    for name in sorted(registry.BUILTIN["shard"])
]


def build(name: str) -> ShardDescriptor:
    return build_shard(ShardConfig(template=name, params=PARAMS[name]))


@pytest.mark.parametrize("name", NAMES)
def test_a_shard_keeps_its_promises(name: str) -> None:
    shard = build(name)  # checks shapes, dtypes, ranges and counts
    assert all(isinstance(size, int) for size in (*shard.sample_shape, *shard.target_shape))
    assert shard.schema.classes > 1
    assert len(shard.dataset_description) > 20


@pytest.mark.parametrize("name", NAMES)
def test_a_shard_gives_the_same_data_every_time(name: str) -> None:
    one, other = build(name), build(name)
    for kind in KINDS:
        for data in (one.get_dataset(kind), other.get_dataset(kind)):
            assert data.samples.tobytes() == one.get_dataset(kind).samples.tobytes()
            assert data.targets.tobytes() == one.get_dataset(kind).targets.tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_nobody_is_both_trained_on_and_held_out(name: str) -> None:
    train, held = ({row.tobytes() for row in build(name).get_dataset(kind).samples} for kind in KINDS)
    assert not train & held
