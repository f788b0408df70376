import json
import os
from collections.abc import Mapping
from pathlib import Path

import hypothesis.extra.numpy as npst
import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from openfl_like.errors import TensorError
from openfl_like.tensors.container import TensorFile, TensorWriter, read_tensors, write_tensors
from openfl_like.tensors.layout import MAX_HEADER_BYTES, MAX_TENSORS
from openfl_like.tensors.named import DTYPES, Array, schema_of

REUSE_TMP = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None, derandomize=True
)
NAMES = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=20).filter(
    lambda name: name != "__metadata__"
)


def arrays_of(name: str) -> st.SearchStrategy[Array]:
    dtype = DTYPES[name]
    shapes = npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
    if name == "BOOL":
        return npst.arrays(dtype, shapes)
    # Arbitrary bits: NaN payloads and signed zeros must survive as well.
    raw = np.dtype(f"u{dtype.itemsize}")
    return npst.arrays(raw, shapes).map(lambda array: array.view(dtype))


TENSORS = st.dictionaries(NAMES, st.sampled_from(sorted(DTYPES)).flatmap(arrays_of), max_size=6)


def same(left: Mapping[str, Array], right: Mapping[str, Array]) -> bool:
    return left.keys() == right.keys() and all(
        left[name].dtype == right[name].dtype
        and left[name].shape == right[name].shape
        and left[name].tobytes() == right[name].tobytes()
        for name in left
    )


def model() -> dict[str, Array]:
    return {
        "w": np.arange(6, dtype=np.float32).reshape(2, 3),
        "n": np.array(2**62 + 1),
        "h": np.ones(3, ml_dtypes.bfloat16),
        "mask": np.array([True, False, True]),
        "none": np.zeros((0, 4), np.float16),
    }


@REUSE_TMP
@given(TENSORS)
def test_what_is_written_is_read(tmp_path: Path, tensors: dict[str, Array]) -> None:
    path = tmp_path / "model.safetensors"
    write_tensors(path, tensors, sync=False)
    assert same(read_tensors(path), tensors)
    with TensorFile(path) as file:
        assert file.schema == schema_of(tensors)
        assert all(file.tensor(name).flags.aligned for name in file.names)


@REUSE_TMP
@given(TENSORS)
def test_the_safetensors_package_reads_it(tmp_path: Path, tensors: dict[str, Array]) -> None:
    path = tmp_path / "model.safetensors"
    write_tensors(path, tensors, sync=False)
    assert same(load_file(path), tensors)


@REUSE_TMP
@given(TENSORS.map(lambda tensors: {name: array for name, array in tensors.items() if array.dtype != DTYPES["BF16"]}))
def test_files_of_the_safetensors_package_are_read(tmp_path: Path, tensors: dict[str, Array]) -> None:
    path = tmp_path / "model.safetensors"
    save_file(tensors, path, metadata={"format": "pt"})
    assert same(read_tensors(path), tensors)


def test_bytes_do_not_depend_on_order_or_memory_layout(tmp_path: Path) -> None:
    tensors = model()
    write_tensors(tmp_path / "one", tensors)
    shuffled = {name: tensors[name].T.copy().T for name in reversed(tensors)}
    write_tensors(tmp_path / "two", shuffled, sync=False)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_views_are_read_only_and_outlive_the_file(tmp_path: Path) -> None:
    write_tensors(tmp_path / "m", model())
    with TensorFile(tmp_path / "m") as file:
        view, flat = file.tensor("w"), file.flat("w")
        with pytest.raises(ValueError, match="read-only"):
            view[0, 0] = 1
    assert view.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert flat.shape == (6,)
    with pytest.raises(TensorError, match="no tensor 'w'"):
        file.tensor("w")


def test_blocks_in_any_order_make_the_same_file(tmp_path: Path) -> None:
    tensors = model()
    write_tensors(tmp_path / "whole", tensors)
    with TensorWriter(tmp_path / "blocks", schema_of(tensors)) as writer:
        for name, array in tensors.items():
            flat = array.reshape(-1)
            for start in reversed(range(flat.size)):
                writer.write(name, start, flat[start : start + 1])
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "blocks").read_bytes()


def test_an_aborted_file_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "m"
    write_tensors(path, model())
    before = path.read_bytes()
    with pytest.raises(KeyError), TensorWriter(path, schema_of(model())):
        raise KeyError
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["m"]


def test_an_incomplete_file_is_not_published(tmp_path: Path) -> None:
    writer = TensorWriter(tmp_path / "m", schema_of(model()))
    writer.write("w", 0, model()["w"])
    with pytest.raises(TensorError, match="'h' was not written completely"):
        writer.close()
    assert list(tmp_path.iterdir()) == []


