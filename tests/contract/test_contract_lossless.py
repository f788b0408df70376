"""What every lossless compression must do; a registered one that is not tried here fails the first test."""

from pathlib import Path

import numpy as np
import pytest

from openfl_like import registry
from openfl_like.errors import TensorError
from openfl_like.tensors.compression import BFloat16, Compression, Float16, Quantise, RandomK, TopK, Uncompressed
from openfl_like.tensors.container import write_tensors
from openfl_like.tensors.encoded import DecodedFile, Encoding, Sent, open_update, write_encoded
from openfl_like.tensors.lossless import BLOCK_ELEMENTS, AsTheyAre, Lossless, Zstd, joined, planes
from openfl_like.tensors.named import DTYPES, Array, schema_of

ALL: dict[str, Lossless] = {"none": AsTheyAre(), "zstd": Zstd(), "zstd 9": Zstd(level=9)}
LOSSY: list[Compression] = [
    Uncompressed(),
    Float16(),
    BFloat16(),
    Quantise(bits=8),
    Quantise(bits=4),
    TopK(fraction=0.3),
    RandomK(fraction=0.3),
]
each = pytest.mark.parametrize("lossless", ALL.values(), ids=list(ALL))
LONG = 2 * BLOCK_ELEMENTS + 77


def vector(kind: str, size: int, seed: int = 0) -> Array:
    """Numbers of every kind: for floats NaN, infinities and both zeros, too."""
    random, dtype = np.random.default_rng(seed), DTYPES[kind]
    if kind == "BOOL":
        return random.random(size) > 0.9
    if dtype.kind in "iu":
        return np.sort(random.integers(0, np.iinfo(dtype).max, size, dtype=dtype, endpoint=True))
    values = (random.normal(size=size) * 0.02).astype(dtype)
    values[:5] = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0])[:size]
    return values


def test_every_registered_lossless_compression_is_tried() -> None:
    tried = {type(lossless) for lossless in ALL.values()}
    assert {registry.resolve("lossless", name) for name in registry.names("lossless")} == tried


@each
@pytest.mark.parametrize("size", [1, 100, BLOCK_ELEMENTS])
def test_a_frame_gives_back_its_bytes(lossless: Lossless, size: int) -> None:
    noise = np.random.default_rng(1).integers(0, 256, size, dtype=np.uint8)
    for plane in (noise, np.zeros(size, np.uint8)):
        frame = lossless.compress(plane)
        assert frame == lossless.compress(plane)
        assert lossless.decompress(np.frombuffer(frame, np.uint8), size) == plane.tobytes()


@each
def test_a_frame_that_is_not_whole_or_of_another_size_is_refused(lossless: Lossless) -> None:
    frame = lossless.compress(np.arange(200, dtype=np.uint8))
    for wrong in (frame[:-1], frame + b"\0", frame + frame, frame[1:], b""):
        with pytest.raises(TensorError):
            lossless.decompress(np.frombuffer(wrong, np.uint8), 200)
    for size in (199, 201, 2**20):
        with pytest.raises(TensorError):
            lossless.decompress(np.frombuffer(frame, np.uint8), size)


@pytest.mark.parametrize("dtype", list(DTYPES))
@pytest.mark.parametrize("against", [True, False])
def test_planes_are_put_together_again(dtype: str, *, against: bool) -> None:
    block, base = vector(dtype, 1001), vector(dtype, 1001, seed=3) if against else None
    cut = planes(block, base)
    assert cut.shape == (block.dtype.itemsize, 1001)
    whole = joined([plane.tobytes() for plane in cut], block.dtype, base)
    assert (whole.dtype, whole.tobytes()) == (block.dtype, block.tobytes())


