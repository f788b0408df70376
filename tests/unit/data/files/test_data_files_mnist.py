"""MNIST and Fashion-MNIST: what is read of IDX files, and what is said of files that are none."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from openfl_like.data.files.mnist import FashionMnistShard, MnistShard, read_idx
from openfl_like.data.shard import build_shard, check_shard
from openfl_like.data.shard_file import ShardConfig
from openfl_like.errors import ShardError
from tests.made_files import IDX_NAMES, idx, mnist

IMAGES, LABELS = IDX_NAMES[:2]


def test_images_are_numbers_from_0_to_1_in_one_channel(tmp_path: Path) -> None:
    mnist(tmp_path)
    shard = MnistShard(str(tmp_path))
    check_shard(shard)
    train = shard.get_dataset("train")
    assert (train.samples.shape, train.samples.dtype.name) == ((60, 1, 28, 28), "float32")
    assert (len(shard.get_dataset("validate")), shard.schema.classes, shard.schema.sample_range) == (20, 10, (0, 1))
    raw = np.frombuffer((tmp_path / IMAGES).read_bytes()[16:], np.uint8).reshape(60, 28, 28)
    assert np.array_equal(train.samples[:, 0], raw.astype(np.float32) / 255)
    assert train.targets[:12].tolist() == [*range(10), 0, 1]


def test_bytes_stay_bytes_where_the_model_scales_them(tmp_path: Path) -> None:
    mnist(tmp_path, compressed=True)
    shard = FashionMnistShard(str(tmp_path), pixels="uint8")
    check_shard(shard)
    scaled = FashionMnistShard(str(tmp_path)).get_dataset("train").samples
    found = shard.get_dataset("train").samples
    assert (found.dtype.name, shard.schema.sample_range) == ("uint8", (0, 255))
    assert np.array_equal(found.astype(np.float32) / 255, scaled)


def test_a_name_may_hide_that_a_file_is_compressed(tmp_path: Path) -> None:
    array = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
    (tmp_path / "some").write_bytes(gzip.compress(idx(array)))
    assert np.array_equal(read_idx(tmp_path / "some", 3), array)


SHORT = "the file is cut off: {} bytes, and 47056 with 60 x 28 x 28 values (fetch it again"
WRONG: list[tuple[Callable[[bytes], bytes], str]] = [
    (lambda data: data[:-1], SHORT.format(47055)),
    (lambda data: data[:9], "the file is cut off: 9 bytes"),
    (lambda data: data + b"\0", "the file is longer than it says: 47057 bytes, and 47056"),
    (lambda _: b"", "it is no IDX file: it begins with nothing, not 00000803"),
    (lambda _: b"<!DOCTYPE html>", "it is no IDX file: it begins with 3c21444f, not 00000803"),
    (lambda data: data[:2] + b"\x0d" + data[3:], "it is an IDX file of float32 in 3 dimensions, not of uint8 in 3"),
    (lambda _: idx(np.zeros(60, np.uint8)), "it is an IDX file of uint8 in 1 dimensions, not of uint8 in 3"),
    (lambda _: idx(np.zeros((60, 14, 14), np.uint8)), "its images have 14 x 14 pixels, not 28 x 28"),
    (lambda _: idx(np.zeros((59, 28, 28), np.uint8)), f"59 images, but 60 labels in {LABELS}"),
    (lambda data: gzip.compress(data)[:-20], "the gzip file is cut off or damaged"),
    (lambda data: gzip.compress(data)[:5000] + b"\0" * 5000, "the gzip file is cut off or damaged"),
]


@pytest.mark.parametrize(("change", "told"), WRONG)
def test_a_file_that_is_not_whole_is_named(tmp_path: Path, change: Callable[[bytes], bytes], told: str) -> None:
    params = mnist(tmp_path)
    (tmp_path / IMAGES).write_bytes(change((tmp_path / IMAGES).read_bytes()))
    with pytest.raises(ShardError) as caught:
        build_shard(ShardConfig(template="mnist", params=params))
    assert str(caught.value).startswith(str(tmp_path / IMAGES))
    assert told in str(caught.value)
    assert caught.value.cure


@pytest.mark.parametrize("name", IDX_NAMES)
def test_a_file_that_is_missing_is_named(tmp_path: Path, name: str) -> None:
    mnist(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(ShardError, match=f"there is no file {name} in it, with or without .gz") as caught:
        MnistShard(str(tmp_path))
    assert caught.value.place == str(tmp_path)


def test_a_folder_that_is_missing_is_told_with_how_paths_are_written() -> None:
    with pytest.raises(ShardError, match="there is no such folder") as caught:
        MnistShard("no_such_folder")
    assert "./no_such_folder" in caught.value.cure


def test_a_label_beyond_the_classes_is_refused(tmp_path: Path) -> None:
    params = mnist(tmp_path)
    (tmp_path / LABELS).write_bytes(idx(np.full(60, 10, np.uint8)))
    with pytest.raises(ShardError, match="the train targets reach from 10 to 10, the schema promises 0 to 9"):
        build_shard(ShardConfig(template="mnist", params=params))


def test_pixels_that_there_are_none_of_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match="pixels is 'float16', not float32 or uint8"):
        MnistShard(str(tmp_path / "nothing"), pixels="float16")
