"""Files over a stream of raw frames: a manifest, the chunks wanted of it, the chunks.

The receiver names the chunks it lacks, so neither what arrived of a broken transfer is sent again nor what did not
change since the file before. Chunks are written at their offset and checked one by one; nothing holds the whole file in
memory.
"""

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from openfl_like.errors import TransferError
from openfl_like.tensors.manifest import Manifest, kept_manifest, manifest_of, manifest_path, missing

FRAME_BYTES = 2 << 20
"""gRPC moves messages near this size with the least work; smaller chunks that follow each other share a frame."""
FRAMES_AHEAD = 2
"""Frames received while those before them are checked and written; memory is that many frames a transfer."""
INLINE_BYTES = 1 << 18  # below this a hop to a thread costs more than the work
CHUNK_TIMEOUT_S = 60.0
_MAKING = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC

Receive = Callable[[], Awaitable[bytes | None]]
Frame = tuple[int, ...]


def part_of(path: Path) -> Path:
    """Return the name under which a file is received until it is complete."""
    return path.with_name(path.name + ".part")


def asks(manifest: Manifest) -> bool:
    """Whether the receiver says which chunks it wants: a file of one chunk is sent without asking."""
    return len(manifest.chunks) > 1


def place_file(path: Path, content: bytes, recyclable: Path | None = None) -> None:
    """Write a small file that came with a message; it appears under its name when it is whole.

    Args:
        path: Where it goes.
        content: What is in it.
        recyclable: A file that nobody needs any more, to be overwritten: removing one and making one costs more.
    """
    descriptor, place = _spare_or_part(path, recyclable)
    try:
        left = memoryview(content)
        while left:
            left = left[os.write(descriptor, left) :]
        if os.fstat(descriptor).st_size != len(content):  # cutting a file that is as long already costs as much
            os.ftruncate(descriptor, len(content))
    finally:
        os.close(descriptor)
    place.rename(path)


def _spare_or_part(path: Path, recyclable: Path | None) -> tuple[int, Path]:
    """Open what a small file is written to before it gets its name: a spare as it lies there, or a new file."""
    if recyclable is not None:
        with suppress(FileNotFoundError):
            return os.open(recyclable, os.O_WRONLY | os.O_CLOEXEC), recyclable
    part = part_of(path)
    try:
        return os.open(part, _MAKING, 0o600), part
    except FileNotFoundError:
        part.parent.mkdir(parents=True)
        return os.open(part, _MAKING, 0o600), part


def every_chunk(manifest: Manifest) -> tuple[int, ...]:
    """The indices of all chunks."""
    return tuple(range(len(manifest.chunks)))


