"""FEMNIST as LEAF writes it: JSON files of images by their writers."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from openfl_like.data.files.pixels import ImageShard, check_pixels
from openfl_like.data.files.reading import FETCH_AGAIN, check_folder, read_file
from openfl_like.data.shard import Dataset
from openfl_like.errors import ShardError
from openfl_like.plan.mistakes import did_you_mean

_SIDE = 28
_FOLDERS = {"train": "train", "validate": "test"}
_CURE = "run LEAF's preprocess.sh for femnist with '-s niid -t sample', and give its folder that has train and test"


@dataclass(frozen=True, slots=True)
class _Written:
    """Images of one writer in one file."""

    writer: str
    images: np.ndarray
    classes: np.ndarray


class FemnistShard(ImageShard):
    """FEMNIST of LEAF: handwritten digits and letters by writer, samples ``[1, 28, 28]``, targets 0 to 61 as int64.

    S. Caldas et al. 2018, "LEAF: a benchmark for federated settings", arXiv:1812.01097; from NIST's special database
    19. Classes are 0 to 9, A to Z, a to z. Whose an image is, the partitioner ``natural`` knows, so that sites are made
    of writers.

    Args:
        folder: Where LEAF's folders ``train`` and ``test`` with ``*.json`` are; each file may be compressed (``.gz``).
            They have to hold the same writers, as ``-t sample`` makes them.
        writer: Whose images the site has, by LEAF's name (``f3795_00``); none: those of all.
        pixels: ``float32`` from 0 to 1, or ``uint8`` from 0 to 255 in a quarter of the memory, which the model scales.

    Raises:
        ShardError: If a file is missing, cut off or of another form, or there is no such writer.
    """

    def __init__(self, folder: str, writer: str | None = None, pixels: str = "float32") -> None:
        check_pixels(pixels)
        check_folder(Path(folder), _CURE)
        found = {kind: list(_written(Path(folder) / name, pixels)) for kind, name in _FOLDERS.items()}
        if writer is not None:
            found = {kind: _of(writer, written, folder) for kind, written in found.items()}
        names = sorted({one.writer for written in found.values() for one in written})
        numbers = {name: number for number, name in enumerate(names)}
        of = "one writer" if writer is not None else f"{len(names)} writers"
        super().__init__(
            {kind: _joined(written) for kind, written in found.items()},
            f"FEMNIST (LEAF, S. Caldas et al. 2018; NIST special database 19): digits and letters of {of}.",
            classes=62,
            pixels=pixels,
            groups={kind: _groups(written, numbers) for kind, written in found.items()},
        )


def _joined(written: list[_Written]) -> Dataset:
    return Dataset(np.concatenate([one.images for one in written]), np.concatenate([one.classes for one in written]))


def _groups(written: list[_Written], numbers: Mapping[str, int]) -> np.ndarray:
    return np.repeat([numbers[one.writer] for one in written], [len(one.classes) for one in written])


def _of(writer: str, written: list[_Written], folder: str) -> list[_Written]:
    chosen = [one for one in written if one.writer == writer]
    if not chosen:
        cure = did_you_mean(writer, sorted({one.writer for one in written}))
        raise ShardError(f"there is no writer '{writer}' in train and test", place=folder, cure=cure)
    return chosen


def _written(folder: Path, pixels: str) -> Iterator[_Written]:
    """Read the files of a folder, one after the other, in the order of their names."""
    paths = sorted(path for path in folder.glob("*.json*") if path.suffix in {".json", ".gz"})
    if not paths:
        told = "there are no *.json in it" if folder.is_dir() else "there is no such folder"
        raise ShardError(told, place=str(folder), cure=_CURE)
    for path in paths:
        try:
            document = json.loads(read_file(path))
        except (ValueError, RecursionError) as error:
            raise ShardError(f"it is no whole JSON file ({error})", place=str(path), cure=FETCH_AGAIN) from error
        users = document.get("user_data") if isinstance(document, dict) else None
        if not isinstance(users, dict):
            raise ShardError("it has no 'user_data', as files of LEAF have", place=str(path), cure=_CURE)
        yield from (_writer(name, data, pixels, path) for name, data in users.items())


def _writer(name: str, data: object, pixels: str, path: Path) -> _Written:
    """Make arrays of what a file says of a writer; no message names who it is."""
    if not isinstance(data, dict) or not {"x", "y"} <= set(data):
        raise ShardError("a writer in it has no 'x' or no 'y'", place=str(path), cure=_CURE)
    try:
        images, classes = np.asarray(data["x"], np.float32), np.asarray(data["y"])
    except ValueError as error:
        raise ShardError(f"a writer's images are no numbers ({error})", place=str(path), cure=_CURE) from error
    if images.ndim != 2 or images.shape[1] != _SIDE * _SIDE or classes.dtype.kind not in "iu":
        told = (
            f"a writer's images have the shape {images.shape}, not (n, {_SIDE * _SIDE}) with whole numbers as classes"
        )
        raise ShardError(told, place=str(path), cure=_CURE)
    if classes.shape != images.shape[:1]:
        told = f"a writer has {len(images)} images and {classes.size} classes"
        raise ShardError(told, place=str(path), cure=_CURE)
    if not (np.isfinite(images).all() and images.min() >= 0 and images.max() <= 1):
        raise ShardError("a writer's images have values that are not between 0 and 1", place=str(path), cure=_CURE)
    stored = images if pixels == "float32" else np.rint(images * 255).astype(np.uint8)
    return _Written(name, stored.reshape(-1, 1, _SIDE, _SIDE), classes)
