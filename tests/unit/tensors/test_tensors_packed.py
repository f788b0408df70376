"""Packed tensors that a peer made up, and what is packed at all."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import zstandard
from pydantic import ValidationError

from openfl_like.errors import TensorError
from openfl_like.tensors.compression import Quantise, Uncompressed
from openfl_like.tensors.container import TensorFile, read_tensors, write_tensors
from openfl_like.tensors.encoded import DecodedFile, Encoding, Sent, open_update, write_encoded
from openfl_like.tensors.lossless import BLOCK_ELEMENTS, Zstd
from openfl_like.tensors.named import Array, TensorSpec
from openfl_like.tensors.packed import PackedVector

SPEC = TensorSpec("w", "U8", (1000,))


def packed(*frames: bytes, lengths: list[int] | None = None) -> Array:
    table = np.array(lengths if lengths is not None else [len(frame) for frame in frames], "<u4")
    return np.frombuffer(b"".join(frames) + table.tobytes(), np.uint8)


def zeros(size: int, **options: bool) -> bytes:
    return zstandard.ZstdCompressor(**options).compress(bytes(size))  # type: ignore[arg-type] # every option is a flag


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (packed(zeros(1000), lengths=[5]), "lengths of its frames add up to 5 bytes, not"),
        (packed(zeros(1000), lengths=[2**32 - 1]), "add up to 4294967295 bytes"),
        (packed(zeros(1000), lengths=[]), "add up to"),
        (packed(zeros(1000), zeros(1000)), "add up to"),
        (np.zeros(3, np.uint8), "3 bytes are not 1 frames of 1000 bytes"),
        (packed(bytes(1000)), "1004 bytes are not 1 frames of 1000 bytes"),
    ],
)
def test_lengths_that_do_not_fit(content: Array, told: str) -> None:
    with pytest.raises(TensorError, match=told):
        PackedVector(SPEC, content, None, Zstd())


def shrunk(frame: bytes, size: int) -> bytes:
    """A frame of more than 64 KiB that says it has fewer bytes: the four bytes after magic number and descriptor."""
    assert int.from_bytes(frame[5:9], "little") > 2**16
    return frame[:5] + size.to_bytes(4, "little") + frame[9:]


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        (zeros(10**8), "says that it has 100000000 bytes, not 1000"),
        (zeros(999), "says that it has 999 bytes"),
        (zeros(1000, write_content_size=False), "says that it has -1 bytes"),
        (shrunk(zeros(10**6), 1000), "cannot be decompressed"),
        (zeros(1000) + zeros(1000), "cannot be decompressed"),
        (zeros(1000)[:-1], "cannot be decompressed"),
        (b"no frame at all", "cannot be decompressed"),
        (b"", "cannot be decompressed"),
        (b"\x50\x2a\x4d\x18\x04\x00\x00\x00skip", "says that it has 0 bytes"),
    ],
)
def test_frames_that_are_no_block(frame: bytes, told: str) -> None:
    vector = PackedVector(SPEC, packed(frame[:900]) if len(frame) > 900 else packed(frame), None, Zstd())
    tracemalloc.start()
    with pytest.raises(TensorError, match=f"'w' is not packed as agreed: a frame {told}"):
        vector[:10]
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()
    with pytest.raises(TensorError):
        vector.verify()


def test_packed_elements_are_read_in_steps_of_one() -> None:
    vector = PackedVector(SPEC, packed(zeros(1000)), None, Zstd())
    assert (vector.size, vector[990:2000].size, vector[5:3].size, vector[-5:].size, vector[7:8][0]) == (
        1000,
        10,
        0,
        5,
        0,
    )
    with pytest.raises(TensorError, match="steps of 1"):
        vector[::2]


@pytest.fixture
def sent(tmp_path: Path) -> Sent:
    base: dict[str, Array] = {"w": np.zeros(3000, np.float32), "n": np.arange(200), "noise": noise(0)}
    write_tensors(tmp_path / "base", base, sync=False)
    return Sent(Encoding(Uncompressed(), delta=False, lossless=Zstd(exclude=("n*",))), 1, tmp_path / "base")


def noise(seed: int) -> Array:
    return np.random.default_rng(seed).integers(0, 2**64, 500, dtype=np.uint64)


TRAINED: dict[str, Array] = {"w": np.ones(3000, np.float32), "n": np.arange(200), "noise": noise(1)}


def test_what_is_excluded_or_does_not_shrink_is_not_packed(sent: Sent, tmp_path: Path) -> None:
    write_encoded(tmp_path / "update", TRAINED, sent, {})
    with TensorFile(tmp_path / "update") as file:
        assert file.names == ("n", "noise", "w#packed")
    everything = Sent(Encoding(Uncompressed(), delta=False, lossless=Zstd()), 1, sent.base)
    write_encoded(tmp_path / "update", TRAINED, everything, {})
    with TensorFile(tmp_path / "update") as file:
        assert file.names == ("n#packed", "noise", "w#packed")


def test_a_pattern_of_the_packing_names_the_tensor_not_its_parts(sent: Sent, tmp_path: Path) -> None:
    quantised = Sent(Encoding(Quantise(), delta=True, lossless=Zstd(exclude=("w",))), 1, sent.base)
    write_encoded(tmp_path / "update", TRAINED, quantised, {})
    with TensorFile(tmp_path / "update") as file:
        assert {"w#code", "w#scale", "n#packed"} < set(file.names)


def test_what_did_not_change_costs_next_to_nothing(sent: Sent, tmp_path: Path) -> None:
    frozen = Sent(Encoding(Uncompressed(), delta=False, lossless=Zstd()), 1, sent.base)
    write_encoded(tmp_path / "update", {**TRAINED, "noise": noise(0)}, frozen, {})
    with TensorFile(tmp_path / "update") as file:
        assert file.tensor("noise#packed").size < 300


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"w": TRAINED["w"]}, "unexpected: w#packed"),
        ({"x#packed": np.zeros(9, np.uint8)}, "unexpected: x#packed"),
        ({"w#packed": np.zeros(90, np.int8)}, "missing: w; unexpected: w#packed"),
        ({"w#packed": np.zeros((9, 9), np.uint8)}, "missing: w; unexpected: w#packed"),
        ({"w#packed": np.zeros(90, np.uint8)}, "not packed as agreed: the lengths"),
        ({"w#packed": np.zeros(12_000, np.uint8)}, "not packed as agreed: 12000 bytes are not 4 frames of 12000 bytes"),
    ],
)
def test_a_file_that_is_not_as_agreed(sent: Sent, tmp_path: Path, change: dict[str, Array], told: str) -> None:
    write_encoded(tmp_path / "update", TRAINED, sent, {})
    open_update(tmp_path / "update", sent, verify=True).close()
    write_tensors(tmp_path / "update", {**read_tensors(tmp_path / "update"), **change}, sync=False)
    with pytest.raises(TensorError, match=told):
        open_update(tmp_path / "update", sent, verify=True)


def test_a_packed_file_is_refused_where_nobody_agreed_on_it(sent: Sent, tmp_path: Path) -> None:
    write_encoded(tmp_path / "update", TRAINED, sent, {})
    with pytest.raises(TensorError, match="missing: w; unexpected: w#packed"):
        DecodedFile(tmp_path / "update", Sent(Encoding(Uncompressed(), delta=False), 1, sent.base))


def test_a_large_update_waits_in_a_file_that_nobody_sees(sent: Sent, tmp_path: Path) -> None:
    size = 160 * BLOCK_ELEMENTS
    trained = {"w": np.random.default_rng(3).normal(size=size).astype(np.float32)}
    write_tensors(tmp_path / "base", {"w": np.zeros(size, np.float32)}, sync=False)
    write_encoded(tmp_path / "update", trained, sent, {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "update"]
    reader = DecodedFile(tmp_path / "update", sent)
    assert reader.tensor("w").tobytes() == trained["w"].tobytes()
    reader.release([("w", 5, size - 5)])
    assert reader.flat("w")[5:50].tobytes() == trained["w"][5:50].tobytes()
    reader.close()


@pytest.mark.parametrize("level", [0, 20, 1.5])
def test_impossible_levels(level: float) -> None:
    with pytest.raises(ValidationError):
        Zstd(level=level)  # type: ignore[arg-type] # the mistake to be refused
