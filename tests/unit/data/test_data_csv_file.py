"""A shard of a CSV file: what it gives, and what is told of a file that it cannot use."""

from pathlib import Path

import pytest

from openfl_like.data.csv_file import CsvShard
from openfl_like.data.deal import DataSet, DealSettings, deal_out
from openfl_like.data.shard import build_shard, check_shard
from openfl_like.data.shard_file import ShardConfig
from openfl_like.errors import ShardError
from openfl_like.plan.section import Component

ROWS = "".join(f"{20 + row},{'a lot' if row % 2 else 'none'},{row / 10}\n" for row in range(40))
TABLE = f"age,drinks,dose\n{ROWS}"
CLASSES = {"target": "drinks", "classes": ["none", "a lot"]}


def write(folder: Path, text: str = TABLE) -> str:
    path = folder / "patients.csv"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_words_become_classes_and_numbers_are_scaled_as_all_sites_agreed(tmp_path: Path) -> None:
    shard = CsvShard(write(tmp_path), "drinks", classes=["none", "a lot"], scale={"age": [40, 20]})
    check_shard(shard)
    train, held = shard.get_dataset("train"), shard.get_dataset("validate")
    assert (len(train), len(held), shard.sample_shape, shard.target_shape) == (30, 10, (2,), ())
    assert (train.samples.dtype.name, train.targets.dtype.name, shard.schema.classes) == ("float32", "int64", 2)
    assert train.samples[0].tolist() == [-1.0, 0.0]
    assert held.targets.sum() == 5


def test_without_classes_the_target_is_a_number_to_come_near_to(tmp_path: Path) -> None:
    text = TABLE.replace("a lot", "1").replace("none", "0")
    shard = CsvShard(write(tmp_path, text), "dose", columns=["drinks"], scale={"dose": [2, 2]})
    check_shard(shard)
    train = shard.get_dataset("train")
    assert (shard.schema.classes, train.targets.dtype.name, train.samples.shape) == (0, "float32", (30, 1))
    assert -1 <= train.targets.min() <= train.targets.max() <= 1


def test_sites_of_a_simulation_share_the_rows_and_no_row_twice(tmp_path: Path) -> None:
    file, ages = write(tmp_path), list[float]()
    for site in (1, 2, 3):
        shard = CsvShard(file, "drinks", classes=["none", "a lot"], site=site, sites=3)
        ages += [age for kind in ("train", "validate") for age in shard.get_dataset(kind).samples[:, 0]]
    assert sorted(ages) == list(range(20, 60))


def test_a_column_says_whose_a_row_is_and_sites_are_made_of_them(tmp_path: Path) -> None:
    wards = "".join(f"{20 + row},{'a lot' if row % 2 else 'none'},ward {row // 2 % 4}\n" for row in range(80))
    shard = CsvShard(write(tmp_path, f"age,drinks,ward\n{wards}"), group="ward", **CLASSES)  # type: ignore[arg-type]  # a target and a list
    check_shard(shard)
    assert shard.sample_shape == (1,), "the model sees the age alone"
    train = shard.get_dataset("train")
    assert shard.groups("train").tolist() == [(int(age) - 20) // 2 % 4 for age in train.samples[:, 0]]  # type: ignore[union-attr]  # not None here
    whole = DataSet.of(shard)
    deal = deal_out(whole, DealSettings(sites=4, partitioner=Component(template="natural")))
    for rows, kind in ((deal.train, "train"), (deal.validate, "validate")):
        assert [len(set(whole.groups[kind][rows.rows(site)].tolist())) for site in range(4)] == [1] * 4


@pytest.mark.parametrize(
    ("found", "instead", "told"),
    [
        ("37,a lot,1.7", ",a lot,1.7", "line 19: the column 'age' is empty (fill it in, or leave that line out)"),
        ("37,a lot,1.7", "young,a lot,1.7", "line 19: the column 'age' is not a finite number (name the columns"),
        ("37,a lot,1.7", "inf,a lot,1.7", "line 19: the column 'age' is not a finite number"),
        ("37,a lot,1.7", "3700,a lot,1.7", "line 19: the column 'age' is further than 100 from 0"),
        ("37,a lot,1.7", "37,sixpack,1.7", "line 19: the column 'drinks' is none of the classes none, a lot (add it"),
        ("37,a lot,1.7", "37,a lot,1,7", "line 19 has 4 cells, the heading has 3 (see that"),
        ("37,a lot,1.7", '\n"37",a lot,1.7\n,a lot,"\n1"', "line 22: the column 'age' is empty"),
        ("drinks,", "drink,", "there is no column 'drinks' (did you mean 'drink'?)"),
        ("age,drinks,", "dose,drinks,", "two columns are called 'dose'"),
        (ROWS, "", "there are no rows below the heading"),
        (TABLE, TABLE.replace(",", ";"), "there is no column 'drinks' (name another params.delimiter)"),
        (TABLE, "", "there is no column 'drinks'"),
    ],
)
def test_what_is_wrong_is_told_with_its_line_of_the_file_and_without_the_cell(
    tmp_path: Path, found: str, instead: str, told: str
) -> None:
    file = write(tmp_path, TABLE.replace(found, instead, 1))
    with pytest.raises(ShardError) as caught:
        build_shard(ShardConfig(template="csv", params={"file": file, **CLASSES}), tmp_path)
    assert told in str(caught.value)
    assert str(caught.value).startswith(file)
    assert not {"young", "3700", "sixpack"} & set(str(caught.value).replace("'", " ").split())


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"classes": ["none", True]}, "params.classes has the truth value True, not a word"),
        ({"scale": {"ages": [1, 2]}}, "params.scale names 'ages', which is not a column (did you mean 'age'?)"),
        ({"scale": {"age": [1, 0]}}, "params.scale of 'age' is not a pair of centre and width"),
        ({"columns": ["age", "drinks"]}, "the target is among params.columns"),
        ({"group": "ward"}, "there is no column 'ward'"),
        ({"group": "dose", "columns": ["dose"]}, "the group is among params.columns"),
        ({"columns": []}, "no column is left for the model to see"),
        ({"site": 4, "sites": 3}, "there is no site 4 among 3"),
        ({"delimeter": ";"}, "delimiter"),
    ],
)
def test_params_that_do_not_fit_are_told(tmp_path: Path, params: dict[str, object], told: str) -> None:
    config = ShardConfig.model_validate({"template": "csv", "params": {"file": write(tmp_path), **CLASSES, **params}})
    with pytest.raises(ShardError) as caught:
        build_shard(config, tmp_path)
    assert told in str(caught.value)
