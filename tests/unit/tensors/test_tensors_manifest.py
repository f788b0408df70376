import hashlib
from itertools import pairwise
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openfl_like.errors import TransferError
from openfl_like.tensors.manifest import (
    MAX_CHUNK_BYTES,
    MAX_CHUNKS,
    MIN_CHUNK_BYTES,
    ChunkDigests,
    Manifest,
    chunk_size,
    file_digest,
    keep_manifest,
    kept_manifest,
    manifest_of,
    manifest_path,
    missing,
    sha256_file,
)

REUSE_TMP = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None, derandomize=True
)


def test_identity_covers_sizes_and_chunk_digests(tmp_path: Path) -> None:
    data = bytes(range(256)) * 2500
    (tmp_path / "f").write_bytes(data)
    chunks = [data[start : start + MIN_CHUNK_BYTES] for start in range(0, len(data), MIN_CHUNK_BYTES)]
    head = b"FXM1" + len(data).to_bytes(8, "little") + MIN_CHUNK_BYTES.to_bytes(4, "little")
    expected = blake3(head + b"".join(blake3(chunk).digest() for chunk in chunks)).hexdigest()
    manifest = manifest_of(tmp_path / "f")
    assert (len(chunks), manifest.total_bytes) == (3, len(data))
    assert manifest.digest == file_digest(tmp_path / "f") == expected
    assert sha256_file(tmp_path / "f") == hashlib.sha256(data).hexdigest()


@REUSE_TMP
@given(data=st.binary(max_size=300), chunk_bytes=st.integers(1, 64))
def test_round_trip(tmp_path: Path, data: bytes, chunk_bytes: int) -> None:
    path = tmp_path / "f"
    path.write_bytes(data)
    manifest = manifest_of(path, chunk_bytes)
    again = Manifest.from_bytes(manifest.to_bytes())
    assert (again, again.digest) == (manifest, manifest.digest)
    assert missing(path, manifest) == ()
    ranges = [manifest.chunk_range(index) for index in range(len(manifest.chunks))]
    assert b"".join(data[offset : offset + length] for offset, length in ranges) == data
    for index, (offset, length) in enumerate(ranges):
        assert manifest.verify_chunk(index, data[offset : offset + length])
        assert not manifest.verify_chunk(index, data[offset : offset + length] + b"x")


@REUSE_TMP
@given(data=st.binary(min_size=1, max_size=300), cut=st.integers(0, 300), flip=st.integers(0, 299))
def test_missing_names_exactly_the_chunks_that_differ(tmp_path: Path, data: bytes, cut: int, flip: int) -> None:
    whole, part = tmp_path / "whole", tmp_path / "part"
    whole.write_bytes(data)
    manifest = manifest_of(whole, 16)
    damaged = bytearray(data[:cut])
    if flip < len(damaged):
        damaged[flip] ^= 1
    part.write_bytes(damaged)
    expected = tuple(
        index for index in range(len(manifest.chunks)) if damaged[index * 16 :][:16] != data[index * 16 :][:16]
    )
    assert missing(part, manifest) == expected


@pytest.mark.parametrize(
    ("total", "size"),
    [
        (0, MIN_CHUNK_BYTES),
        (MIN_CHUNK_BYTES * MAX_CHUNKS, MIN_CHUNK_BYTES),
        (MIN_CHUNK_BYTES * MAX_CHUNKS + 1, 2 * MIN_CHUNK_BYTES),
        (MAX_CHUNK_BYTES * MAX_CHUNKS, MAX_CHUNK_BYTES),
        (MAX_CHUNK_BYTES * MAX_CHUNKS * 2, MAX_CHUNK_BYTES),  # refused by the manifest
    ],
)
def test_larger_files_have_larger_chunks(total: int, size: int) -> None:
    assert chunk_size(total) == size


