import gc
from pathlib import Path

import numpy as np
import pytest
from data_sets import MADE
from pydantic import JsonValue

from openfl_like.data.part import PartShard
from openfl_like.data.shard import build_shard
from openfl_like.data.shard_file import ShardConfig, load_shard_config
from openfl_like.errors import ShardError
from openfl_like.frameworks.numpy import NumpyLoader

DEAL: dict[str, JsonValue] = {"sites": 6, "partitioner": {"template": "shards"}, "seed": 3}
WHOLE: JsonValue = {"template": "data_sets:ManyLabels", "params": {}}


def part(number: int, whole: JsonValue = WHOLE, **deal: JsonValue) -> PartShard:
    made = build_shard(ShardConfig(template="part", params={"part": number, "whole": whole, "deal": {**DEAL, **deal}}))
    assert isinstance(made, PartShard)
    return made


def test_the_parts_are_the_whole() -> None:
    parts = [part(number) for number in range(1, 7)]
    for kind, numbers in (("train", range(300)), ("validate", range(300, 400))):
        samples = np.concatenate([one.get_dataset(kind).samples[:, 0] for one in parts])
        assert sorted(samples.astype(int).tolist()) == list(numbers)
    assert sum(one.schema.counts["train"] for one in parts) == 300
    assert {(one.sample_shape, one.target_shape, one.schema.classes) for one in parts} == {((1,), (), 5)}
    assert parts[3].dataset_description == "Part 4 of 6 (shards) of: Numbers, each its own sample."


def test_the_whole_is_in_memory_once_and_only_for_as_long_as_a_part_is() -> None:
    MADE.clear()
    whole: JsonValue = {"template": "data_sets:ManyLabels", "params": {"title": "once"}}
    parts = [part(number, whole) for number in range(1, 7)]
    other = part(1, whole, sites=3)
    assert MADE == ["once"]
    assert parts[0]._dealt is parts[5]._dealt
    assert other._dealt.loaded is parts[0]._dealt.loaded
    del parts, other
    gc.collect()
    part(1, whole)
    assert MADE == ["once", "once"]


def test_who_has_loaded_a_part_does_not_keep_the_whole() -> None:
    MADE.clear()
    whole: JsonValue = {"template": "data_sets:ManyLabels", "params": {"title": "lent"}}
    loader = NumpyLoader(part(2, whole), batch_size=8)
    gc.collect()
    assert loader.num_train == 50
    part(2, whole)
    assert MADE == ["lent", "lent"]


def test_another_whole_is_another_one() -> None:
    small: JsonValue = {"template": "data_sets:ManyLabels", "params": {"train": 60, "validate": 30}}
    one, other = part(1), part(1, small)
    assert (one.schema.counts["train"], other.schema.counts["train"]) == (50, 10)


def test_what_a_site_does_with_its_arrays_stays_with_it() -> None:
    one = part(2)
    before = one.get_dataset("train").samples.copy()
    mine = one.get_dataset("train")
    mine.samples[:] = -1
    mine.targets[:] = 0
    assert np.array_equal(one.get_dataset("train").samples, before)
    assert mine.samples.base is None


def test_wrong_labels_are_others_and_only_among_those_that_are_trained_on() -> None:
    clean, noisy = part(3), part(3, label_noise={"fraction": 0.4})
    for kind, wrong in (("train", 20), ("validate", 0)):
        right, found = clean.get_dataset(kind).targets, noisy.get_dataset(kind).targets
        assert (right != found).sum() == wrong
        assert found.dtype == right.dtype
        assert 0 <= found.min() <= found.max() <= 4
    assert np.array_equal(
        noisy.get_dataset("train").targets, part(3, label_noise={"fraction": 0.4}).get_dataset("train").targets
    )
    assert np.array_equal(clean.get_dataset("train").samples, noisy.get_dataset("train").samples)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"part": 7}, r"there is no part 7 among 6 \(parts are counted from 1\)"),
        ({"part": 0}, "there is no part 0 among 6"),
        ({"whole": "many_labels"}, "there is no shard named 'many_labels'"),
        ({"whole": {"template": "digits", "parms": {}}}, "whole.parms: unknown key"),
        ({"whole": {"template": "data_sets:ManyLabels", "params": {"trian": 3}}}, "'trian'; did you mean 'train'"),
        ({"deal": {"site": 3}}, "deal.sites: this key is required"),
        ({"deal": {"sites": 0}}, "deal.sites: must be at least 1"),
        ({"deal": {"sites": 3, "without_samples": "ignore"}}, "without_samples: must be one of refuse, merge, drop"),
        ({"deal": {"sites": 3, "partitioner": {"template": "dirichle"}}}, "no partitioner named 'dirichle'"),
        ({"deal": {"sites": 3, "partitioner": {"template": "iid", "settings": {"a": 1}}}}, "there is no setting 'a'"),
        ({"deal": {"sites": 500}}, "300 samples to train on, too few for 500 sites"),
        ({"parts": 3}, "there is no param 'parts'; did you mean 'part'"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_its_place(change: dict[str, JsonValue], said: str) -> None:
    params: dict[str, JsonValue] = {"part": 1, "whole": WHOLE, "deal": DEAL, **change}
    with pytest.raises(ShardError, match=said) as caught:
        build_shard(ShardConfig(template="part", params=params))
    assert caught.value.place
    assert caught.value.cure


@pytest.mark.parametrize(("policy", "became"), [("drop", "left out"), ("merge", "merged into part [13]")])
def test_a_part_that_was_left_out_says_so(policy: str, became: str) -> None:
    manual: JsonValue = {"template": "manual", "settings": {"rows": [["0-99"], [], ["100-199"]]}}
    with pytest.raises(ShardError, match=f"part 2 of 3 has no samples to train on, or none held out, and was {became}"):
        part(2, sites=3, partitioner=manual, without_samples=policy)


def test_there_is_no_third_kind_of_data() -> None:
    with pytest.raises(ShardError, match="there is no 'test' data"):
        part(1).get_dataset("test")


CLINIC = """\
import numpy as np
from openfl_like.data.shard import ArrayShard, Dataset

class Clinic(ArrayShard):
    def __init__(self, file):
        samples = np.loadtxt(file, ndmin=2).astype(np.float32)
        data = Dataset(samples, (samples[:, 0] % 2).astype(np.int64))
        super().__init__({"train": data, "validate": data}, "A clinic.", (0.0, 100.0), classes=2)

class EveryThird:
    needs_labels = False
    def owners(self, targets, sites, seed):
        return np.arange(len(targets)) // 3 % sites
"""


def test_code_and_files_of_a_site_are_found_beside_its_shard_file(tmp_path: Path) -> None:
    (tmp_path / "clinic.py").write_text(CLINIC)
    np.savetxt(tmp_path / "patients.csv", np.arange(12))
    text = "template: part\nparams:\n  part: 2\n  whole: {template: clinic:Clinic, params: {file: patients.csv}}\n"
    (tmp_path / "shard.yaml").write_text(text + "  deal: {sites: 2, partitioner: {template: clinic:EveryThird}}\n")
    made = build_shard(load_shard_config(tmp_path / "shard.yaml"), tmp_path)
    assert made.get_dataset("train").samples[:, 0].tolist() == [3, 4, 5, 9, 10, 11]
