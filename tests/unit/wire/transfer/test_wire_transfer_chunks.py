"""Files over frames: complete and verified, or not there at all."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from openfl_like.errors import TransferError
from openfl_like.tensors.manifest import Manifest, file_digest, keep_manifest, manifest_of, manifest_path
from openfl_like.wire.transfer import chunks as transfer
from openfl_like.wire.transfer.chunks import (
    Receive,
    chunks_of,
    frames_of,
    part_of,
    place_file,
    read_chunks,
    receive_file,
    wanted,
    write_chunks,
)

CHUNK = 1 << 10
CONTENT = b"".join(number.to_bytes(4) for number in range(832))  # three whole chunks and a quarter, all different


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.safetensors"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def manifest(source: Path) -> Manifest:
    return manifest_of(source, CHUNK)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "spool" / "target.safetensors"


@pytest.fixture(autouse=True)
def small_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames of one chunk, as those of large files are."""
    monkeypatch.setattr(transfer, "FRAME_BYTES", CHUNK)


def frames(*data: bytes) -> Receive:
    waiting = list(data)

    async def receive() -> bytes | None:
        return waiting.pop(0) if waiting else None

    return receive


async def read(path: Path, manifest: Manifest, indices: Sequence[int]) -> list[bytes]:
    return [chunk async for chunk in chunks_of(path, manifest, tuple(indices))]


def cut(*indices: int) -> list[bytes]:
    return [CONTENT[index * CHUNK : (index + 1) * CHUNK] for index in indices]


async def test_a_file_arrives_whole(source: Path, manifest: Manifest, target: Path) -> None:
    indices = await wanted(target, manifest)
    assert indices == (0, 1, 2, 3)
    await receive_file(target, manifest, indices, frames(*await read(source, manifest, indices)), durable=True)
    assert target.read_bytes() == CONTENT
    assert file_digest(target) == manifest_of(source).digest
    assert not part_of(target).exists()
    assert target.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("frame_bytes", [1, 1 << 20])
async def test_large_files_arrive_too(
    tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch, frame_bytes: int
) -> None:
    monkeypatch.setattr(transfer, "FRAME_BYTES", frame_bytes)
    source = tmp_path / "large"
    source.write_bytes(CONTENT * 800)  # 11 chunks of the usual size: read, written and checked on a thread
    manifest = manifest_of(source)
    indices = await wanted(target, manifest)
    await receive_file(target, manifest, indices, frames(*await read(source, manifest, indices)))
    assert target.read_bytes() == source.read_bytes()


async def test_an_empty_file_needs_no_chunk(tmp_path: Path, target: Path) -> None:
    source = tmp_path / "empty"
    source.touch()
    manifest = manifest_of(source)
    await receive_file(target, manifest, await wanted(target, manifest), frames())
    assert target.read_bytes() == b""


@pytest.mark.parametrize(
    "spoil",
    [lambda c: c[:-1] + b"\0", lambda c: c[:-1], lambda c: c + b"\0", lambda _: b""],
    ids=["changed", "shorter", "longer", "empty"],
)
async def test_a_corrupt_chunk_is_refused(manifest: Manifest, target: Path, spoil: Callable[[bytes], bytes]) -> None:
    first, second, *rest = cut(0, 1, 2, 3)
    with pytest.raises(TransferError, match="chunk 1 does not have the promised digest"):
        await receive_file(target, manifest, (0, 1, 2, 3), frames(first, spoil(second), *rest))
    assert not target.exists()


async def test_chunks_in_another_order_are_refused(manifest: Manifest, target: Path) -> None:
    with pytest.raises(TransferError, match="chunk 0 does not have the promised digest"):
        await receive_file(target, manifest, (0, 1, 2, 3), frames(*cut(1, 0, 2, 3)))
    assert not target.exists()