def frames_of(manifest: Manifest, indices: tuple[int, ...]) -> Iterator[Frame]:
    """Group wanted chunks into frames, the same on both sides: neighbours, up to `FRAME_BYTES` together."""
    most = max(1, FRAME_BYTES // manifest.chunk_bytes)
    start = 0
    for position in range(1, len(indices) + 1):
        run = position - start
        if position == len(indices) or run == most or indices[position] != indices[start] + run:
            yield indices[start:position]
            start = position


async def described(path: Path) -> Manifest:
    """Return a file's manifest: the one kept beside it, or it is read for that."""
    kept = kept_manifest(path)
    if kept is not None:
        return kept
    if path.stat().st_size < INLINE_BYTES:
        return manifest_of(path)
    return await asyncio.to_thread(manifest_of, path)


async def wanted(path: Path, manifest: Manifest, recyclable: Path | None = None) -> tuple[int, ...]:
    """Make the partial file ready and list the chunks that it lacks.

    Args:
        path: Where the file will be. What a broken transfer left beside it is gone on with.
        manifest: What was promised.
        recyclable: A file that nobody needs any more: it is overwritten instead of making a new one, and what it has in
            common with the new file, by the manifest kept beside it, is not asked for.

    Raises:
        TransferError: If a file cannot be read.
    """
    part = part_of(path)
    part.parent.mkdir(parents=True, exist_ok=True)
    former = None
    if not part.exists():
        if recyclable is None or not recyclable.exists():
            return every_chunk(manifest)
        former = kept_manifest(recyclable)
        recyclable.replace(part)
        manifest_path(recyclable).unlink(missing_ok=True)
        if former is None:
            return every_chunk(manifest)
    return await asyncio.to_thread(missing, part, manifest, former)


async def chunks_of(path: Path, manifest: Manifest, indices: tuple[int, ...]) -> AsyncIterator[bytes]:
    """Read the named chunks of a file, in this order, a frame at a time.

    Raises:
        TransferError: If a chunk index is not of the manifest or the file got shorter.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        for frame in frames_of(manifest, indices):
            outside = [index for index in frame if not 0 <= index < len(manifest.chunks)]
            if outside:
                raise TransferError(f"chunk {outside[0]} was asked for, but there are {len(manifest.chunks)}")
            offset, length = _range(manifest, frame)
            data = os.pread(descriptor, length, offset)  # the page cache has it: a hop to a thread would cost more
            if len(data) != length:
                raise TransferError(f"{path.name} became shorter while it was sent")
            yield data
    finally:
        os.close(descriptor)


async def receive_file(
    path: Path, manifest: Manifest, indices: tuple[int, ...], receive: Receive, *, durable: bool = False
) -> None:
    """Receive the wanted chunks into ``path``, which exists only when every chunk has its digest.

    Args:
        path: Where the file goes; a partial file beside it may hold the other chunks.
        manifest: What was promised.
        indices: The chunks still wanted, in the order in which they come.
        receive: Gives the next frame.
        durable: Whether the file must be on disk when this returns. Models and updates need not: after a power cut
            they are fetched or trained again to the same bytes.

    Raises:
        TransferError: If the stream ends early or a chunk is not the promised one.
    """
    with _partial(path, manifest) as descriptor:
        await _receive(descriptor, manifest, indices, receive)
        if durable:
            await asyncio.to_thread(os.fsync, descriptor)


async def skip_file(manifest: Manifest, receive: Receive) -> None:
    """Receive a file that is here already, and let it go.

    Who answers before the last frame is read leaves the sender waiting for ever: gRPC hands over no status before the
    answer is read, and the sender does not read before it has written.

    Raises:
        TransferError: If the stream ends early.
    """
    for _ in frames_of(manifest, every_chunk(manifest)):
        await _next(receive)


def ignore(_index: int) -> None:
    """Take no notice of a chunk that is in its place."""


def write_chunks(
    path: Path,
    manifest: Manifest,
    indices: tuple[int, ...],
    fill: Callable[[memoryview], None],
    placed: Callable[[int], None] = ignore,
) -> None:
    """Do what `receive_file` does, on a thread, with the bytes of one chunk after the other.

    Args:
        path: Where the file goes.
        manifest: What was promised.
        indices: The chunks still wanted, in the order in which they come.
        fill: Fills a buffer with the next bytes.
        placed: Is told of each chunk that is in its place.

    Raises:
        TransferError: If a chunk is not the promised one.
    """
    buffer = memoryview(bytearray(manifest.chunk_bytes))
    with _partial(path, manifest) as descriptor:
        for index in indices:
            _, length = manifest.chunk_range(index)
            fill(buffer[:length])
            _place(descriptor, manifest, (index,), buffer[:length])
            placed(index)


def read_chunks(path: Path, manifest: Manifest, indices: tuple[int, ...]) -> Iterator[memoryview]:
    """Read the named chunks of a file, in this order, on a thread; each is gone when the next one is asked for.

    Raises:
        TransferError: If a chunk index is not of the manifest or the file got shorter.
    """
    buffer = memoryview(bytearray(manifest.chunk_bytes))
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for index in indices:
            offset, length = manifest.chunk_range(index)
            if os.preadv(descriptor, [buffer[:length]], offset) != length:
                raise TransferError(f"{path.name} became shorter while it was sent")
            yield buffer[:length]
    finally:
        os.close(descriptor)


@contextmanager
def _partial(path: Path, manifest: Manifest) -> Iterator[int]:
    """Open the partial file of a path; it gets its name when the block ends without an error."""
    part = part_of(path)
    part.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(descriptor, manifest.total_bytes)
        yield descriptor
    finally:
        os.close(descriptor)
    part.rename(path)


async def _receive(descriptor: int, manifest: Manifest, indices: tuple[int, ...], receive: Receive) -> None:
    """Take frames from the stream while threads check and write those before."""
    loop = asyncio.get_running_loop()
    placing: deque[asyncio.Future[None]] = deque()
    try:
        for frame in frames_of(manifest, indices):
            data = await _next(receive)
            if len(data) < INLINE_BYTES:
                _place(descriptor, manifest, frame, data)
                continue
            placing.append(loop.run_in_executor(None, _place, descriptor, manifest, frame, data))
            if len(placing) > FRAMES_AHEAD:
                await placing.popleft()
        while placing:
            await placing.popleft()
    finally:
        if placing:  # the descriptor must stay open for them
            await asyncio.gather(*placing, return_exceptions=True)


async def _next(receive: Receive) -> bytes:
    try:
        async with asyncio.timeout(CHUNK_TIMEOUT_S):
            data = await receive()
    except TimeoutError:
        raise TransferError(f"no data came for {CHUNK_TIMEOUT_S:g} s") from None
    if data is None:
        raise TransferError("the transfer ended before its last chunk")
    return data


def _range(manifest: Manifest, frame: Frame) -> tuple[int, int]:
    """Offset and length of a frame in the file."""
    offset, _ = manifest.chunk_range(frame[0])
    last, length = manifest.chunk_range(frame[-1])
    return offset, last + length - offset


def _place(descriptor: int, manifest: Manifest, frame: Frame, data: bytes | memoryview) -> None:
    offset, length = _range(manifest, frame)
    view = memoryview(data)
    for index in frame:
        size = len(view) if index == frame[-1] else manifest.chunk_bytes
        piece, view = view[:size], view[size:]
        if not manifest.verify_chunk(index, piece):
            raise TransferError(f"chunk {index} does not have the promised digest")
    if os.pwrite(descriptor, data, offset) != length:
        raise TransferError("the disk took only a part of a chunk")
