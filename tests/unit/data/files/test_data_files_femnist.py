"""FEMNIST: LEAF's files, writers as groups, and what is said of files that are not LEAF's."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import JsonValue

from openfl_like.data.deal import DataSet, DealSettings, deal_out
from openfl_like.data.files.femnist import FemnistShard
from openfl_like.data.shard import build_shard, check_shard
from openfl_like.data.shard_file import ShardConfig
from openfl_like.errors import ShardError
from tests.made_files import femnist


def natural(sites: int, **more: object) -> DealSettings:
    settings = more.pop("settings", {})
    return DealSettings.model_validate(
        {"sites": sites, "partitioner": {"template": "natural", "settings": settings}, **more}
    )


def test_images_of_all_files_are_there_with_their_writers(tmp_path: Path) -> None:
    femnist(tmp_path / "data")
    shard = FemnistShard(str(tmp_path / "data"))
    check_shard(shard)
    assert (shard.sample_shape, shard.schema.classes) == ((1, 28, 28), 62)
    groups = {kind: shard.groups(kind) for kind in ("train", "validate")}
    assert np.bincount(groups["train"]).tolist() == [4, 5, 6, 7, 8, 9]  # type: ignore[arg-type]  # not None here
    assert np.bincount(groups["validate"]).tolist() == [2] * 6  # type: ignore[arg-type]  # as above
    first = json.loads(min((tmp_path / "data" / "train").iterdir()).read_text())
    written = np.float32(first["user_data"]["f0000_00"]["x"][3]).reshape(28, 28)
    assert np.array_equal(shard.get_dataset("train").samples[3, 0], written)


def test_bytes_are_those_that_leaf_divided_by_255(tmp_path: Path) -> None:
    femnist(tmp_path / "data")
    scaled, found = (
        FemnistShard(str(tmp_path / "data"), pixels=pixels).get_dataset("train").samples
        for pixels in ("float32", "uint8")
    )
    assert np.array_equal(found.astype(np.float32) / 255, scaled)


def test_a_site_may_be_one_writer(tmp_path: Path) -> None:
    femnist(tmp_path / "data")
    shard = FemnistShard(str(tmp_path / "data"), writer="f0004_04")
    check_shard(shard)
    assert shard.schema.counts == {"train": 8, "validate": 2}
    assert "f0004_04" not in shard.dataset_description, "who it is does not leave the site"
    with pytest.raises(ShardError, match="there is no writer 'f0004_4' in train and test") as caught:
        FemnistShard(str(tmp_path / "data"), writer="f0004_4")
    assert caught.value.cure == "did you mean 'f0004_04'?"


@pytest.mark.parametrize("sites", [1, 4, 6])
def test_sites_are_made_of_whole_writers(tmp_path: Path, sites: int) -> None:
    femnist(tmp_path / "data")
    whole = DataSet.of(FemnistShard(str(tmp_path / "data")))
    deal = deal_out(whole, natural(sites, seed=3))
    writers = [
        {kind: set(whole.groups[kind][rows.rows(site)].tolist()) for kind, rows in kinds.items()}
        for kinds in ({"train": deal.train, "validate": deal.validate},)
        for site in range(sites)
    ]
    assert all(of["train"] == of["validate"] for of in writers)
    assert sorted(writer for of in writers for writer in of["train"]) == list(range(6))
    assert deal.train.sizes.sum() == 39


def test_a_few_writers_may_be_drawn(tmp_path: Path) -> None:
    femnist(tmp_path / "data")
    whole = DataSet.of(FemnistShard(str(tmp_path / "data")))
    deal = deal_out(whole, natural(4, settings={"groups_per_site": 1}))
    assert deal.validate.sizes.tolist() == [2] * 4
    with pytest.raises(ShardError, match="4 sites need 8 groups, and there are 6") as caught:
        deal_out(whole, natural(4, settings={"groups_per_site": 2}))
    assert caught.value.cure == "have at most 3 sites"


def test_a_part_of_writers_is_an_ordinary_shard(tmp_path: Path) -> None:
    whole = {"template": "femnist", "params": femnist(tmp_path / "data")}
    deal: JsonValue = {"sites": 3, "seed": 4, "partitioner": {"template": "natural"}}
    parts = [
        build_shard(ShardConfig(template="part", params={"part": number, "whole": whole, "deal": deal}))
        for number in (1, 2, 3)
    ]
    assert [part.schema.counts["validate"] for part in parts] == [4] * 3
    assert sum(part.schema.counts["train"] for part in parts) == 39


def test_other_partitioners_deal_it_by_labels(tmp_path: Path) -> None:
    femnist(tmp_path / "data")
    whole = DataSet.of(FemnistShard(str(tmp_path / "data")))
    settings = {"sites": 3, "partitioner": {"template": "dirichlet", "settings": {"alpha": 0.3}}}
    assert deal_out(whole, DealSettings.model_validate(settings)).train.sizes.sum() == 39


def test_writers_that_are_held_out_as_a_whole_make_no_sites(tmp_path: Path) -> None:
    femnist(tmp_path / "data")
    for path in (tmp_path / "data" / "test").iterdir():
        path.write_text(path.read_text().replace("f00", "g00"))
    whole = DataSet.of(FemnistShard(str(tmp_path / "data")))
    with pytest.raises(ShardError, match="no held-out sample is from a group that is trained on"):
        deal_out(whole, natural(3))


def test_a_writer_without_held_out_images_is_no_site_of_its_own(tmp_path: Path) -> None:
    femnist(tmp_path / "data")
    path = max((tmp_path / "data" / "test").iterdir())
    document = json.loads(path.read_text())
    del document["user_data"]["f0005_05"]
    path.write_text(json.dumps(document))
    whole = DataSet.of(FemnistShard(str(tmp_path / "data")))
    with pytest.raises(ShardError, match="1 of 6 sites have no samples to train on, or none held out"):
        deal_out(whole, natural(6))
    assert len(deal_out(whole, natural(6, without_samples="drop")).present) == 5


Change = Callable[[dict[str, Any]], object]


def first_writer(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["user_data"]["f0000_00"]
    return found


WRONG: list[tuple[Change, str]] = [
    (lambda document: document.pop("user_data"), "it has no 'user_data', as files of LEAF have"),
    (lambda document: first_writer(document).pop("y"), "a writer in it has no 'x' or no 'y'"),
    (lambda document: first_writer(document)["y"].pop(), "a writer has 4 images and 3 classes"),
    (lambda document: first_writer(document)["x"][1].pop(), "a writer's images are no numbers"),
    (lambda document: first_writer(document).update(x=[[0.5] * 783] * 4), "a writer's images have the shape (4, 783)"),
    (lambda document: first_writer(document).update(y=[0.5] * 4), "with whole numbers as classes"),
    (lambda document: first_writer(document)["x"][0].__setitem__(5, 7.0), "values that are not between 0 and 1"),
    (lambda document: first_writer(document)["x"][0].__setitem__(5, "x"), "a writer's images are no numbers"),
    (lambda document: first_writer(document).update(x=[], y=[]), "a writer's images have the shape (0,)"),
]


@pytest.mark.parametrize(("change", "told"), WRONG)
def test_a_file_that_is_not_leafs_is_named_and_no_writer(tmp_path: Path, change: Change, told: str) -> None:
    params = femnist(tmp_path / "data")
    path = min((tmp_path / "data" / "train").iterdir())
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(ShardError) as caught:
        build_shard(ShardConfig(template="femnist", params=params))
    assert str(caught.value).startswith(str(path))
    assert told in str(caught.value)
    assert "f0000" not in str(caught.value)


def test_a_file_that_is_cut_off_is_named(tmp_path: Path) -> None:
    femnist(tmp_path / "data")
    path = min((tmp_path / "data" / "test").iterdir())
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ShardError, match="it is no whole JSON file") as caught:
        FemnistShard(str(tmp_path / "data"))
    assert caught.value.place == str(path)


@pytest.mark.parametrize("missing", ["train", "test"])
def test_a_folder_that_is_missing_is_told_with_where_it_comes_from(tmp_path: Path, missing: str) -> None:
    femnist(tmp_path / "data")
    (tmp_path / "data" / missing).rename(tmp_path / "elsewhere")
    with pytest.raises(ShardError, match="there is no such folder") as caught:
        FemnistShard(str(tmp_path / "data"))
    assert "preprocess.sh" in caught.value.cure
