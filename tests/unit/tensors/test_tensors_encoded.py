"""Encoded updates as files: what is refused, at the site and at the Aggregator."""

from pathlib import Path

import numpy as np
import pytest

from openfl_like.errors import TensorError
from openfl_like.tensors.compression import Compression, Float16, Quantise, RandomK, TopK, Uncompressed
from openfl_like.tensors.container import read_tensors, write_tensors
from openfl_like.tensors.encoded import DecodedFile, Encoding, ErrorFeedback, Sent, write_encoded
from openfl_like.tensors.named import DTYPES, Array

TRAINED = {"w": np.linspace(-1, 1, 2000, dtype=np.float32), "n": np.array([3])}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    write_tensors(tmp_path / "base", {"w": np.zeros(2000, np.float32), "n": np.array([2])}, sync=False)
    return tmp_path / "base"


def how(base: Path, compression: Compression, *, delta: bool = True) -> Sent:
    return Sent(Encoding(compression, delta), 1, base)


@pytest.mark.parametrize(
    ("trained", "told"),
    [
        ({"w": TRAINED["w"]}, "missing: n"),
        ({**TRAINED, "v": TRAINED["w"]}, "unexpected: v"),
        ({**TRAINED, "w": TRAINED["w"].astype(np.float64)}, "F64"),
        ({**TRAINED, "w": np.full(2000, np.nan, np.float32)}, "'w' holds a value that is not finite"),
        ({**TRAINED, "w": np.full(2000, np.inf, np.float32)}, "'w' holds a value that is not finite"),
        ({**TRAINED, "w": np.full(2000, 1e6, np.float32)}, "'w' holds a value that is too large .* bfloat16"),
    ],
)
def test_a_model_that_cannot_be_sent(base: Path, tmp_path: Path, trained: dict[str, Array], told: str) -> None:
    with pytest.raises(TensorError, match=told):
        write_encoded(tmp_path / "update", trained, how(base, Float16()), {})
    assert [path.name for path in tmp_path.iterdir()] == ["base"]


def test_names_must_not_look_like_parts(tmp_path: Path) -> None:
    tensors = {"w": np.zeros(9, np.float32), "w#value": np.zeros(9, np.float32)}
    write_tensors(tmp_path / "base", tensors, sync=False)
    with pytest.raises(TensorError, match=r"'w#value' has '#' in its name"):
        write_encoded(tmp_path / "update", tensors, how(tmp_path / "base", Float16()), {})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"w#scale": np.ones(3, np.float32)}, "F32.3. instead of F32.2."),
        ({"w#code": np.zeros(1999, np.int8)}, "I8.1999. instead of I8.2000."),
        ({"w#code": np.zeros(2000, np.uint8)}, "U8.2000. instead of I8.2000."),
        ({"w#code": np.zeros((2, 1000), np.int8)}, "I8.2, 1000."),
        ({"w": TRAINED["w"]}, "unexpected: w"),
        ({"w#scale": np.array([1, np.nan], np.float32)}, "'w' is not encoded as agreed: a scale is"),
        ({"n": np.array([1, 2])}, "I64.2. instead of I64.1."),
    ],
)
def test_a_file_that_is_not_as_agreed(base: Path, tmp_path: Path, change: dict[str, Array], told: str) -> None:
    sent = how(base, Quantise())
    write_encoded(tmp_path / "update", TRAINED, sent, {})
    DecodedFile(tmp_path / "update", sent).close()
    write_tensors(tmp_path / "update", {**read_tensors(tmp_path / "update"), **change}, sync=False)
    with pytest.raises(TensorError, match=told):
        DecodedFile(tmp_path / "update", sent)


def test_a_plain_or_cut_file_is_not_an_encoded_one(base: Path, tmp_path: Path) -> None:
    sent = how(base, TopK(fraction=0.1))
    write_tensors(tmp_path / "plain", TRAINED, sync=False)
    with pytest.raises(TensorError, match="not encoded as agreed: missing: w#index, w#value; unexpected: w"):
        DecodedFile(tmp_path / "plain", sent)
    write_encoded(tmp_path / "update", TRAINED, sent, {})
    (tmp_path / "cut").write_bytes((tmp_path / "update").read_bytes()[:-1])
    with pytest.raises(TensorError):
        DecodedFile(tmp_path / "cut", sent)


