"""CIFAR-10 and CIFAR-100, from the files for Python or from the binary ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from openfl_like.data.files.pickled import array_of, read_pickled
from openfl_like.data.files.pixels import ImageShard, check_pixels
from openfl_like.data.files.reading import FETCH_AGAIN, find_file, read_file
from openfl_like.data.shard import Dataset
from openfl_like.errors import ShardError

_IMAGE = (3, 32, 32)
_BYTES = 3 * 32 * 32


@dataclass(frozen=True, slots=True)
class _Layout:
    """How one of the two data sets is written.

    Attributes:
        title: What it is called.
        archive: What its archive and folder begin with.
        train: Its files of images to train on; the binary ones have ``.bin`` besides.
        test: That of the others.
        labels: Key of the labels in a file for Python.
        label_bytes: How many labels come before an image in a binary file.
        label_place: Which of them is the one.
    """

    title: str
    archive: str
    train: tuple[str, ...]
    test: str
    labels: str
    label_bytes: int
    label_place: int


_TEN = _Layout("CIFAR-10", "cifar-10", tuple(f"data_batch_{n}" for n in range(1, 6)), "test_batch", "labels", 1, 0)
_HUNDRED = {
    "fine": _Layout("CIFAR-100", "cifar-100", ("train",), "test", "fine_labels", 2, 1),
    "coarse": _Layout("CIFAR-100", "cifar-100", ("train",), "test", "coarse_labels", 2, 0),
}


class Cifar10Shard(ImageShard):
    """CIFAR-10: photographs of ten kinds of things, samples ``[3, 32, 32]``, targets 0 to 9 as int64 scalars.

    50,000 images to train on, 10,000 held out (A. Krizhevsky 2009, "Learning multiple layers of features from tiny
    images"). As float32 they take 740 MB, as uint8 185 MB.

    Args:
        folder: Where ``data_batch_1`` to ``data_batch_5`` and ``test_batch`` are, of the version for Python
            (``cifar-10-batches-py``), or the same with ``.bin``, of the binary version. Of the former nothing is run:
            what is more than arrays, numbers and texts is refused.
        pixels: ``float32`` from 0 to 1, or ``uint8`` from 0 to 255 in a quarter of the memory, which the model scales.

    Raises:
        ShardError: If a file is missing, cut off or of another form.
    """

    def __init__(self, folder: str, pixels: str = "float32") -> None:
        super().__init__(
            _read(Path(folder), _TEN, pixels),
            "CIFAR-10: photographs of ten kinds of things (A. Krizhevsky, V. Nair, G. Hinton 2009).",
            classes=10,
            pixels=pixels,
        )


class Cifar100Shard(ImageShard):
    """CIFAR-100: photographs of a hundred kinds of things, samples ``[3, 32, 32]``, targets as int64 scalars.

    50,000 images to train on, 10,000 held out (A. Krizhevsky 2009, "Learning multiple layers of features from tiny
    images").

    Args:
        folder: Where ``train`` and ``test`` are, of the version for Python (``cifar-100-python``), or ``train.bin`` and
            ``test.bin``, of the binary version.
        labels: ``fine``, 0 to 99, or ``coarse``, the 20 groups of these, 0 to 19.
        pixels: ``float32`` or ``uint8``; see `Cifar10Shard`.

    Raises:
        ShardError: If a file is missing, cut off or of another form.
    """

    def __init__(self, folder: str, labels: str = "fine", pixels: str = "float32") -> None:
        if labels not in _HUNDRED:
            raise ShardError(f"labels is '{labels}', not fine or coarse", cure="write labels: fine, or leave it out")
        super().__init__(
            _read(Path(folder), _HUNDRED[labels], pixels),
            f"CIFAR-100, {labels} labels: photographs of things (A. Krizhevsky, V. Nair, G. Hinton 2009).",
            classes=100 if labels == "fine" else 20,
            pixels=pixels,
        )


def _read(folder: Path, layout: _Layout, pixels: str) -> dict[str, Dataset]:
    check_pixels(pixels)
    return {"train": _images(folder, layout, layout.train), "validate": _images(folder, layout, (layout.test,))}


def _images(folder: Path, layout: _Layout, names: Sequence[str]) -> Dataset:
    """Read and join some files."""
    cure = f"unpack {layout.archive}-python.tar.gz or {layout.archive}-binary.tar.gz, and name the folder that it makes"
    parts = [_part(find_file(folder, [name, f"{name}.bin"], cure), layout) for name in names]
    images = np.concatenate([part.samples for part in parts]).reshape(-1, *_IMAGE)
    return Dataset(images, np.concatenate([part.targets for part in parts]))


def _part(path: Path, layout: _Layout) -> Dataset:
    return _binary(path, layout) if ".bin" in path.suffixes else _python(path, layout)


def _binary(path: Path, layout: _Layout) -> Dataset:
    data, record = np.frombuffer(read_file(path), np.uint8), layout.label_bytes + _BYTES
    if not len(data) or len(data) % record:
        told = f"the file has {len(data)} bytes, which are no whole images of {record}, as {layout.title} has them"
        raise ShardError(told, place=str(path), cure=FETCH_AGAIN)
    rows = data.reshape(-1, record)
    return Dataset(rows[:, layout.label_bytes :], rows[:, layout.label_place])


def _python(path: Path, layout: _Layout) -> Dataset:
    found = read_pickled(path)
    missing = [key for key in ("data", layout.labels) if key not in found]
    if missing:
        told = f"the file has no '{missing[0]}'"
        raise ShardError(told, place=str(path), cure=f"give the files of {layout.title}")
    images, labels = array_of(found["data"], path), found[layout.labels]
    if images.ndim != 2 or images.shape[1] != _BYTES:
        raise ShardError(f"'data' has the shape {images.shape}, not (n, {_BYTES})", place=str(path), cure=FETCH_AGAIN)
    if not isinstance(labels, list) or not all(type(label) is int and 0 <= label < 256 for label in labels):
        raise ShardError(f"'{layout.labels}' is no list of class numbers", place=str(path), cure=FETCH_AGAIN)
    if len(labels) != len(images):
        raise ShardError(f"{len(images)} images, but {len(labels)} labels", place=str(path), cure=FETCH_AGAIN)
    return Dataset(images, np.array(labels, np.uint8))