@each
@pytest.mark.parametrize("size", [1, 100, LONG])
@pytest.mark.parametrize("dtype", list(DTYPES))
def test_alone_every_byte_arrives(lossless: Lossless, dtype: str, size: int, tmp_path: Path) -> None:
    trained = {"a": vector(dtype, size), "empty": vector(dtype, 0), "b": vector(dtype, size).reshape(1, size)}
    write_tensors(tmp_path / "base", {**trained, "a": vector(dtype, size, seed=4)}, sync=False)
    sent = Sent(Encoding(Uncompressed(), delta=False, lossless=lossless), 5, tmp_path / "base")
    assert write_encoded(tmp_path / "update", trained, sent, {}) == {}
    reader = DecodedFile(tmp_path / "update", sent)
    reader.verify()
    assert reader.schema == schema_of(trained)
    for name, tensor in trained.items():
        whole = reader.tensor(name)
        assert (whole.dtype, whole.shape, whole.tobytes()) == (tensor.dtype, tensor.shape, tensor.tobytes())
    flat = reader.flat("a")
    for start, stop in ((size // 2, size), (0, size // 3), (size - 1, size), (0, 0)):
        assert flat[start:stop].tobytes() == trained["a"][start:stop].tobytes()
    reader.close()


@each
@pytest.mark.parametrize("lossy", LOSSY, ids=str)
def test_on_top_of_another_compression_nothing_changes(lossless: Lossless, lossy: Compression, tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    base: dict[str, Array] = {
        "w": random.normal(size=LONG).astype(np.float32),
        "w.bias": random.normal(size=9),
        "n": np.array([4]),
    }
    trained = {name: (tensor + random.normal(size=tensor.shape)).astype(tensor.dtype) for name, tensor in base.items()}
    carried: dict[str, Array] = {"w": random.normal(size=LONG).astype(np.float32)}
    write_tensors(tmp_path / "base", base, sync=False)
    packed = Sent(Encoding(lossy, delta=True, lossless=lossless), 5, tmp_path / "base")
    bare = Sent(Encoding(lossy, delta=True), 5, tmp_path / "base")
    left = [write_encoded(tmp_path / f"{sent is packed}", trained, sent, carried) for sent in (packed, bare)]
    assert {name: array.tobytes() for name, array in left[0].items()} == {
        name: array.tobytes() for name, array in left[1].items()
    }
    one, other = DecodedFile(tmp_path / "True", packed), DecodedFile(tmp_path / "False", bare)
    for name in base:
        assert one.tensor(name).tobytes() == other.tensor(name).tobytes()
    for start in (0, 40_000, BLOCK_ELEMENTS - 1, LONG - 300):
        assert one.flat("w")[start : start + 700].tobytes() == other.flat("w")[start : start + 700].tobytes()
    assert (tmp_path / "True").stat().st_size <= (tmp_path / "False").stat().st_size
    one.close()
    other.close()


@pytest.mark.parametrize("lossy", LOSSY, ids=str)
@pytest.mark.parametrize("seed", range(8))
def test_a_damaged_file_is_refused_or_is_another_update(lossy: Compression, seed: int, tmp_path: Path) -> None:
    """Digests keep accidents away; this is about a peer that makes them up."""
    random = np.random.default_rng(seed)
    base: dict[str, Array] = {"w": np.zeros((50, 40), np.float32), "n": np.arange(3000)}
    write_tensors(tmp_path / "base", base, sync=False)
    sent = Sent(Encoding(lossy, delta=lossy.needs_delta, lossless=Zstd()), 5, tmp_path / "base")
    trained = {"w": np.round(random.normal(size=(50, 40)), 1).astype(np.float32), "n": base["n"] + 1}
    write_encoded(tmp_path / "good", trained, sent, {})
    good = (tmp_path / "good").read_bytes()
    refused = 0
    for _ in range(20):
        bad = bytearray(good)
        bad[int(random.integers(8, len(bad)))] ^= int(random.integers(1, 256))
        (tmp_path / "bad").write_bytes(bad[: len(bad) - int(random.integers(0, 2))])
        try:
            reader = open_update(tmp_path / "bad", sent, verify=True)
        except TensorError:
            refused += 1
            continue
        assert {name: reader.tensor(name).shape for name in base} == {name: base[name].shape for name in base}
        reader.close()
    assert refused
