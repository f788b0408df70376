"""KDD Cup 99: what a connection becomes, and what is said of a file that is none of the contest."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from openfl_like.data.files.kdd_columns import CLASSES, COLUMNS, FLAGS, PROTOCOLS, SERVICES, WIDTH, Scale
from openfl_like.data.files.kdd_cup import KddCupShard
from openfl_like.data.shard import build_shard, check_shard
from openfl_like.data.shard_file import ShardConfig
from openfl_like.errors import ShardError
from tests.made_files import connections, kdd_cup_99

LINE = (
    "0,tcp,http,SF,181,5450,0,0,0,0,0,1,0,0,0,0,0,0,0,0,0,0,8,8,0.00,0.00,0.00,0.00,1.00,0.00,0.00,9,9,1.00,0.00,0.11,"
    "0.00,0.00,0.00,0.00,0.00,{}.\n"
)


def lines(*labels: str) -> str:
    return "".join(LINE.format(label) for label in labels)


def read(folder: Path, text: str, classes: int = 5, held_out: str = LINE.format("normal")) -> KddCupShard:
    for name, content in (("train", text), ("test", held_out)):
        (folder / name).write_text(content)
    return KddCupShard(str(folder / "train"), str(folder / "test"), classes=classes)


def test_the_form_is_the_contests() -> None:
    assert (len(COLUMNS), len(PROTOCOLS), len(SERVICES), len(FLAGS)) == (41, 3, 70, 11)
    assert WIDTH == 38 + 3 + 70 + 11 == 122
    labels = [label for of_class in CLASSES.values() for label in of_class]
    assert len(labels) == len(set(labels)) == 40, "normal, 22 attacks of the training data, 17 more of the test data"


def test_a_connection_becomes_122_numbers_in_the_order_of_the_columns(tmp_path: Path) -> None:
    (sample,) = read(tmp_path, lines("normal")).get_dataset("train").samples
    places, place = {}, 0
    for name, how in COLUMNS.items():
        places[name] = place
        place += 1 if isinstance(how, Scale) else len(how)
    assert sample[places["protocol_type"] : places["service"]].tolist() == [0, 1, 0]
    assert np.flatnonzero(sample[places["service"] : places["flag"]]).tolist() == [SERVICES.index("http")]
    assert np.flatnonzero(sample[places["flag"] : places["src_bytes"]]).tolist() == [FLAGS.index("SF")]
    expected = {
        "duration": 0,
        "src_bytes": np.log(182) / 10,
        "dst_bytes": np.log(5451) / 10,
        "logged_in": 1,
        "count": 8 / 512,
        "dst_host_count": 9 / 256,
        "same_srv_rate": 1,
        "dst_host_same_src_port_rate": 0.11,
        "dst_host_srv_rerror_rate": 0,
    }
    assert {name: sample[places[name]] for name in expected} == pytest.approx(expected, abs=1e-6)


def test_labels_are_five_classes_or_two(tmp_path: Path) -> None:
    text = lines("normal", "satan", "smurf", "rootkit", "spy", "httptunnel")
    assert read(tmp_path, text).get_dataset("train").targets.tolist() == [0, 1, 2, 3, 4, 3]
    two = read(tmp_path, text, classes=2)
    check_shard(two)
    assert two.get_dataset("train").targets.tolist() == [0, 1, 1, 1, 1, 1]


def test_without_a_test_file_a_part_of_each_class_is_held_out(tmp_path: Path) -> None:
    shard = build_shard(ShardConfig(template="kdd_cup_99", params=kdd_cup_99(tmp_path / "kdd.gz", 400)))
    counts = [np.bincount(shard.get_dataset(kind).targets, minlength=5) for kind in ("train", "validate")]
    assert np.array_equal(counts[1], np.rint((counts[0] + counts[1]) / 4))


def test_a_large_file_is_read_in_parts(tmp_path: Path) -> None:
    text = connections(1000) * 41
    (tmp_path / "train").write_bytes(gzip.compress(text.encode(), 1))
    shard = KddCupShard(str(tmp_path / "train"), str(tmp_path / "train"))
    train = shard.get_dataset("train")
    assert train.samples.shape == (41_000, WIDTH)
    assert np.array_equal(train.samples[:1000], train.samples[-1000:])


def test_a_service_that_is_not_listed_sets_none(tmp_path: Path) -> None:
    (sample,) = read(tmp_path, lines("normal").replace("http", "icmp")).get_dataset("train").samples
    assert sample[2 + 2 : 4 + 70].sum() == 0


@pytest.mark.parametrize(
    ("found", "instead", "told"),
    [
        ("tcp", "smtp", "line 2: the column 'protocol_type' is none of its words"),
        (",SF,", ",XX,", "line 2: the column 'flag' is none of its words"),
        (",181,", ",secret,", "line 2: the column 'src_bytes' is no number that it may be"),
        (",181,", ",-1,", "line 2: the column 'src_bytes' is no number that it may be"),
        (",181,", ",inf,", "line 2: the column 'src_bytes' is no number that it may be"),
        (",0.11,", ",1.11,", "line 2: the column 'dst_host_same_src_port_rate' is no number that it may be"),
        (",8,8,", ",600,8,", "line 2: the column 'count' is no number that it may be"),
        ("smurf", "smurfs", "line 2: the label is neither normal nor an attack of the contest"),
        (",smurf.", "", "line 2 has 41 cells; a connection with its label has 42"),
    ],
)
def test_what_is_wrong_is_told_with_its_line_and_without_the_cell(
    tmp_path: Path, found: str, instead: str, told: str
) -> None:
    text = lines("normal") + lines("smurf").replace(found, instead, 1) + lines("normal")
    with pytest.raises(ShardError) as caught:
        read(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / 'train'}: {told}")
    assert "secret" not in str(caught.value)


def test_files_and_params_that_do_not_do_are_told(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match="the file is empty"):
        read(tmp_path, "")
    with pytest.raises(ShardError, match="classes is 23, not 2 or 5"):
        read(tmp_path, lines("normal"), classes=23)
    with pytest.raises(ShardError, match="there is no such file"):
        KddCupShard(str(tmp_path / "nothing"))
    (tmp_path / "cut.gz").write_bytes(gzip.compress(connections(100).encode())[:-100])
    with pytest.raises(ShardError, match="the gzip file is cut off or damaged"):
        KddCupShard(str(tmp_path / "cut.gz"))