@REUSE_TMP
@given(data=st.binary(max_size=300), cuts=st.lists(st.integers(0, 300), max_size=5), chunk_bytes=st.integers(1, 64))
def test_digests_taken_in_passing_are_those_of_the_file(
    tmp_path: Path, data: bytes, cuts: list[int], chunk_bytes: int
) -> None:
    (tmp_path / "f").write_bytes(data)
    digests = ChunkDigests(len(data), chunk_bytes)
    edges = [0, *sorted(cuts), len(data)]
    for begin, end in pairwise(edges):
        digests.add(memoryview(data[begin:end]))
    assert digests.manifest() == manifest_of(tmp_path / "f", chunk_bytes)


def test_bytes_that_did_not_pass_are_noticed() -> None:
    digests = ChunkDigests(40, 16)
    digests.add(memoryview(bytes(16)))
    with pytest.raises(TransferError):
        digests.manifest()


def test_only_chunks_that_a_former_manifest_has_too_are_looked_at(tmp_path: Path) -> None:
    former, path = tmp_path / "former", tmp_path / "f"
    former.write_bytes(b"a" * 16 + b"b" * 16 + b"c" * 16)
    path.write_bytes(b"a" * 16 + b"X" * 16 + b"c" * 16 + b"d" * 4)
    wanted = manifest_of(path, 16)
    known = manifest_of(former, 16)
    assert missing(former, wanted, known) == (1, 3)
    former.write_bytes(b"a" * 16 + b"X" * 16 + b"?" * 16)
    assert missing(former, wanted, known) == (1, 2, 3), "not looked at; what it promised and does not hold; new"
    assert missing(path, wanted, manifest_of(former, 8)) == (0, 1, 2, 3), "chunks of another size say nothing"


def test_a_manifest_is_kept_beside_its_file(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(bytes(40))
    assert kept_manifest(path) is None
    keep_manifest(path, manifest_of(path))
    assert kept_manifest(path) == manifest_of(path)
    manifest_path(path).write_bytes(b"nonsense")
    assert kept_manifest(path) is None


def test_everything_is_missing_without_a_file(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(bytes(40))
    assert missing(tmp_path / "none", manifest_of(tmp_path / "f", 16)) == (0, 1, 2)


def test_a_longer_file_lacks_nothing(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(bytes(20))
    manifest = manifest_of(tmp_path / "f", 16)
    (tmp_path / "f").write_bytes(bytes(50))
    assert missing(tmp_path / "f", manifest) == ()


def good() -> bytes:
    return Manifest(20, 16, (bytes(32), bytes(32))).to_bytes()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"FXM1",
        b"XXXX" + good()[4:],
        good()[:-1],
        good()[:-32],
        good() + bytes(32),
        b"FXM1" + (20).to_bytes(8, "little") + (0).to_bytes(4, "little") + bytes(64),
        b"FXM1" + (20).to_bytes(8, "little") + (2**31).to_bytes(4, "little") + bytes(32),
        b"FXM1" + (2**63).to_bytes(8, "little") + (16).to_bytes(4, "little"),
    ],
)
def test_bytes_that_are_no_manifest(data: bytes) -> None:
    with pytest.raises(TransferError):
        Manifest.from_bytes(data)


@given(st.binary(max_size=200))
@settings(max_examples=30, derandomize=True)
def test_any_bytes_give_a_manifest_or_an_error_of_ours(data: bytes) -> None:
    try:
        manifest = Manifest.from_bytes(data)
    except TransferError:
        return
    assert manifest.to_bytes() == data


@pytest.mark.parametrize("index", [-1, 2])
def test_there_is_no_such_chunk(index: int) -> None:
    manifest = Manifest.from_bytes(good())
    assert not manifest.verify_chunk(index, bytes(16))
    with pytest.raises(TransferError):
        manifest.chunk_range(index)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for call in (file_digest, sha256_file, manifest_of):
        with pytest.raises(TransferError, match="cannot be read"):
            call(tmp_path / "none")
