"""Tensors that lie in a file as frames of a lossless compression: written in one go, read in any part.

What a tensor ``w`` is in such a file: a vector of bytes ``w#packed`` with the frames of its first block's planes, of
its second block's and so on, and then the length of each frame as four bytes, little endian. A tensor that would not
become smaller lies there as it is.
"""

import tempfile
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from itertools import pairwise
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from openfl_like.errors import TensorError
from openfl_like.tensors.container import Part, TensorFile, TensorWriter
from openfl_like.tensors.lossless import BLOCK_ELEMENTS, Lossless, joined, planes
from openfl_like.tensors.named import DTYPES, Array, Elements, Schema, TensorSpec, dtype_name

SUFFIX = "#packed"

_LENGTH = np.dtype("<u4")
_PIECE_BYTES = 1 << 20
_IN_MEMORY_BYTES = 32 << 20  # nothing beside what compression itself needs for a model of that size
_NAME_BYTES = 16  # what the longer name may cost in the file's header


class PackedVector:
    """The elements of a packed tensor; memory is that of the part that is read, and a block.

    It serves one reader that goes forward; make one for each thread.

    Args:
        spec: The tensor.
        packed: Its frames and their lengths.
        base: The global model's elements, if it was packed against them.
        lossless: How it was packed.

    Raises:
        TensorError: If the lengths do not add up, or nothing was saved.
    """

    def __init__(self, spec: TensorSpec, packed: Array, base: Array | None, lossless: Lossless) -> None:
        self._spec, self._packed, self._base, self._lossless = spec, packed, base, lossless
        self._last: tuple[int, Array] | None = None
        self._single: dict[int, Array] = {}
        self._width = spec.numpy_dtype.itemsize
        frames = -(-spec.size // BLOCK_ELEMENTS) * self._width
        table = packed.size - frames * _LENGTH.itemsize
        if table < 0 or packed.size >= spec.size_bytes:
            raise self._wrong(f"{packed.size} bytes are not {frames} frames of {spec.size_bytes} bytes")
        lengths = np.frombuffer(packed[table:].tobytes(), _LENGTH)
        self._ends: npt.NDArray[np.int64] = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
        if self._ends[-1] != table:
            raise self._wrong(f"the lengths of its frames add up to {self._ends[-1]} bytes, not {table}")

    @property
    def size(self) -> int:
        """How many elements there are."""
        return self._spec.size

    def __getitem__(self, part: slice, /) -> Array:
        """Unpack a part.

        Raises:
            TensorError: If the slice has a step, or a block is not what it should be.
        """
        start, stop, step = part.indices(self._spec.size)
        if step != 1:
            raise self._wrong("packed elements can be read in steps of 1 only")
        if stop - start == 1:  # a search asks for the same ones again and again
            if start not in self._single:
                self._single[start] = self._read(start, stop).copy()
            return self._single[start]
        return self._read(start, max(start, stop))

    def verify(self) -> None:
        """Unpack every block once.

        Raises:
            TensorError: If one is not what it should be.
        """
        for number in range((self._ends.size - 1) // self._width):
            self._planes(number)

    def _read(self, start: int, stop: int) -> Array:
        pieces = []
        for number in range(start // BLOCK_ELEMENTS, -(-stop // BLOCK_ELEMENTS) if stop > start else 0):
            first = number * BLOCK_ELEMENTS
            pieces.append(self._block(number)[max(0, start - first) : stop - first])
        if len(pieces) == 1:
            return pieces[0]
        return np.concatenate(pieces) if pieces else np.empty(0, self._spec.numpy_dtype)

    def _block(self, number: int) -> Array:
        if self._last is None or self._last[0] != number:
            start = number * BLOCK_ELEMENTS
            base = None if self._base is None else self._base[start : start + BLOCK_ELEMENTS]
            self._last = number, joined(self._planes(number), self._spec.numpy_dtype, base)
        return self._last[1]

    def _planes(self, number: int) -> list[bytes]:
        count = min(BLOCK_ELEMENTS, self._spec.size - number * BLOCK_ELEMENTS)
        ends = self._ends[number * self._width : (number + 1) * self._width + 1].tolist()
        try:
            return [self._lossless.decompress(self._packed[begin:end], count) for begin, end in pairwise(ends)]
        except TensorError as error:
            raise self._wrong(error.message) from error

    def _wrong(self, problem: str) -> TensorError:
        return TensorError(f"tensor '{self._spec.name}' is not packed as agreed: {problem}")


class PackedWriter:
    """Writes a model file of packed tensors; its bytes depend on the tensors, the compression and zstd's version.

    Sizes are known last, so the frames wait in a file without a name. As a context manager it writes the file on
    success only; it is not forced to disk.

    Args:
        path: Where the file will be.
        lossless: How tensors are packed.
        base: The global model; tensors of it are packed against its bits.
        recyclable: As in `TensorWriter`.
    """

    def __init__(self, path: Path, lossless: Lossless, base: TensorFile, *, recyclable: Path | None = None) -> None:
        self._path, self._lossless, self._base, self._recyclable = path, lossless, base, recyclable
        self._in_base = set(base.names)
        self._specs: list[TensorSpec] = []
        self._waiting = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES, dir=str(path.parent))  # noqa: SIM115 - until exit

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._waiting:
            if kind is None:
                self._finish()

    def write(self, name: str, tensor: Array) -> None:
        """Take a whole tensor, in any memory order."""
        spec = TensorSpec(name, dtype_name(tensor.dtype), tensor.shape)
        values = np.ascontiguousarray(tensor).reshape(-1)
        begin = self._waiting.tell()
        patterns = self._lossless.exclude
        if not any(fnmatchcase(name.partition("#")[0], pattern) for pattern in patterns) and self._pack(spec, values):
            size = self._waiting.tell() - begin
            self._specs.append(TensorSpec(name + SUFFIX, "U8", (size,)))
            return
        self._waiting.seek(begin)
        self._waiting.write(values.view(np.uint8).data)
        self._waiting.truncate()
        self._specs.append(spec)

    def _pack(self, spec: TensorSpec, values: Array) -> bool:
        """Whether it became smaller; stops as soon as it did not."""
        base = self._base.flat(spec.name) if spec.name in self._in_base else None
        room, lengths = spec.size_bytes - _NAME_BYTES, []
        for start in range(0, spec.size, BLOCK_ELEMENTS):
            part = slice(start, start + BLOCK_ELEMENTS)
            for plane in planes(values[part], None if base is None else base[part]):
                frame = self._lossless.compress(plane)
                lengths.append(len(frame))
                room -= len(frame) + _LENGTH.itemsize
                if room < 0:
                    return False
                self._waiting.write(frame)
        self._waiting.write(np.array(lengths, _LENGTH).tobytes())
        return bool(lengths)

    def _finish(self) -> None:
        self._waiting.seek(0)
        with TensorWriter(self._path, tuple(self._specs), sync=False, recyclable=self._recyclable) as writer:
            for spec in self._specs:
                for start, block in self._pieces(spec):
                    writer.write(spec.name, start, block)

    def _pieces(self, spec: TensorSpec) -> Iterator[tuple[int, Array]]:
        width = spec.numpy_dtype.itemsize
        for begin in range(0, spec.size_bytes, _PIECE_BYTES):
            piece = self._waiting.read(min(_PIECE_BYTES, spec.size_bytes - begin))
            yield begin // width, np.frombuffer(piece, np.uint8).view(DTYPES[spec.dtype])


class PackedFile:
    """A file of packed tensors, open for reading as if they were not; memory is that of the blocks asked for.

    Args:
        path: The file.
        agreed: What it has to hold when it is unpacked; only that may be packed.
        lossless: How it was packed.
        base: The global model that tensors of the same name were packed against.

    Raises:
        TensorError: If the file cannot be read; that it holds what was agreed is for the caller to see in `schema`.
    """

    def __init__(self, path: Path, agreed: Schema, lossless: Lossless, base: TensorFile) -> None:
        self._lossless, self._base = lossless, base
        self._in_base = set(base.names)
        self._file = TensorFile(path)
        found = {spec.name: spec for spec in self._file.schema}
        self._packed = {
            spec.name: (spec, found.pop(spec.name + SUFFIX))
            for spec in agreed
            if spec.name not in found and _holds_frames(found.get(spec.name + SUFFIX))
        }
        specs = [*found.values(), *(spec for spec, _ in self._packed.values())]
        self.schema: Schema = tuple(sorted(specs, key=attrgetter("name")))

    def close(self) -> None:
        """Let the file go; what was made by `flat` keeps it until it goes, too."""
        self._file.close()

    def flat(self, name: str) -> Elements:
        """Return a tensor's elements.

        Raises:
            TensorError: If there is no such tensor, or it cannot have been packed like this.
        """
        return self._unpacked(name) if name in self._packed else self._file.flat(name)

    def verify(self) -> None:
        """Unpack every block once.

        Raises:
            TensorError: If one is not what it should be.
        """
        for name in self._packed:
            self._unpacked(name).verify()

    def release(self, parts: Iterable[Part]) -> None:
        """Take the pages of about these parts off this process's memory."""
        self._file.release([self._place(part) for part in parts])

    def _unpacked(self, name: str) -> PackedVector:
        spec, packed = self._packed[name]
        base = self._base.flat(name) if name in self._in_base else None
        return PackedVector(spec, self._file.flat(packed.name), base, self._lossless)

    def _place(self, part: Part) -> Part:
        name, start, stop = part
        if name not in self._packed:
            return part
        spec, packed = self._packed[name]
        return packed.name, start * packed.size // spec.size, -(-stop * packed.size // spec.size)


def _holds_frames(spec: TensorSpec | None) -> bool:
    return spec is not None and spec.dtype == "U8" and len(spec.shape) == 1