def test_blocks_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    writer = TensorWriter(tmp_path / "m", schema_of({"w": np.zeros(6, np.float32)}))
    misfits: list[tuple[str, int, Array]] = [
        ("x", 0, np.zeros(1, np.float32)),
        ("w", 0, np.zeros(6)),
        ("w", 1, np.zeros(6, np.float32)),
        ("w", -1, np.zeros(1, np.float32)),
    ]
    for name, start, block in misfits:
        with pytest.raises(TensorError):
            writer.write(name, start, block)
    writer.write("w", 0, np.zeros(6, np.float32))
    with pytest.raises(TensorError, match="do not fit"):
        writer.write("w", 0, np.zeros(1, np.float32))
    writer.close()
    with pytest.raises(TensorError, match="closed"):
        writer.write("w", 0, np.zeros(1, np.float32))


@pytest.mark.parametrize("name", ["", "__metadata__", "a\nb", "x" * 513, "\ud800"])
def test_names_that_cannot_be_stored(tmp_path: Path, name: str) -> None:
    with pytest.raises(TensorError):
        write_tensors(tmp_path / "m", {name: np.zeros(1)})
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_and_a_directory_are_errors_of_ours(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(TensorError) as caught:
            TensorFile(path)
        assert caught.value.place == str(path)


def entry(**change: object) -> dict[str, object]:
    return {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **change}


def raw(header: bytes, data: bytes = bytes(8)) -> bytes:
    return len(header).to_bytes(8, "little") + header + data


def with_header(header: object, data: bytes = bytes(8)) -> bytes:
    return raw(json.dumps(header).encode(), data)


MALFORMED: dict[str, bytes] = {
    "empty": b"",
    "short": b"1234567",
    "header longer than the file": (100).to_bytes(8, "little") + b"{}",
    "header longer than allowed": (MAX_HEADER_BYTES + 1).to_bytes(8, "little") + bytes(100),
    "huge header": b"\xff" * 8 + b"{}",
    "no header": bytes(8) + bytes(8),
    "not JSON": raw(b"{not json}"),
    "not UTF-8": raw(b'{"\xff": 1}'),
    "leading space": raw(b" {}", b""),
    "a list": raw(b"[]", b""),
    "two values": raw(b"{}{}", b""),
    "nested deeply": raw(b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}"),
    "too many brackets": raw(b'{"a":[' + b"[]," * (5 * MAX_TENSORS) + b"[]]}"),
    "long number": raw(b'{"a":{"dtype":"F32","shape":[' + b"9" * 6000 + b'],"data_offsets":[0,8]}}'),
    "NaN": raw(b'{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,8]}}'),
    "same tensor twice": raw(json.dumps({"a": entry()}).encode()[:-1] + b"," + json.dumps({"a": entry()}).encode()[1:]),
    "trailing bytes": with_header({"a": entry()}, bytes(9)),
    "missing bytes": with_header({"a": entry()}, bytes(7)),
    "bytes without tensors": with_header({}),
    "hole": with_header({"a": entry(), "b": entry(data_offsets=[12, 20])}, bytes(20)),
    "first byte unused": with_header({"a": entry(data_offsets=[1, 9])}, bytes(9)),
    "aliased": with_header({"a": entry(), "b": entry()}),
    "overlapping": with_header({"a": entry(), "b": entry(data_offsets=[4, 12])}, bytes(12)),
    "reversed": with_header({"a": entry(data_offsets=[8, 0])}),
    "size of another shape": with_header({"a": entry(shape=[3])}),
    "claims much": with_header({"a": entry(shape=[2**40], data_offsets=[0, 2**42])}),
    "overflow": with_header({"a": entry(shape=[2**32, 2**32], data_offsets=[0, 0])}, b""),
    "overflow beside zero": with_header({"a": entry(shape=[2**40, 2**40, 0], data_offsets=[0, 0])}, b""),
    "negative axis": with_header({"a": entry(shape=[-2])}),
    "negative axes": with_header({"a": entry(shape=[-1, -2])}),
    "boolean axis": with_header({"a": entry(shape=[True, 2])}),
    "float axis": with_header({"a": entry(shape=[2.0])}),
    "text axis": with_header({"a": entry(shape=["2"])}),
    "shape no list": with_header({"a": entry(shape=2)}),
    "too many axes": with_header({"a": entry(shape=[1] * 33 + [2])}),
    "three offsets": with_header({"a": entry(data_offsets=[0, 8, 8])}),
    "text offsets": with_header({"a": entry(data_offsets="08")}),
    "unknown dtype": with_header({"a": entry(dtype="F8_E4M3", data_offsets=[0, 2])}, bytes(2)),
    "object dtype": with_header({"a": entry(dtype="O")}),
    "dtype no string": with_header({"a": entry(dtype=1)}),
    "dtype a list": with_header({"a": entry(dtype=["F32"])}),
    "extra key": with_header({"a": {**entry(), "code": "x"}}),
    "missing key": with_header({"a": {"dtype": "F32", "shape": [2]}}),
    "entry no object": with_header({"a": [0, 8]}),
    "empty name": with_header({"": entry()}),
    "long name": with_header({"x" * 600: entry()}),
    "control character": with_header({"a\x00b": entry()}),
    "surrogate": raw(b'{"\\ud800": {"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'),
    "metadata of numbers": with_header({"__metadata__": {"a": 1}, "a": entry()}),
    "metadata no object": with_header({"__metadata__": "x", "a": entry()}),
    "too many tensors": with_header(
        {f"{index:x}": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for index in range(MAX_TENSORS + 1)}, b""
    ),
    "pickle": b"\x80\x04\x95\x1f\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x02id\x94",
    "zip": b"PK\x03\x04" + bytes(60),
    "numpy": b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
    "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(60),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_files_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(MALFORMED[name])
    with pytest.raises(TensorError) as caught:
        TensorFile(path)
    assert caught.value.place == str(path)
    assert len(str(caught.value)) < 1000


@REUSE_TMP
@given(st.binary(max_size=200), st.integers(0, 200))
def test_damage_is_an_error_of_ours_or_harmless(tmp_path: Path, junk: bytes, where: int) -> None:
    path = tmp_path / "m"
    write_tensors(path, model(), sync=False)
    good = path.read_bytes()
    path.write_bytes(good[:where] + junk + good[where + len(junk) :])
    try:
        read_tensors(path)
    except TensorError:
        return
    assert os.path.getsize(path) >= len(good)  # noqa: PTH202 - a stat that follows nothing else


def test_a_claimed_size_is_not_allocated(tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_bytes(with_header({"a": entry(shape=[2**44], dtype="U8", data_offsets=[0, 2**44])}))
    with pytest.raises(TensorError, match="the file holds 8"):
        TensorFile(path)


def test_unaligned_tensors_of_others_can_be_used(tmp_path: Path) -> None:
    header = {"a": entry(dtype="U8", shape=[1], data_offsets=[0, 1]), "b": entry(data_offsets=[1, 9])}
    (tmp_path / "m").write_bytes(with_header(header, b"\x07" + np.array([1, 2], np.float32).tobytes()))
    assert read_tensors(tmp_path / "m")["b"].tolist() == [1.0, 2.0]


def resident_mb() -> float:
    rows = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    return int(rows["RssFile"].split()[0]) / 1024


def test_released_parts_take_no_memory_and_can_be_read_again(tmp_path: Path) -> None:
    tensors = {"a": np.arange(6_000_000.0), "b": np.arange(5, dtype=np.int8), "none": np.zeros((0, 2))}
    write_tensors(tmp_path / "m", tensors, sync=False)
    with TensorFile(tmp_path / "m") as file:
        before = resident_mb()
        total = float(file.flat("a").sum())
        assert resident_mb() - before > 30
        file.release([("b", 0, 5), ("a", 0, 3_000_000), ("none", 0, 0), ("a", 3_000_000, 6_000_000)])
        assert resident_mb() - before < 8
        assert float(file.flat("a").sum()) == total
        file.release([("b", 1, 1)])
        assert file.flat("b").tolist() == [0, 1, 2, 3, 4]
    file.release([("a", 0, 1)])  # closed: there is nothing to let go


def test_a_spare_is_overwritten_and_nothing_is_left_beside_the_file(tmp_path: Path) -> None:
    recyclable = tmp_path / "spare"
    recyclable.write_bytes(b"x" * 10_000)
    inode = recyclable.stat().st_ino
    tensors = {"a": np.arange(5.0)}
    manifest = write_tensors(tmp_path / "m", tensors, sync=False, recyclable=recyclable)
    assert (tmp_path / "m").stat().st_ino == inode
    assert manifest == write_tensors(tmp_path / "n", tensors, sync=False, recyclable=recyclable), (
        "the spare is gone by now"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m", "n"]
    assert (tmp_path / "m").read_bytes() == (tmp_path / "n").read_bytes()


def test_a_write_that_fails_leaves_neither_file_nor_spare(tmp_path: Path) -> None:
    recyclable = tmp_path / "spare"
    recyclable.write_bytes(b"x" * 100)
    with (
        pytest.raises(TensorError, match="not written completely"),
        TensorWriter(tmp_path / "m", schema_of({"a": np.arange(5.0)}), recyclable=recyclable),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_header_that_was_accepted_for_one_file_is_still_checked_against_another(tmp_path: Path) -> None:
    header = with_header({"a": entry()}, bytes(8))
    (tmp_path / "good").write_bytes(header)
    (tmp_path / "long").write_bytes(header + bytes(8))
    assert read_tensors(tmp_path / "good")["a"].tolist() == [0.0, 0.0]
    with pytest.raises(TensorError, match="the tensors have 8 bytes, but the file holds 16"):
        TensorFile(tmp_path / "long")
