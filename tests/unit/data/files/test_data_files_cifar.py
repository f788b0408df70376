"""CIFAR-10 and CIFAR-100: both forms give the same, and what is wrong with a file is said."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from openfl_like.data.files.cifar import Cifar10Shard, Cifar100Shard
from openfl_like.data.shard import KINDS, ArrayShard, build_shard, check_shard
from openfl_like.data.shard_file import ShardConfig
from openfl_like.errors import ShardError
from tests.made_files import cifar, python_2_pickle

PIXELS = np.arange(2 * 3072, dtype=np.uint64).astype(np.uint8).reshape(2, 3072)


def both(folder: Path, classes: int, make: Callable[[str], ArrayShard]) -> tuple[ArrayShard, ArrayShard]:
    forms = (cifar(folder / str(binary), classes, 40, binary=binary)["folder"] for binary in (False, True))
    python, binary = (make(str(form)) for form in forms)
    return python, binary


@pytest.mark.parametrize(
    ("classes", "make"),
    [
        (10, Cifar10Shard),
        (100, Cifar100Shard),
        (100, lambda folder: Cifar100Shard(folder, labels="coarse")),
        (10, lambda folder: Cifar10Shard(folder, pixels="uint8")),
    ],
)
def test_both_forms_give_the_same_images(tmp_path: Path, classes: int, make: Callable[[str], ArrayShard]) -> None:
    for shard in (found := both(tmp_path, classes, make)):
        check_shard(shard)
        assert shard.sample_shape == (3, 32, 32)
    for kind in KINDS:
        one, other = (shard.get_dataset(kind) for shard in found)
        assert np.array_equal(one.samples, other.samples)
        assert np.array_equal(one.targets, other.targets)


def test_all_batches_are_read_in_their_order(tmp_path: Path) -> None:
    cifar(tmp_path)
    shard = Cifar10Shard(str(tmp_path), pixels="uint8")
    assert shard.schema.counts == {"train": 60, "validate": 12}
    (tmp_path / "data_batch_3").write_bytes(python_2_pickle(PIXELS, {"labels": [7, 9]}))
    train = Cifar10Shard(str(tmp_path), pixels="uint8").get_dataset("train")
    assert np.array_equal(train.samples[24:26].reshape(2, -1), PIXELS)
    assert train.targets[24:26].tolist() == [7, 9]
    assert train.samples[24, 1, 0, 0] == PIXELS[0, 1024], "a colour after the other, row by row"


def test_the_labels_are_the_ones_that_were_asked_for(tmp_path: Path) -> None:
    cifar(tmp_path, 100, 40)
    fine, coarse = (Cifar100Shard(str(tmp_path), labels=labels) for labels in ("fine", "coarse"))
    assert fine.get_dataset("train").targets.tolist() == list(range(40))
    assert coarse.get_dataset("train").targets.tolist() == [number % 20 for number in range(40)]
    assert (fine.schema.classes, coarse.schema.classes) == (100, 20)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL))
def test_a_batch_that_python_3_has_written_anew_is_read_too(tmp_path: Path, protocol: int) -> None:
    cifar(tmp_path)
    again = {"data": PIXELS, "labels": [1, 2], "filenames": ["a.png", "b.png"]}
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps(again, protocol))
    train = Cifar10Shard(str(tmp_path), pixels="uint8").get_dataset("train")
    assert np.array_equal(train.samples[:2].reshape(2, -1), PIXELS)


WRONG: list[tuple[bytes, str]] = [
    (python_2_pickle(PIXELS, {"labels": [1, 2]})[:-40], "it is no whole pickle file"),
    (b"", "it is no whole pickle file"),
    (b"<!DOCTYPE html>", "it is no whole pickle file"),
    (pickle.dumps([1, 2]), "the file holds a list, not a mapping"),
    (pickle.dumps({"labels": [1]}), "the file has no 'data'"),
    (python_2_pickle(PIXELS, {"fine_labels": [1, 2]}), "the file has no 'labels'"),
    (python_2_pickle(PIXELS, {"labels": [1]}), "2 images, but 1 labels"),
    (python_2_pickle(PIXELS[:, :1000], {"labels": [1, 2]}), "'data' has the shape (2, 1000), not (n, 3072)"),
    (pickle.dumps({"data": PIXELS, "labels": ["cat", "dog"]}, 2), "'labels' is no list of class numbers"),
    (pickle.dumps({"data": [1, 2], "labels": [1, 2]}), "'data' is no array of numpy"),
    (pickle.dumps({"data": PIXELS.astype(np.float32), "labels": [1, 2]}, 2), "'data' is f4, not u1 (uint8)"),
    (
        python_2_pickle(PIXELS, {"labels": [1, 2]}).replace((2).to_bytes(4, "little"), (3).to_bytes(4, "little"), 1),
        "'data' has another number of bytes than its shape says",
    ),
]


@pytest.mark.parametrize(("content", "told"), WRONG)
def test_a_batch_that_is_not_whole_is_named(tmp_path: Path, content: bytes, told: str) -> None:
    params = cifar(tmp_path)
    (tmp_path / "test_batch").write_bytes(content)
    with pytest.raises(ShardError) as caught:
        build_shard(ShardConfig(template="cifar10", params=params))
    assert str(caught.value).startswith(f"{tmp_path / 'test_batch'}: {told}")
    assert caught.value.cure


def test_a_binary_file_that_is_cut_off_is_named(tmp_path: Path) -> None:
    cifar(tmp_path, binary=True)
    path = tmp_path / "data_batch_5.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ShardError, match="36875 bytes, which are no whole images of 3073, as CIFAR-10 has them"):
        Cifar10Shard(str(tmp_path))


def test_a_missing_batch_is_named_with_what_to_unpack(tmp_path: Path) -> None:
    cifar(tmp_path)
    (tmp_path / "data_batch_4").unlink()
    with pytest.raises(ShardError, match=r"there is no file data_batch_4 or data_batch_4\.bin in it") as caught:
        Cifar10Shard(str(tmp_path))
    assert "unpack cifar-10-python.tar.gz" in caught.value.cure


def test_labels_of_another_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match="labels is 'superclass', not fine or coarse"):
        Cifar100Shard(str(tmp_path), labels="superclass")
