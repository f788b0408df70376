"""What every shard descriptor that has a short name must do."""

from pathlib import Path

import numpy as np
import pytest
from pydantic import JsonValue

from openfl_like import registry
from openfl_like.data.deal import DataSet, DealSettings, deal_out
from openfl_like.data.shard import KINDS, ShardDescriptor, build_shard
from openfl_like.data.shard_file import ShardConfig
from openfl_like.errors import ShardError
from openfl_like.plan.workspace import template_path
from tests import made_files

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


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, JsonValue]]:
    """Params of shards that read files, which are made for them."""
    place: Path = tmp_path_factory.mktemp("files")
    return {name: make(place) for name, make in made_files.PARAMS.items()}


def build(name: str, made: dict[str, dict[str, JsonValue]]) -> ShardDescriptor:
    return build_shard(ShardConfig(template=name, params={**PARAMS, **made}[name]))


@pytest.mark.parametrize("name", NAMES)
def test_a_shard_keeps_its_promises(name: str, made: dict[str, dict[str, JsonValue]]) -> None:
    shard = build(name, made)  # checks shapes, dtypes, ranges and counts
    assert all(isinstance(size, int) for size in (*shard.sample_shape, *shard.target_shape))
    assert shard.schema.classes > 1
    assert len(shard.dataset_description) > 20


@pytest.mark.parametrize("name", NAMES)
def test_a_shard_gives_the_same_data_every_time(name: str, made: dict[str, dict[str, JsonValue]]) -> None:
    one, other = build(name, made), build(name, made)
    for kind in KINDS:
        for data in (one.get_dataset(kind), other.get_dataset(kind)):
            assert data.samples.tobytes() == one.get_dataset(kind).samples.tobytes()
            assert data.targets.tobytes() == one.get_dataset(kind).targets.tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_nobody_is_both_trained_on_and_held_out(name: str, made: dict[str, dict[str, JsonValue]]) -> None:
    train, held = ({row.tobytes() for row in build(name, made).get_dataset(kind).samples} for kind in KINDS)
    assert not train & held


DEALS: dict[str, dict[str, object]] = {
    "dirichlet": {"alpha": 0.3},
    "manual": {"rows": [["0-9"], ["10-19"], [20, 21, 22]]},
    "natural": {"groups_per_site": 2},
    "non_iid": {"level": 3},
    "pipe": {"stages": [{"sites": 1, "size": 5}, {"sites": 2, "partitioner": {"template": "shards"}}]},
    "sizes": {"sigma": 0.5},
}


@pytest.mark.parametrize("partitioner", sorted(registry.BUILTIN["partitioner"]))
@pytest.mark.parametrize("name", sorted(made_files.PARAMS))
def test_any_partitioner_deals_a_set_of_files_or_says_why_not(
    name: str, partitioner: str, made: dict[str, dict[str, JsonValue]]
) -> None:
    whole = DataSet.of(build(name, made))
    settings = DealSettings.model_validate(
        {
            "sites": len(np.unique(whole.train.targets)) if partitioner == "unique" else 3,
            "partitioner": {"template": partitioner, "settings": _settings(partitioner, whole)},
            "without_samples": "merge",
        }
    )
    if partitioner == "natural" and name != "femnist":
        with pytest.raises(ShardError, match="goes by groups, such as writers"):
            deal_out(whole, settings)
        return
    deal = deal_out(whole, settings)
    for rows in (deal.train, deal.validate):
        dealt = np.concatenate([rows.rows(site) for site in deal.present])
        assert len(dealt) == len(set(dealt.tolist())) > 0


def _settings(partitioner: str, whole: DataSet) -> dict[str, object]:
    """Three sites cover as many labels as there are, however many."""
    if partitioner == "labels":
        return {"labels": -(-len(np.unique(whole.train.targets)) // 3)}
    return {"fraction": 0.1} if partitioner == "percentage" else DEALS.get(partitioner, {})
