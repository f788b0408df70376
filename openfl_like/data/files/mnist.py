"""MNIST and Fashion-MNIST from their four IDX files."""

import math
from pathlib import Path

import numpy as np

from openfl_like.data.files.pixels import ImageShard, check_pixels
from openfl_like.data.files.reading import FETCH_AGAIN, find_file, read_file
from openfl_like.data.shard import Dataset
from openfl_like.errors import ShardError

_SIDE = 28
_FILES = {"train": "train", "validate": "t10k"}
_TYPES = {8: "uint8", 9: "int8", 11: "int16", 12: "int32", 13: "float32", 14: "float64"}


class MnistShard(ImageShard):
    """MNIST: handwritten digits, samples ``[1, 28, 28]``, targets 0 to 9 as int64 scalars.

    60,000 images to train on, 10,000 held out (Y. LeCun, L. Bottou, Y. Bengio, P. Haffner 1998, "Gradient-based
    learning applied to document recognition"). As float32 they take 220 MB.

    Args:
        folder: Where the four files are: ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte`` and the two of
            ``t10k``, each as it is or with ``.gz``. Data of the same form and names (Kuzushiji-MNIST) will do.
        pixels: ``float32`` from 0 to 1, or ``uint8`` from 0 to 255 in a quarter of the memory, which the model scales.

    Raises:
        ShardError: If a file is missing, cut off or of another form.
    """

    def __init__(self, folder: str, pixels: str = "float32") -> None:
        super().__init__(
            _read(Path(folder), pixels, "the four files of MNIST"),
            "MNIST: handwritten digits (Y. LeCun, L. Bottou, Y. Bengio, P. Haffner 1998; from NIST).",
            classes=10,
            pixels=pixels,
        )


class FashionMnistShard(ImageShard):
    """Fashion-MNIST: pictures of clothes, samples ``[1, 28, 28]``, targets 0 to 9 as int64 scalars.

    60,000 images to train on, 10,000 held out (H. Xiao, K. Rasul, R. Vollgraf 2017, arXiv:1708.07747; Zalando SE). Its
    files have the names of MNIST's, so it needs a folder of its own.

    Args:
        folder: Where the four files are; see `MnistShard`.
        pixels: ``float32`` or ``uint8``; see `MnistShard`.

    Raises:
        ShardError: If a file is missing, cut off or of another form.
    """

    def __init__(self, folder: str, pixels: str = "float32") -> None:
        super().__init__(
            _read(Path(folder), pixels, "the four files of Fashion-MNIST"),
            "Fashion-MNIST: pictures of ten kinds of clothes (H. Xiao, K. Rasul, R. Vollgraf 2017; Zalando SE).",
            classes=10,
            pixels=pixels,
        )


def _read(folder: Path, pixels: str, what: str) -> dict[str, Dataset]:
    check_pixels(pixels)
    return {kind: _pair(folder, name, f"put {what} into one folder") for kind, name in _FILES.items()}


def _pair(folder: Path, name: str, cure: str) -> Dataset:
    """Read images and labels that belong together."""
    files = [find_file(folder, [f"{name}-{what}-ubyte"], cure) for what in ("images-idx3", "labels-idx1")]
    images, labels = (read_idx(file, dimensions) for file, dimensions in zip(files, (3, 1), strict=True))
    if images.shape[1:] != (_SIDE, _SIDE):
        told = f"its images have {images.shape[1]} x {images.shape[2]} pixels, not {_SIDE} x {_SIDE}"
        raise ShardError(told, place=str(files[0]), cure="give the files of this data set")
    if len(images) != len(labels):
        told = f"{len(images)} images, but {len(labels)} labels in {files[1].name}"
        raise ShardError(told, place=str(files[0]), cure="give the two files that belong together")
    return Dataset(images[:, None], labels)


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """Read an IDX file of bytes: uint8, of so many dimensions.

    The form is that of the MNIST page: two zero bytes, the type, the number of dimensions, each dimension as a
    big-endian 32-bit number, the values.

    Raises:
        ShardError: If it is of another form or type, cut off, or longer than it says.
    """
    data = read_file(path)
    head = 4 + 4 * dimensions
    _check_head(path, data[:4], dimensions)
    shape = tuple(int(size) for size in np.frombuffer(data[4:head].ljust(4 * dimensions, b"\0"), ">u4"))
    wanted = head + math.prod(shape)
    if len(data) != wanted or len(data) < head:
        sizes = " x ".join(str(size) for size in shape)
        more = "cut off" if len(data) < max(wanted, head) else "longer than it says"
        told = f"the file is {more}: {len(data)} bytes, and {wanted} with {sizes} values"
        raise ShardError(told, place=str(path), cure=FETCH_AGAIN)
    return np.frombuffer(data, np.uint8, offset=head).reshape(shape)


def _check_head(path: Path, magic: bytes, dimensions: int) -> None:
    wanted = bytes([0, 0, 8, dimensions])
    if magic == wanted:
        return
    if len(magic) == 4 and magic[:2] == b"\0\0" and magic[2] in _TYPES:
        told = f"it is an IDX file of {_TYPES[magic[2]]} in {magic[3]} dimensions, not of uint8 in {dimensions}"
        cure = "look whether files of images and labels have changed places"
    else:
        told = f"it is no IDX file: it begins with {magic.hex() or 'nothing'}, not {wanted.hex()}"
        cure = FETCH_AGAIN
    raise ShardError(told, place=str(path), cure=cure)
