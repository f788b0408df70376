"""The manifest of a file: one BLAKE3 digest per chunk, and the identity that follows from them.

The digest of a manifest is the identity of a file everywhere in the platform. It covers the chunk digests and not the
bytes again, so that a receiver which has checked every chunk knows the identity without reading the file a second time.
"""

import hashlib
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path

from blake3 import blake3

from openfl_like.errors import TransferError

MIN_CHUNK_BYTES = 256 << 10
"""Small, so that a few changed tensors between frozen ones do not drag much along."""
MAX_CHUNK_BYTES = 2 << 20
MAX_CHUNKS = 1 << 16
"""At 2 MiB a chunk: files up to 128 GiB, manifests up to 2 MiB."""
DIGEST_BYTES = 32

_MAGIC = b"FXM1"
_HEAD = struct.Struct("<4sQI")


def chunk_size(total_bytes: int) -> int:
    """The chunk size of a file of so many bytes; the same everywhere, because the file's identity depends on it."""
    size = MIN_CHUNK_BYTES
    while size < MAX_CHUNK_BYTES and total_bytes > size * MAX_CHUNKS:
        size *= 2
    return size


def _digest(data: bytes | bytearray | memoryview) -> bytes:
    return bytes(blake3(data).digest())


@dataclass(frozen=True, slots=True)
class Manifest:
    """Size and chunk digests of a file.

    Attributes:
        total_bytes: Size of the file.
        chunk_bytes: Size of every chunk but the last, which may be shorter.
        chunks: BLAKE3 digest of each chunk, 32 bytes each; none for an empty file.

    Raises:
        TransferError: If sizes are out of bounds or do not fit the number of digests.
    """

    total_bytes: int
    chunk_bytes: int
    chunks: tuple[bytes, ...]
    digest: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        if not 1 <= self.chunk_bytes <= MAX_CHUNK_BYTES:
            raise TransferError(f"a chunk size of {self.chunk_bytes} bytes is outside 1..{MAX_CHUNK_BYTES}")
        if not 0 <= self.total_bytes <= self.chunk_bytes * MAX_CHUNKS:
            raise TransferError(f"a file of {self.total_bytes} bytes is outside 0..{self.chunk_bytes * MAX_CHUNKS}")
        if len(self.chunks) != -(-self.total_bytes // self.chunk_bytes):
            raise TransferError(f"{len(self.chunks)} chunk digests do not fit a file of {self.total_bytes} bytes")
        if any(len(chunk) != DIGEST_BYTES for chunk in self.chunks):
            raise TransferError(f"a chunk digest does not have {DIGEST_BYTES} bytes")
        object.__setattr__(self, "digest", _digest(self.to_bytes()).hex())

    def chunk_range(self, index: int) -> tuple[int, int]:
        """Return offset and length of a chunk in bytes.

        Raises:
            TransferError: If there is no such chunk.
        """
        if not 0 <= index < len(self.chunks):
            raise TransferError(f"there is no chunk {index}; the file has {len(self.chunks)}")
        offset = index * self.chunk_bytes
        return offset, min(self.chunk_bytes, self.total_bytes - offset)

    def verify_chunk(self, index: int, data: bytes | bytearray | memoryview) -> bool:
        """Tell whether these are the bytes of the chunk."""
        if not 0 <= index < len(self.chunks):
            return False
        _, length = self.chunk_range(index)
        return len(data) == length and _digest(data) == self.chunks[index]

    def to_bytes(self) -> bytes:
        """Encode the manifest: 16 bytes and 32 per chunk."""
        return _HEAD.pack(_MAGIC, self.total_bytes, self.chunk_bytes) + b"".join(self.chunks)

    @classmethod
    def of_content(cls, data: bytes | memoryview) -> "Manifest":
        """Describe a file that is in memory."""
        size = chunk_size(len(data))
        chunks = tuple(_digest(data[start : start + size]) for start in range(0, len(data), size))
        return cls(len(data), size, chunks)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Manifest":
        """Decode what `to_bytes` gave; memory is bounded by the length of ``data``.

        Raises:
            TransferError: If the bytes are not a manifest.
        """
        if len(data) < _HEAD.size or data[:4] != _MAGIC:
            raise TransferError("these bytes are not a manifest")
        _, total_bytes, chunk_bytes = _HEAD.unpack_from(data)
        body = data[_HEAD.size :]
        if len(body) % DIGEST_BYTES or len(body) > MAX_CHUNKS * DIGEST_BYTES:
            raise TransferError(f"a manifest cannot have {len(data)} bytes")
        chunks = tuple(body[start : start + DIGEST_BYTES] for start in range(0, len(body), DIGEST_BYTES))
        return cls(total_bytes, chunk_bytes, chunks)


def content_digest(data: bytes | memoryview) -> str:
    """Return the identity of a file that is in memory, without its manifest where that has one chunk only."""
    size = len(data)
    if not 0 < size <= MIN_CHUNK_BYTES:
        return Manifest.of_content(data).digest
    return _digest(_HEAD.pack(_MAGIC, size, MIN_CHUNK_BYTES) + _digest(data)).hex()


class ChunkDigests:
    """Digests of a file's chunks, taken while its bytes pass by in order; so nobody has to read it again for them.

    Args:
        total_bytes: Size of the file.
        chunk_bytes: Size of its chunks; 0: as `chunk_size` says.
    """

    def __init__(self, total_bytes: int, chunk_bytes: int = 0) -> None:
        self._total = total_bytes
        self._chunk_bytes = chunk_bytes or chunk_size(total_bytes)
        self._open = blake3()
        self._digests: list[bytes] = []
        self.position = 0

    def add(self, data: memoryview) -> None:
        """Take the next bytes of the file."""
        while data:
            room = self._chunk_bytes - self.position % self._chunk_bytes
            piece, data = data[:room], data[room:]
            self._open.update(piece)
            self.position += len(piece)
            if len(piece) == room:
                self._close_chunk()

    def manifest(self) -> Manifest:
        """Describe the file; every byte must have passed.

        Raises:
            TransferError: If bytes are missing or too many.
        """
        if self.position % self._chunk_bytes:
            self._close_chunk()
        return Manifest(self._total, self._chunk_bytes, tuple(self._digests))

    def _close_chunk(self) -> None:
        self._digests.append(bytes(self._open.digest()))
        self._open = blake3()


def manifest_of(path: Path, chunk_bytes: int = 0) -> Manifest:
    """Read a file once and describe it; memory is one chunk.

    Args:
        path: The file.
        chunk_bytes: Size of the chunks; 0: as `chunk_size` says.

    Raises:
        TransferError: If the file cannot be read.
    """
    with _open(path) as file:
        total = os.fstat(file.fileno()).st_size
        size = chunk_bytes or chunk_size(total)
        return Manifest(total, size, tuple(_digest(block) for block in _blocks(file, size)))


def manifest_path(path: Path) -> Path:
    """Where the manifest of a file is written, if it is."""
    return path.with_name(path.name + ".manifest")


def recyclable_path(path: Path) -> Path:
    """Where a file is put that may be overwritten by the next one of this name's folder."""
    return path.with_name("spare")


def file_digest(path: Path) -> str:
    """The identity of a file, in hex.

    Raises:
        TransferError: If the file cannot be read.
    """
    return manifest_of(path).digest


def keep_manifest(path: Path, manifest: Manifest) -> None:
    """Write the manifest of a file beside it; a hint for later, never trusted without a look at the bytes."""
    manifest_path(path).write_bytes(manifest.to_bytes())


def kept_manifest(path: Path) -> Manifest | None:
    """Return the manifest beside a file, or None if there is none that can be read."""
    try:
        return Manifest.from_bytes(manifest_path(path).read_bytes())
    except (OSError, TransferError):
        return None


def missing(path: Path, manifest: Manifest, former: Manifest | None = None) -> tuple[int, ...]:
    """List the chunks that a partial file lacks or has wrong; all of them when there is no file.

    A file that is longer than the manifest says has to be cut by the caller.

    Args:
        path: The partial file.
        manifest: What it shall become.
        former: What is known of its present content: only chunks that are the same by it are looked at.

    Raises:
        TransferError: If the file exists and cannot be read.
    """
    indices = range(len(manifest.chunks))
    if not path.exists():
        return tuple(indices)
    alike = set(indices) if former is None else _alike(manifest, former)
    buffer = memoryview(bytearray(manifest.chunk_bytes))
    with _open(path) as file:
        return tuple(index for index in indices if index not in alike or not _matches(file, manifest, index, buffer))


def _alike(manifest: Manifest, former: Manifest) -> set[int]:
    if manifest.chunk_bytes != former.chunk_bytes:
        return set()
    both = zip(manifest.chunks, former.chunks, strict=False)
    return {index for index, (new, old) in enumerate(both) if new == old}


def sha256_file(path: Path) -> str:
    """SHA-256 of a file in hex, as ``sha256sum`` prints it.

    Raises:
        TransferError: If the file cannot be read.
    """
    with _open(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _matches(file: FileIO, manifest: Manifest, index: int, buffer: memoryview) -> bool:
    offset, length = manifest.chunk_range(index)
    found = os.preadv(file.fileno(), [buffer[:length]], offset)
    return manifest.verify_chunk(index, buffer[:found])


def _blocks(file: FileIO, size: int) -> Iterator[memoryview]:
    """Yield views on one buffer that is filled again and again."""
    buffer = memoryview(bytearray(size))
    while length := _fill(file, buffer):
        yield buffer[:length]


def _fill(file: FileIO, buffer: memoryview) -> int:
    length = 0
    while length < len(buffer) and (more := file.readinto(buffer[length:])):
        length += more
    return length


def _open(path: Path) -> FileIO:
    try:
        return path.open("rb", buffering=0)
    except OSError as error:
        raise TransferError(f"the file cannot be read: {error.strerror}", place=str(path)) from error
