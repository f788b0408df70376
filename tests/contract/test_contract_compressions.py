"""What every compression must do, alone and as a file; a registered one that is not tried here fails the first test."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from openfl_like import registry
from openfl_like.tensors.compression import (
    BFloat16,
    Compression,
    Float16,
    Quantise,
    RandomK,
    TopK,
    Uncompressed,
)
from openfl_like.tensors.container import TensorFile, read_tensors, write_tensors
from openfl_like.tensors.draws import stream_key
from openfl_like.tensors.encoded import DecodedFile, Encoding, Sent, encoded_schema, write_encoded
from openfl_like.tensors.named import DTYPES, Array, TensorSpec, schema_of

ALL: dict[str, Compression] = {
    "none": Uncompressed(),
    "float16": Float16(),
    "bfloat16": BFloat16(),
    "quantise": Quantise(bits=8),
    "quantise 4": Quantise(bits=4),
    "top_k": TopK(fraction=0.1),
    "random_k": RandomK(fraction=0.1),
}
each = pytest.mark.parametrize("compression", ALL.values(), ids=list(ALL))
FLOATS = ["F16", "BF16", "F32", "F64"]
SIZES = [1, 2, 9, 1023, 1024, 1025, 70_001]


def numbers(size: int, dtype: str = "F32", seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=size).astype(DTYPES[dtype])


def model(seed: int) -> dict[str, Array]:
    random = np.random.default_rng(seed)
    return {
        "w": random.normal(size=(50, 61)).astype(np.float32),
        "w.bias": random.normal(size=70).astype(np.float32),
        "half": random.normal(size=3000).astype(DTYPES["BF16"]),
        "wide": random.normal(size=(2, 900)),
        "scalar": np.array(random.normal(), dtype=np.float32),
        "empty": np.zeros((0, 3), np.float32),
        "steps": random.integers(0, 99, size=5),
        "mask": random.random(7) > 0.5,
    }


def sent(base: Path, compression: Compression, *, seed: int = 5, delta: bool = True) -> Sent:
    return Sent(Encoding(compression, delta), seed, base)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    write_tensors(tmp_path / "base", model(1), sync=False)
    return tmp_path / "base"


def test_every_registered_compression_is_tried() -> None:
    tried = {type(compression) for compression in ALL.values()}
    assert {registry.resolve("compression", name) for name in registry.names("compression")} == tried


@each
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", FLOATS)
def test_any_part_decodes_to_the_bits_of_the_whole(compression: Compression, dtype: str, size: int) -> None:
    spec, key = TensorSpec("w", dtype, (size,)), stream_key(5, "w")
    values = numbers(size, dtype).astype(np.float64 if dtype == "F64" else np.float32)
    stored = compression.encode(spec, values, key)
    parts = {part.name: part for part in compression.parts(spec)}
    assert {name: (array.dtype, array.shape) for name, array in stored.items()} == {
        name: (part.numpy_dtype, part.shape) for name, part in parts.items()
    }
    assert compression.check(spec, stored) == ""
    whole = compression.decode(spec, stored, key, 0, size)
    assert whole.dtype == np.float64
    assert whole.shape == (size,)
    random = np.random.default_rng(size)
    cuts = sorted({0, size, *random.integers(0, size + 1, 12).tolist()})
    pieces = [compression.decode(spec, stored, key, start, stop) for start, stop in pairwise(cuts)]
    assert np.concatenate(pieces).tobytes() == whole.tobytes()
    assert compression.decode(spec, stored, key, size // 2, size // 2).size == 0


@each
def test_what_is_decoded_is_near(compression: Compression) -> None:
    spec, key, values = TensorSpec("w", "F32", (5000,)), 3, numbers(5000)
    decoded = compression.decode(spec, compression.encode(spec, values, key), key, 0, 5000)
    error = np.abs(decoded - values)
    if isinstance(compression, Quantise):
        peaks = np.repeat(np.maximum.reduceat(np.abs(values), np.arange(0, 5000, 1024)), 1024)[:5000]
        assert (error <= peaks / (2 ** (compression.bits - 1) - 1) * 1.000001).all()
    elif isinstance(compression, TopK | RandomK):
        kept = decoded != 0
        assert np.count_nonzero(kept) == 500
        assert (decoded[kept] == values[kept]).all()
        if isinstance(compression, TopK):
            assert np.abs(values[kept]).min() >= np.abs(values[~kept]).max()
    else:
        bound = {"Uncompressed": 0.0, "Float16": 2.0**-11, "BFloat16": 2.0**-8}[type(compression).__name__]
        assert (error <= bound * np.abs(values) + 2.0**-25).all()


@each
def test_zeros_and_the_smallest_numbers_survive(compression: Compression) -> None:
    spec = TensorSpec("w", "F32", (2048,))
    for values in (np.zeros(2048, np.float32), np.full(2048, 1e-45, np.float32)):
        decoded = compression.decode(spec, compression.encode(spec, values, 1), 1, 0, 2048)
        assert (np.abs(decoded) <= values).all()


@each
@pytest.mark.parametrize("delta", [True, False])
def test_the_seed_makes_the_bytes(compression: Compression, base: Path, tmp_path: Path, *, delta: bool) -> None:
    files = []
    for seed in (5, 5, 6):
        write_encoded(tmp_path / "update", model(2), sent(base, compression, seed=seed, delta=delta), {})
        files.append((tmp_path / "update").read_bytes())
    assert files[0] == files[1]
    assert (files[0] == files[2]) is not isinstance(compression, Quantise | RandomK)


@each
@pytest.mark.parametrize("delta", [True, False])
def test_a_file_reads_like_the_model(compression: Compression, base: Path, tmp_path: Path, *, delta: bool) -> None:
    trained, how = model(2), sent(base, compression, delta=delta)
    left = write_encoded(tmp_path / "update", trained, how, {})
    before = read_tensors(base)
    reader = DecodedFile(tmp_path / "update", how)
    assert reader.schema == schema_of(trained)
    with TensorFile(tmp_path / "update") as file:
        assert file.schema == encoded_schema(reader.schema, how.encoding)
    for name in ("scalar", "empty", "steps", "mask"):
        whole = reader.tensor(name)
        assert whole.dtype == trained[name].dtype
        if name != "scalar":
            assert whole.tobytes() == trained[name].tobytes()
    for name in ("w", "w.bias", "half", "wide"):
        assert (reader.tensor(name).dtype, reader.tensor(name).shape) == (trained[name].dtype, trained[name].shape)
        flat = reader.flat(name)
        read = np.concatenate([flat[:37], flat[37 : flat.size]])
        arrived = read - before[name].reshape(-1).astype(np.float64) * delta
        wanted = trained[name].reshape(-1).astype(np.float64) - before[name].reshape(-1).astype(np.float64) * delta
        if delta:
            arrived = arrived + left.get(name, np.zeros(1))
            assert np.allclose(arrived, wanted, rtol=0, atol=2e-6)
        else:
            assert np.allclose(arrived, wanted, rtol=0.01, atol=0.01) or compression.needs_delta
    reader.close()


@each
def test_excluded_tensors_arrive_as_they_are(compression: Compression, base: Path, tmp_path: Path) -> None:
    settings = {name: getattr(compression, name) for name in ("bits", "fraction") if hasattr(compression, name)}
    build = cast("Callable[..., Compression]", type(compression))
    strict = build(**settings, exclude=("*.bias", "half", "wid?"))
    trained, how = model(2), sent(base, strict)
    left = write_encoded(tmp_path / "update", trained, how, {})
    assert left.keys() <= {"w", "scalar"}
    reader = DecodedFile(tmp_path / "update", how)
    for name in ("w.bias", "half", "wide"):
        assert reader.tensor(name).tobytes() == trained[name].tobytes()
    reader.close()


@each
def test_what_is_left_out_comes_later(compression: Compression, tmp_path: Path) -> None:
    """The sum of what arrived and of what is still carried is the sum of what was trained."""
    random = np.random.default_rng(9)
    zeros = {"w": np.zeros(3000, np.float32)}
    write_tensors(tmp_path / "base", zeros, sync=False)
    trained, arrived = np.zeros(3000), np.zeros(3000)
    carried: dict[str, Array] = {}
    for seed in range(20):
        delta = random.normal(size=3000).astype(np.float32)
        how = sent(tmp_path / "base", compression, seed=seed)
        carried = write_encoded(tmp_path / "update", {"w": delta}, how, carried)
        reader = DecodedFile(tmp_path / "update", how)
        trained += delta
        arrived += reader.flat("w")[:3000]
        reader.close()
    left = carried.get("w", np.zeros(3000, np.float32))
    assert np.allclose(arrived + left, trained, rtol=0, atol=2e-4)
    assert np.abs(left).max() < 100


def test_no_compression_makes_a_file_larger(base: Path) -> None:
    plain = sum(spec.size_bytes for spec in schema_of(model(1)))
    for compression in (*ALL.values(), TopK(fraction=1.0), RandomK(fraction=1.0)):
        stored = encoded_schema(schema_of(model(1)), Encoding(compression, delta=True))
        assert sum(spec.size_bytes for spec in stored) <= plain
