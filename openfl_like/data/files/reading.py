"""Reading a file that may be compressed, and saying what is wrong with one that is not whole."""

import gzip
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from openfl_like.errors import ShardError

_GZIP = b"\x1f\x8b"
FETCH_AGAIN = "fetch it again, and compare its size or checksum with what its publisher says"


def check_folder(folder: Path, cure: str) -> None:
    """Refuse a folder that is not there.

    Args:
        folder: Where files would be.
        cure: Where they come from.

    Raises:
        ShardError: If there is no such folder.
    """
    if not folder.is_dir():
        cure = f"paths are relative to shard.yaml or the plan, a name alone is written ./{folder.name}; {cure}"
        raise ShardError("there is no such folder", place=str(folder), cure=cure)


def find_file(folder: Path, names: Sequence[str], cure: str) -> Path:
    """Find the first of some files that is there.

    Args:
        folder: Where they would be.
        names: What it may be called; each also with ``.gz``.
        cure: Where the file comes from.

    Raises:
        ShardError: If none is there.
    """
    for name in names:
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                return path
    check_folder(folder, cure)
    told = f"there is no file {' or '.join(names)} in it, with or without .gz"
    raise ShardError(told, place=str(folder), cure=cure)


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file, uncompressed if it begins as gzip does, whatever its name says.

    Raises:
        ShardError: If it is not there, or what is read of it is no whole gzip file.
    """
    if not path.is_file():
        cure = f"paths are relative to shard.yaml or the plan, a name alone is written ./{path.name}"
        raise ShardError("there is no such file", place=str(path), cure=cure)
    with path.open("rb") as file:
        compressed = file.read(2) == _GZIP
        file.seek(0)
        try:
            if compressed:
                with gzip.open(file) as content:
                    yield content  # type: ignore[misc]  # a GzipFile is read like any other
            else:
                yield file
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ShardError(
                f"the gzip file is cut off or damaged: {error}", place=str(path), cure=FETCH_AGAIN
            ) from error


def read_file(path: Path) -> bytes:
    """Read a whole file, uncompressed; raises ShardError."""
    with opened(path) as file:
        return file.read()
