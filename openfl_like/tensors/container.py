"""Model files: safetensors, read through a read-only memory map and written atomically.

The bytes of a file depend only on its tensors: no time stamp, no metadata, one order. Hosts are little endian.
"""

import mmap
import os
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

import numpy as np

from openfl_like.errors import TensorError
from openfl_like.failpoints import failpoint
from openfl_like.tensors.layout import LENGTH_BYTES, Place, header_length, parse_header, plan_layout, schema_at
from openfl_like.tensors.manifest import ChunkDigests, Manifest, manifest_of
from openfl_like.tensors.named import Array, Schema, bytes_of, dtype_name, schema_of
from openfl_like.tensors.writeback import WRITEBACK_BYTES, start_writeback

PIECE_BYTES = 1 << 20
"""Written at once: what was just hashed is still in the processor's cache."""

Part: TypeAlias = tuple[str, int, int]
"""Some elements of a tensor: its name, the first of them, the one after the last."""


class TensorFile:
    """A model file, open for reading; its tensors are views on the memory map, valid as long as they are referenced.

    Attributes:
        known_finite: Whether somebody has seen that all its numbers are finite.

    Raises:
        TensorError: If the file cannot be read or is malformed; nothing but its header has been read by then.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known_finite = False
        self._map, places = _map_file(path)
        self._places = {place.spec.name: place for place in places}
        self._views: dict[str, Array] = {}
        self.schema: Schema = schema_at(places)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the map go; views that are still referenced keep it until they go."""
        # Never mmap.close(): numpy does not hold the buffer against it, and the next look at a view would be a crash.
        self._map, self._places, self._views = None, {}, {}

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors' names, sorted."""
        return tuple(spec.name for spec in self.schema)

    @property
    def size_bytes(self) -> int:
        """Size of the file; 0 if it is closed."""
        return 0 if self._map is None else len(self._map)

    def tensor(self, name: str) -> Array:
        """A read-only view of one tensor, without a copy.

        Raises:
            TensorError: If there is no such tensor or the file is closed.
        """
        known = self._views.get(name)
        if known is not None:
            return known
        place = self._places.get(name)
        if place is None:
            raise TensorError(f"there is no tensor '{name}' in the open file", place=str(self.path))
        view = np.ndarray(place.spec.shape, place.spec.numpy_dtype, buffer=self._map, offset=place.offset)
        self._views[name] = view
        return view

    def flat(self, name: str) -> Array:
        """A read-only view of one tensor as a vector, row-major.

        Raises:
            TensorError: As `tensor`.
        """
        return self.tensor(name).reshape(-1)

    def release(self, parts: Iterable[Part]) -> None:
        """Take the pages of parts that were read off this process's memory; the kernel keeps them in its cache.

        They may be read again at any time.
        """
        if self._map is None:
            return
        for begin, end in _pages(self._places, parts):
            self._map.madvise(mmap.MADV_DONTNEED, begin, end - begin)


