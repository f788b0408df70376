"""Writing a model file in stretches of whole chunks, by several threads at once; its manifest comes with it."""

from bisect import bisect_right
from dataclasses import dataclass
from itertools import islice
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from openfl_like.errors import TensorError
from openfl_like.tensors.container import TensorWriter
from openfl_like.tensors.layout import plan_layout
from openfl_like.tensors.manifest import Manifest, chunk_size
from openfl_like.tensors.named import Array, Schema, TensorSpec

STRETCH_BYTES = 1 << 20
"""What is written at once: it stays in the second-level cache until it is digested, and calls cost little beside it."""

_WIDEST = 8


Bytes: TypeAlias = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Piece:
    """The part of a tensor that lies in a stretch.

    Attributes:
        spec: The tensor.
        start: Its first element there.
        stop: The element after its last one.
        offset: Where it begins in the stretch, in bytes.
    """

    spec: TensorSpec
    start: int
    stop: int
    offset: int

    def view(self, span: Bytes) -> Array:
        """Return its elements in the bytes of the stretch, to be written."""
        end = self.offset + (self.stop - self.start) * self.spec.numpy_dtype.itemsize
        return span[self.offset : end].view(self.spec.numpy_dtype)


class ChunkedWriter:
    """Writes a model file stretch by stretch, in any order; chunks are digested while they are still in the cache.

    As a context manager it closes on success and aborts on an exception; a file appears only when it is complete.

    Args:
        path: Where the file will be.
        schema: The tensors it will hold.
        chunk_bytes: Size of the manifest's chunks, a multiple of 8; 0: as `chunk_size` says.
        span_bytes: About how much is written at once; a chunk at least.
        sync: False skips fsync.
        recyclable: As in `TensorWriter`.

    Raises:
        TensorError: If the schema cannot be stored or a chunk would cut a number in two.
    """

    def __init__(
        self,
        path: Path,
        schema: Schema,
        *,
        chunk_bytes: int = 0,
        span_bytes: int = STRETCH_BYTES,
        sync: bool = True,
        recyclable: Path | None = None,
    ) -> None:
        self._header, places = plan_layout(schema)
        self._places = sorted((place for place in places if place.spec.size), key=attrgetter("offset"))
        self._offsets = [place.offset for place in self._places]
        self._total = len(self._header) + sum(place.spec.size_bytes for place in places)
        self._chunk_bytes = chunk_bytes or chunk_size(self._total)
        if self._chunk_bytes % _WIDEST:
            raise TensorError(f"a chunk of {chunk_bytes} bytes would cut a number in two", place=str(path))
        self.span_bytes = max(1, span_bytes // self._chunk_bytes) * self._chunk_bytes
        self.count = -(-self._total // self.span_bytes)
        self._digests: dict[int, list[bytes]] = {}
        self._writer = TensorWriter(path, schema, sync=sync, recyclable=recyclable)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and len(self._digests) == self.count:
            self._writer.complete()
        if kind is None:
            self._writer.close()
        else:
            self.abort()

    def abort(self) -> None:
        """Remove what was written."""
        self._writer.abort()

    def pieces(self, index: int) -> list[Piece]:
        """List the parts of tensors in a stretch, as they lie there."""
        begin, end = self._span(index)
        first = max(0, bisect_right(self._offsets, begin) - 1)
        found = []
        for place in islice(self._places, first, None):
            if place.offset >= end:
                break
            width = place.spec.numpy_dtype.itemsize
            start = max(begin - place.offset, 0) // width
            stop = min((end - place.offset) // width, place.spec.size)
            if start < stop:
                found.append(Piece(place.spec, start, stop, place.offset + start * width - begin))
        return found

    def put(self, index: int, span: Bytes) -> None:
        """Write a stretch whose pieces are filled in; every one exactly once, by any thread.

        Args:
            index: Which one.
            span: `span_bytes` or, at the end of the file, as many as are left; the header is added here.
        """
        begin, end = self._span(index)
        header = self._header[begin:end]
        span[: len(header)] = np.frombuffer(header, np.uint8)
        data = span[: end - begin].data
        steps = range(0, len(data), self._chunk_bytes)
        self._digests[index] = [blake3(data[step : step + self._chunk_bytes]).digest() for step in steps]
        self._writer.write_span(begin, data)

    def manifest(self) -> Manifest:
        """Return the manifest of the file, when it is complete."""
        chunks = tuple(digest for index in range(self.count) for digest in self._digests[index])
        return Manifest(self._total, self._chunk_bytes, chunks)

    def _span(self, index: int) -> tuple[int, int]:
        begin = index * self.span_bytes
        return begin, min(begin + self.span_bytes, self._total)