async def test_a_transfer_cut_at_nine_tenths_sends_the_tail_and_a_frame_at_most(
    tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "FRAME_BYTES", 4 * CHUNK)
    source = tmp_path / "many"
    source.write_bytes(CONTENT * 40)  # 130 chunks
    manifest = manifest_of(source, CHUNK)
    every = await wanted(target, manifest)
    sent = await read(source, manifest, every)
    kept = sent[: len(sent) * 9 // 10]
    with pytest.raises(TransferError, match="ended before its last chunk"):
        await receive_file(target, manifest, every, frames(*kept))
    rest = await wanted(target, manifest)
    assert rest == every[4 * len(kept) :], "nothing that arrived is asked for again"
    assert len(rest) <= len(every) // 10 + 4
    await receive_file(target, manifest, rest, frames(*await read(source, manifest, rest)))
    assert target.read_bytes() == source.read_bytes()


@pytest.mark.parametrize(
    ("indices", "expected"),
    [
        ((), []),
        ((0,), [(0,)]),
        ((0, 1, 2, 3), [(0, 1), (2, 3)]),
        ((0, 2, 3), [(0,), (2, 3)]),
        ((1, 2, 3, 0), [(1, 2), (3,), (0,)]),
    ],
)
def test_neighbours_share_a_frame(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch, indices: tuple[int, ...], expected: list[tuple[int, ...]]
) -> None:
    monkeypatch.setattr(transfer, "FRAME_BYTES", 2 * CHUNK)
    assert list(frames_of(manifest, indices)) == expected


async def test_what_a_spare_file_has_in_common_is_not_asked_for(
    source: Path, manifest: Manifest, target: Path, tmp_path: Path
) -> None:
    recyclable = tmp_path / "spare"
    recyclable.write_bytes(CONTENT[:CHUNK] + bytes(CHUNK) + CONTENT[2 * CHUNK :] + b"it was longer")
    keep_manifest(recyclable, manifest_of(recyclable, CHUNK))
    indices = await wanted(target, manifest, recyclable)
    assert indices == (1, 3), "the last chunk is another one, because the file is longer"
    assert not recyclable.exists()
    assert not manifest_path(recyclable).exists()
    await receive_file(target, manifest, indices, frames(*await read(source, manifest, indices)))
    assert target.read_bytes() == CONTENT


async def test_a_spare_file_that_is_not_what_its_manifest_says_is_looked_through(
    manifest: Manifest, target: Path, tmp_path: Path
) -> None:
    recyclable = tmp_path / "spare"
    recyclable.write_bytes(bytes(CHUNK) + CONTENT[CHUNK:])
    keep_manifest(recyclable, manifest)
    assert await wanted(target, manifest, recyclable) == (0,)


async def test_a_spare_file_of_which_nothing_is_known_is_only_overwritten(
    source: Path, manifest: Manifest, target: Path, tmp_path: Path
) -> None:
    recyclable = tmp_path / "spare"
    recyclable.write_bytes(CONTENT)
    indices = await wanted(target, manifest, recyclable)
    assert indices == (0, 1, 2, 3)
    await receive_file(target, manifest, indices, frames(*await read(source, manifest, indices)))
    assert target.read_bytes() == CONTENT
    assert not recyclable.exists()


async def test_an_early_end_is_refused_and_what_came_is_not_asked_for_again(manifest: Manifest, target: Path) -> None:
    with pytest.raises(TransferError, match="ended before its last chunk"):
        await receive_file(target, manifest, (0, 1, 2, 3), frames(*cut(0, 1)))
    assert not target.exists()
    assert await wanted(target, manifest) == (2, 3)
    await receive_file(target, manifest, (2, 3), frames(*cut(2, 3)))
    assert target.read_bytes() == CONTENT


async def test_a_hole_in_the_middle_is_the_only_thing_asked_for(manifest: Manifest, target: Path) -> None:
    part = part_of(target)
    part.parent.mkdir()
    part.write_bytes(CONTENT[:CHUNK] + bytes(CHUNK) + CONTENT[2 * CHUNK :])
    assert await wanted(target, manifest) == (1,)
    await receive_file(target, manifest, (1,), frames(*cut(1)))
    assert target.read_bytes() == CONTENT


async def test_a_longer_remainder_of_another_file_is_cut(manifest: Manifest, target: Path) -> None:
    part = part_of(target)
    part.parent.mkdir()
    part.write_bytes(CONTENT + b"more than was promised")
    await receive_file(target, manifest, await wanted(target, manifest), frames())
    assert target.read_bytes() == CONTENT


async def test_silence_ends_the_transfer(manifest: Manifest, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "CHUNK_TIMEOUT_S", 0.0)
    with pytest.raises(TransferError, match="no data came for 0 s"):
        await receive_file(target, manifest, (0,), _never)
    assert not target.exists()


async def _never() -> bytes | None:
    return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return] # it never has a result