@pytest.mark.parametrize("dtype", ["F16", "BF16", "F32", "F64"])
def test_finite_parts_cannot_add_up_to_a_number_that_the_model_cannot_hold(tmp_path: Path, dtype: str) -> None:
    large = np.full(10, np.finfo(np.float32).max if dtype == "F32" else 1, DTYPES[dtype])
    largest = {"F16": 65504.0, "BF16": 3.38e38, "F32": 3.4e38, "F64": 1.7e308}[dtype]
    large[:] = largest
    write_tensors(tmp_path / "base", {"w": large}, sync=False)
    write_tensors(tmp_path / "update", {"w#value": large}, sync=False)
    with np.errstate(all="raise"):
        reader = DecodedFile(tmp_path / "update", how(tmp_path / "base", Uncompressed()))
        assert np.isinf(reader.flat("w")[2:5]).all()
        assert np.isinf(reader.tensor("w").astype(np.float64)).all()


def test_compressed_elements_are_read_in_steps_of_one(base: Path, tmp_path: Path) -> None:
    sent = how(base, RandomK(fraction=0.5))
    write_encoded(tmp_path / "update", TRAINED, sent, {})
    reader = DecodedFile(tmp_path / "update", sent)
    flat = reader.flat("w")
    assert (flat.size, flat[1990:9999].size, flat[5:3].size, flat[-5:].size) == (2000, 10, 0, 5)
    with pytest.raises(TensorError, match="steps of 1"):
        flat[::2]
    assert reader.tensor("n").tolist() == [3]
    with pytest.raises(TensorError, match="no tensor 'x'"):
        reader.flat("x")
    reader.close()


def test_values_in_any_memory_order_are_the_same_update(tmp_path: Path) -> None:
    square = np.random.default_rng(0).normal(size=(40, 30)).astype(np.float32)
    write_tensors(tmp_path / "base", {"w": np.zeros((40, 30), np.float32)}, sync=False)
    for name, order in (("c", "C"), ("f", "F")):
        trained = {"w": np.asarray(square, order=order)}  # type: ignore[call-overload] # a name in a loop is no literal
        write_encoded(tmp_path / name, trained, how(tmp_path / "base", Quantise()), {})
    assert (tmp_path / "c").read_bytes() == (tmp_path / "f").read_bytes()


def test_the_same_update_asked_for_twice_begins_with_the_same_residual() -> None:
    feedback = ErrorFeedback()
    first, second = {"w": np.ones(1)}, {"w": np.full(1, 2.0)}
    assert feedback.carried(10) == {}
    feedback.keep(first)
    assert feedback.carried(10) == {}
    feedback.keep(first)
    assert feedback.carried(11) is first
    assert feedback.carried(11) is first
    feedback.keep(second)
    assert feedback.carried(12) is second


@pytest.mark.parametrize(
    "compression", [Quantise(), Quantise(bits=4), RandomK(fraction=0.1), TopK(fraction=0.1)], ids=str
)
def test_tied_weights_stay_tied(tmp_path: Path, compression: Compression) -> None:
    """Two names of one tensor, beside one that is like them but for its last element."""
    random = np.random.default_rng(8)
    tied = random.normal(size=(100, 60)).astype(np.float32)
    other = tied.copy()
    other[-1, -1] += 1
    write_tensors(tmp_path / "base", {"inner": tied, "again": tied, "other": other}, sync=False)
    moved = tied + random.normal(size=tied.shape).astype(np.float32)
    sent = how(tmp_path / "base", compression)
    carried: dict[str, Array] = {}
    for _ in range(2):  # what is left out goes on alike, too
        trained = {"inner": moved, "again": moved, "other": moved}
        carried = write_encoded(tmp_path / "update", trained, sent, carried)
        update = DecodedFile(tmp_path / "update", sent)
        inner, again = update.tensor("inner"), update.tensor("again")
        update.close()
        assert inner.tobytes() == again.tobytes()
        assert not np.array_equal(inner, tied)
