"""Lossless compression of what an update's file holds, in frames that can be read alone.

A tensor is cut into blocks, and a block into planes: the lowest bytes of all its elements, the next ones, and so on.
The highest bytes of floating-point numbers are alike and the lowest are noise, so each plane is a frame of its own.
`packed` makes files of them.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Protocol

import numpy as np
import zstandard
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from openfl_like.errors import TensorError
from openfl_like.tensors.named import Array

BLOCK_ELEMENTS = 64 * 1024
"""Elements of a tensor that are packed together."""

_WORDS: dict[int, np.dtype[Any]] = {1: np.dtype(np.uint8), 2: np.dtype("<u2"), 4: np.dtype("<u4"), 8: np.dtype("<u8")}
_MAX_WINDOW_BYTES = 1 << 20
_STRICT = ConfigDict(extra="forbid")


class Lossless(Protocol):
    """How bytes are made smaller; both directions may be called by several threads."""

    @property
    def exclude(self) -> tuple[str, ...]:
        """Patterns (``*.bias``) of names of tensors that are left alone."""
        ...

    def compress(self, plane: Array) -> bytes:
        """Return the frame of a vector of bytes; the same one for the same bytes."""
        ...

    def decompress(self, frame: Array, size: int) -> bytes:
        """Return the bytes of a frame that a peer may have made up; never allocates much more than ``size``.

        Raises:
            TensorError: If it is not a whole frame of exactly ``size`` bytes.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Zstd:
    """Zstandard (RFC 8878); frames have their size and a checksum.

    Attributes:
        level: 1 to 19; higher ones take more time, and of numbers they seldom make less.
        exclude: Names that are left alone.
    """

    level: Annotated[int, Field(ge=1, le=19)] = 1
    exclude: tuple[str, ...] = ()

    def compress(self, plane: Array) -> bytes:
        """Compress in this thread."""
        # A new one each time: threads must not share them, and they cost microseconds.
        compressor = zstandard.ZstdCompressor(level=self.level, write_checksum=True, write_content_size=True)
        return compressor.compress(plane.data)

    def decompress(self, frame: Array, size: int) -> bytes:
        """Look at the size that the frame declares before anything is allocated."""
        try:
            declared = zstandard.frame_content_size(frame.data)
            if declared != size:
                raise TensorError(f"a frame says that it has {declared} bytes, not {size}")
            decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES)
            plane = decompressor.decompress(frame.data, max_output_size=size, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise TensorError(f"a frame cannot be decompressed: {error}") from error
        if len(plane) != size:
            raise TensorError(f"a frame has {len(plane)} bytes, not {size}")
        return plane


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class AsTheyAre:
    """Nothing is packed: what does not become smaller never is."""

    exclude: tuple[str, ...] = ()

    def compress(self, plane: Array) -> bytes:
        """Copy the bytes."""
        return plane.tobytes()

    def decompress(self, frame: Array, size: int) -> bytes:
        """Copy the bytes."""
        if frame.size != size:
            raise TensorError(f"a frame has {frame.size} bytes, not {size}")
        return frame.tobytes()


def planes(block: Array, base: Array | None) -> Array:
    """Return the bytes of a block as they compress best: uint8 [bytes of an element, elements].

    Args:
        block: A vector.
        base: The same elements of the global model, if it has them: only bits that changed are kept. Without it whole
            numbers (places of elements, for example) become the distances to the ones before them.
    """
    words = block.view(_WORDS[block.dtype.itemsize])
    if base is not None:
        words = words ^ base.view(words.dtype)
    elif _counts(block.dtype):
        words = np.diff(words, prepend=words.dtype.type(0))
    width = words.dtype.itemsize
    found = np.empty((width, words.size), np.uint8)
    elements = words.view(np.uint8).reshape(-1, width)
    for place in range(width):
        found[place] = elements[:, place]
    return found


def joined(parts: Sequence[bytes], dtype: np.dtype[Any], base: Array | None) -> Array:
    """Put the block together again that was cut into `planes`.

    Args:
        parts: As many planes as an element has bytes, equally long.
        dtype: Of the elements.
        base: As it was.
    """
    elements = np.empty((len(parts[0]), len(parts)), np.uint8)
    for place, plane in enumerate(parts):
        elements[:, place] = np.frombuffer(plane, np.uint8)
    words: Array = elements.reshape(-1).view(_WORDS[len(parts)])
    if base is not None:
        words ^= base.view(words.dtype)
    elif _counts(dtype):
        np.add.accumulate(words, dtype=words.dtype, out=words)
    return words.view(dtype)


def _counts(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "iu" and dtype.itemsize > 1