@pytest.mark.parametrize("index", [-1, 4, 2**31])
async def test_a_chunk_that_the_file_does_not_have_is_refused(source: Path, manifest: Manifest, index: int) -> None:
    with pytest.raises(TransferError, match=f"chunk {index} was asked for, but there are 4"):
        await read(source, manifest, [0, index])


async def test_a_file_that_shrinks_while_it_is_sent_is_noticed(source: Path, manifest: Manifest) -> None:
    source.write_bytes(CONTENT[:CHUNK])
    with pytest.raises(TransferError, match="became shorter while it was sent"):
        await read(source, manifest, [0, 1])


def poured(*data: bytes) -> Callable[[memoryview], None]:
    """Fills buffers from what there is, and breaks when there is no more."""
    waiting = bytearray(b"".join(data))

    def fill(buffer: memoryview) -> None:
        if len(waiting) < len(buffer):
            raise EOFError
        buffer[:] = waiting[: len(buffer)]
        del waiting[: len(buffer)]

    return fill


async def test_chunks_read_and_written_by_a_thread(source: Path, manifest: Manifest, target: Path) -> None:
    indices = await wanted(target, manifest)
    sent = [bytes(chunk) for chunk in read_chunks(source, manifest, indices)]
    assert sent == cut(0, 1, 2, 3)
    with pytest.raises(EOFError):
        write_chunks(target, manifest, indices, poured(*sent[:2]))
    assert not target.exists()
    rest = await wanted(target, manifest)
    assert rest == (2, 3), "what arrived before the break is not asked for again"
    write_chunks(target, manifest, rest, poured(*sent[2:]))
    assert target.read_bytes() == CONTENT
    assert target.stat().st_mode & 0o077 == 0


def test_a_wrong_chunk_is_not_written_by_a_thread_either(manifest: Manifest, target: Path) -> None:
    with pytest.raises(TransferError, match="chunk 1 does not have the promised digest"):
        write_chunks(target, manifest, (0, 1), poured(*cut(0, 2)))
    assert not target.exists()


def test_a_file_that_shrinks_while_it_is_sent(source: Path, manifest: Manifest) -> None:
    chunks = read_chunks(source, manifest, (0, 3))
    next(chunks)
    source.write_bytes(CONTENT[:CHUNK])
    with pytest.raises(TransferError, match="became shorter"):
        next(chunks)


def test_a_chunk_that_does_not_exist_is_not_read(source: Path, manifest: Manifest) -> None:
    with pytest.raises(TransferError, match="there is no chunk 4"):
        next(read_chunks(source, manifest, (4,)))


@pytest.mark.parametrize("before", [None, b"", b"less", b"longer than it", b"equal"], ids=str)
def test_a_small_file_takes_the_place_of_a_spare(tmp_path: Path, before: bytes | None) -> None:
    spare, path = tmp_path / "spare", tmp_path / "file"
    if before is not None:
        spare.write_bytes(before)
    place_file(path, b"equal", spare)
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == {"file": b"equal"}


def test_a_small_file_makes_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "one" / "two" / "file"
    place_file(path, b"content")
    assert path.read_bytes() == b"content"