class TensorWriter:
    """Writes a model file block by block; the file appears under its name when it is complete and on disk.

    As a context manager it closes on success and aborts on an exception. A crash leaves at most a file
    ``.<name>.*.tmp``.

    Args:
        path: Where the file will be; an older one of that name is replaced.
        schema: The tensors it will hold.
        sync: False skips fsync, for files that need not survive a crash.
        recyclable: A file that nobody needs any more: it is overwritten and renamed, which saves the kernel from
            freeing and clearing as many pages. None: a new file is made.

    Raises:
        TensorError: If the schema cannot be stored.
    """

    def __init__(self, path: Path, schema: Schema, *, sync: bool = True, recyclable: Path | None = None) -> None:
        self._path, self._sync = path, sync
        header, places = plan_layout(schema)
        self._places = {place.spec.name: place for place in places}
        self._left = {place.spec.name: place.spec.size for place in places}
        self._fd, self._temporary = _make_room(path, recyclable)
        self._open = True
        self._unsynced = 0
        try:
            size = len(header) + sum(place.spec.size_bytes for place in places)
            os.ftruncate(self._fd, size)
            # Space is taken at once: a full disk shows here and not after half of the work.
            os.posix_fallocate(self._fd, 0, size)
            self._digests: ChunkDigests | None = ChunkDigests(size)
            self._put(memoryview(header), 0)
        except BaseException:
            self.abort()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    @property
    def order(self) -> tuple[str, ...]:
        """The tensors' names in the order of their bytes; written like this, the file need not be read again."""
        return tuple(sorted(self._places, key=lambda name: self._places[name].offset))

    def write(self, name: str, start: int, block: Array) -> None:
        """Write elements of a tensor; every element has to be written exactly once, in any order.

        Args:
            name: The tensor.
            start: Index of the block's first element in the row-major vector.
            block: Elements, dtype as in the schema, any shape (taken row-major).

        Raises:
            TensorError: If the block does not fit the tensor.
        """
        place = self._places.get(name)
        if place is None:
            raise TensorError(f"the schema has no tensor '{name}'", place=str(self._path))
        self._check_block(place, start, block)
        self._put(bytes_of(block), place.offset + start * place.spec.numpy_dtype.itemsize)
        self._left[name] -= block.size

    def manifest(self) -> Manifest:
        """Describe the closed file; it is read for that only if its bytes were not written in their order."""
        if self._digests is None:
            return manifest_of(self._path)
        return self._digests.manifest()

    def write_span(self, offset: int, data: memoryview) -> None:
        """Write bytes as they lie in the file; several threads may do so at once. `complete` has to follow."""
        _write_all(self._fd, data, offset)
        if self._sync and offset // WRITEBACK_BYTES != (offset + len(data)) // WRITEBACK_BYTES:
            start_writeback(self._fd)

    def complete(self) -> None:
        """Say that spans of the caller's have covered the whole file."""
        self._left = {}

    def close(self) -> None:
        """Make the file durable and return it its name; a second call does nothing.

        Raises:
            TensorError: If elements were not written; the file is then aborted.
        """
        if not self._open:
            return
        gaps = sorted(name for name, left in self._left.items() if left)
        if gaps:
            self.abort()
            raise TensorError(f"tensor '{gaps[0]}' was not written completely", place=str(self._path))
        try:
            if self._sync:
                os.fsync(self._fd)
            failpoint("tensors.rename.before", self._temporary)
            self._temporary.replace(self._path)
        except BaseException:
            self.abort()
            raise
        self._open = False
        os.close(self._fd)
        if self._sync:
            _sync_directory(self._path.parent)

    def abort(self) -> None:
        """Remove what was written; an older file of the same name stays."""
        if self._open:
            self._open = False
            os.close(self._fd)
            self._temporary.unlink(missing_ok=True)

    def _put(self, data: memoryview, offset: int) -> None:
        if data and self._digests is not None and offset != self._digests.position:
            self._digests = None
        for begin in range(0, len(data), PIECE_BYTES):
            piece = data[begin : begin + PIECE_BYTES]
            if self._digests is not None:
                self._digests.add(piece)
            _write_all(self._fd, piece, offset + begin)
            self._unsynced += len(piece)
            if self._sync and self._unsynced >= WRITEBACK_BYTES:
                start_writeback(self._fd)
                self._unsynced = 0

    def _check_block(self, place: Place, start: int, block: Array) -> None:
        spec = place.spec
        if not self._open:
            raise TensorError("the file is closed", place=str(self._path))
        if dtype_name(block.dtype) != spec.dtype:
            raise TensorError(f"a block of {block.dtype} does not fit tensor {spec}", place=str(self._path))
        if start < 0 or start + block.size > spec.size or block.size > self._left[spec.name]:
            raise TensorError(f"elements {start}..{start + block.size} do not fit tensor {spec}", place=str(self._path))


def _make_room(path: Path, recyclable: Path | None) -> tuple[int, Path]:
    """Open a file beside ``path`` that nobody else writes: the spare under another name, or a new one."""
    if recyclable is not None:
        temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}.tmp")
        with suppress(FileNotFoundError):
            recyclable.replace(temporary)
            return os.open(temporary, os.O_RDWR | os.O_CLOEXEC), temporary
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    return descriptor, Path(name)


def write_tensors(
    path: Path, tensors: Mapping[str, Array], *, sync: bool = True, recyclable: Path | None = None
) -> Manifest:
    """Write a model file: temporary file, fsync, rename.

    Args:
        path: Where the file will be.
        tensors: Name -> array of a dtype in `named.DTYPES`, any memory order.
        sync: False skips fsync.
        recyclable: As in `TensorWriter`.

    Returns:
        The manifest of the file.

    Raises:
        TensorError: If a name or dtype cannot be stored.
    """
    with TensorWriter(path, schema_of(tensors), sync=sync, recyclable=recyclable) as writer:
        for name in writer.order:
            writer.write(name, 0, tensors[name])
    return writer.manifest()


def read_tensors(path: Path) -> dict[str, Array]:
    """Read a model file into memory: name -> array of its own, sorted by name.

    Raises:
        TensorError: If the file cannot be read or is malformed.
    """
    with TensorFile(path) as file:
        return {name: file.tensor(name).copy() for name in file.names}


def _map_file(path: Path) -> tuple[mmap.mmap | None, tuple[Place, ...]]:
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            length = header_length(file.read(LENGTH_BYTES), size)
            places = parse_header(file.read(length), size - LENGTH_BYTES - length)
            return mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ), places
    except OSError as error:
        raise TensorError(f"the model file cannot be read: {error.strerror}", place=str(path)) from error
    except TensorError as error:
        raise TensorError(error.message, place=str(path), cure=error.cure) from error


def _pages(places: Mapping[str, Place], parts: Iterable[Part]) -> list[tuple[int, int]]:
    """The bytes of parts, from the beginning of a page on; what adjoins is one range."""
    ranges = []
    for name, start, stop in parts:
        place, width = places[name], places[name].spec.numpy_dtype.itemsize
        begin = place.offset + start * width
        ranges.append((begin - begin % mmap.PAGESIZE, place.offset + stop * width))
    merged: list[tuple[int, int]] = []
    for begin, end in sorted(ranges):
        if merged and begin <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        elif begin < end:
            merged.append((begin, end))
    return merged


def _write_all(fd: int, data: memoryview, offset: int) -> None:
    while data:
        written = os.pwrite(fd, data, offset)
        data, offset = data[written:], offset + written


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
