"""Files over a stream of raw frames: a manifest, the chunks wanted of it, the chunks.

The receiver names the chunks it lacks, so what already arrived of a broken transfer is not sent again. Chunks are
written at their offset and checked one by one; nothing holds the whole file in memory.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from openfl_like.errors import TransferError
from openfl_like.tensors.manifest import Manifest, manifest_of, missing

INLINE_BYTES = 1 << 18  # below this a hop to a thread costs more than the work
CHUNK_TIMEOUT_S = 60.0

Receive = Callable[[], Awaitable[bytes | None]]
SendFrame = Callable[[bytes], Awaitable[None]]


def part_of(path: Path) -> Path:
    """Gives the name under which a file is received until it is complete."""
    return path.with_name(path.name + ".part")


def asks(manifest: Manifest) -> bool:
    """Whether the receiver says which chunks it wants: a file of one chunk is sent without asking."""
    return len(manifest.chunks) > 1


def every_chunk(manifest: Manifest) -> tuple[int, ...]:
    """The indices of all chunks."""
    return tuple(range(len(manifest.chunks)))


async def described(path: Path) -> Manifest:
    """Reads a file for its manifest."""
    if path.stat().st_size < INLINE_BYTES:
        return manifest_of(path)
    return await asyncio.to_thread(manifest_of, path)


async def wanted(path: Path, manifest: Manifest) -> tuple[int, ...]:
    """Lists the chunks that the partial file of a broken transfer lacks."""
    part = part_of(path)
    if not part.exists():
        return every_chunk(manifest)
    return await asyncio.to_thread(missing, part, manifest)


async def chunks_of(path: Path, manifest: Manifest, indices: tuple[int, ...]) -> AsyncIterator[bytes]:
    """Reads the named chunks of a file, in this order.

    Raises:
        TransferError: If a chunk index is not of the manifest or the file got shorter.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        for index in indices:
            if not 0 <= index < len(manifest.chunks):
                raise TransferError(f"chunk {index} was asked for, but there are {len(manifest.chunks)}")
            offset, length = manifest.chunk_range(index)
            data = os.pread(descriptor, length, offset)  # the page cache has it: a hop to a thread would cost more
            if len(data) != length:
                raise TransferError(f"{path.name} became shorter while it was sent")
            yield data
    finally:
        os.close(descriptor)


async def receive_file(
    path: Path,
    manifest: Manifest,
    indices: tuple[int, ...],
    receive: Receive,
    *,
    spare: Path | None = None,
    durable: bool = False,
) -> None:
    """Receives the wanted chunks into ``path``, which exists only when every chunk has its digest.

    Args:
        path: Where the file goes; a partial file beside it may hold the other chunks.
        manifest: What was promised.
        indices: The chunks still wanted, in the order in which they come.
        receive: Gives the next frame.
        spare: A file that nobody needs any more, to be overwritten instead of making a new one.
        durable: Whether the file must be on disk when this returns. Models and updates need not: after a power cut
            they are fetched or trained again to the same bytes.

    Raises:
        TransferError: If the stream ends early or a chunk is not the promised one.
    """
    part = part_of(path)
    part.parent.mkdir(parents=True, exist_ok=True)
    if spare is not None and spare.exists() and not part.exists():
        spare.replace(part)
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(descriptor, manifest.total_bytes)
        for index in indices:
            async with asyncio.timeout(CHUNK_TIMEOUT_S):
                data = await receive()
            if data is None:
                raise TransferError("the transfer ended before its last chunk")
            if len(data) < INLINE_BYTES:
                _place(descriptor, manifest, index, data)
            else:
                await asyncio.to_thread(_place, descriptor, manifest, index, data)
        if durable:
            await asyncio.to_thread(os.fsync, descriptor)
    except TimeoutError:
        raise TransferError(f"no data came for {CHUNK_TIMEOUT_S:g} s") from None
    finally:
        os.close(descriptor)
    part.rename(path)


def _place(descriptor: int, manifest: Manifest, index: int, data: bytes) -> None:
    if not manifest.verify_chunk(index, data):
        raise TransferError(f"chunk {index} does not have the promised digest")
    offset, _ = manifest.chunk_range(index)
    if os.pwrite(descriptor, data, offset) != len(data):
        raise TransferError("the disk took only a part of a chunk")
