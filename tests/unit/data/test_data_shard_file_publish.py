"""What a site tells of its data is what its shard.yaml lets out."""

from pathlib import Path

import pytest

from openfl_like.data.shard_file import load_shard_config, published
from openfl_like.errors import SettingsError
from openfl_like.federation.parties import NO_TERMS, ShardFacts, SiteTerms

FACTS = ShardFacts(
    (4,),
    (),
    "four measurements",
    {
        "sample_dtype": "float32",
        "target_dtype": "int64",
        "sample_range": [2.513, 3.487],
        "target_range": [0.0, 2.0],
        "classes": 3,
        "counts": {"train": 90, "validate": 30},
    },
)


def told(folder: Path, text: str = "") -> ShardFacts:
    path = folder / "shard.yaml"
    path.write_text(f"template: csv\n{text}\n")
    return published(FACTS, load_shard_config(path))


def test_a_range_that_the_shard_may_have_measured_stays_at_the_site(tmp_path: Path) -> None:
    assert dict(told(tmp_path).schema) == {
        "sample_dtype": "float32",
        "target_dtype": "int64",
        "classes": 3,
        "counts": {"train": 90, "validate": 30},
    }


def test_a_range_that_the_site_states_is_told_in_place_of_the_shards(tmp_path: Path) -> None:
    facts = told(tmp_path, "publish: {sample_range: [0, 10], target_range: [-1, 1]}")
    assert (facts.schema["sample_range"], facts.schema["target_range"]) == ([0.0, 10.0], [-1.0, 1.0])


def test_classes_counts_and_terms_are_told_unless_the_site_keeps_them(tmp_path: Path) -> None:
    open_site = told(tmp_path, "limits: {model_gb: 1}\ndevices: [cpu]\nenvironment: {install_requirements: true}")
    assert open_site.terms == SiteTerms(1_000_000_000, installs_requirements=True, devices=("cpu",))
    closed = told(tmp_path, "publish: {classes: false, counts: false, terms: false}")
    assert set(closed.schema) == {"sample_dtype", "target_dtype"}
    assert closed.terms == NO_TERMS
    assert (closed.sample_shape, closed.description) == ((4,), "four measurements")


@pytest.mark.parametrize(
    "text", ["publish: {range: [0, 1]}", "publish: {sample_range: [0, .inf]}", "publish: {classes: 3x}"]
)
def test_a_mistake_in_what_is_published_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match="publish"):
        told(tmp_path, text)
