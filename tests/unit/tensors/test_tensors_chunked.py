"""Files that are written stretch by stretch are those that a `TensorWriter` writes, with their manifest."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openfl_like.errors import TensorError
from openfl_like.tensors.chunked import ChunkedWriter
from openfl_like.tensors.container import write_tensors
from openfl_like.tensors.manifest import manifest_of
from openfl_like.tensors.named import DTYPES, Array, schema_of

NAMES = st.sampled_from(sorted(DTYPES))
MODELS = st.lists(st.tuples(NAMES, st.integers(0, 300)), max_size=8)


def fill(writer: ChunkedWriter, tensors: dict[str, Array], index: int) -> None:
    span = np.full(writer.span_bytes, 255, np.uint8)
    for piece in writer.pieces(index):
        piece.view(span)[:] = tensors[piece.spec.name].reshape(-1)[piece.start : piece.stop]
    writer.put(index, span)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None, derandomize=True)
@given(MODELS, st.integers(1, 40), st.sampled_from([1, 512]), st.randoms(use_true_random=False))
def test_any_model_in_any_order(
    tmp_path: Path, model: list[tuple[str, int]], width: int, span: int, order: object
) -> None:
    random = np.random.default_rng(len(model))
    tensors: dict[str, Array] = {
        f"{place}-{name}": random.integers(0, 2, size).astype(DTYPES[name]) for place, (name, size) in enumerate(model)
    }
    write_tensors(tmp_path / "whole", tensors, sync=False)
    with ChunkedWriter(
        tmp_path / "parts", schema_of(tensors), chunk_bytes=8 * width, span_bytes=span, sync=False
    ) as writer:
        indices = list(range(writer.count))
        order.shuffle(indices)  # type: ignore[attr-defined]  # a random.Random
        for index in indices:
            fill(writer, tensors, index)
    assert (tmp_path / "parts").read_bytes() == (tmp_path / "whole").read_bytes()
    assert writer.manifest() == manifest_of(tmp_path / "whole", 8 * width)


def test_the_chunks_are_those_of_every_other_file(tmp_path: Path) -> None:
    tensors: dict[str, Array] = {"w": np.arange(300_000, dtype=np.float32), "n": np.arange(3)}
    with ChunkedWriter(tmp_path / "m", schema_of(tensors), sync=False) as writer:
        for index in range(writer.count):
            fill(writer, tensors, index)
    assert writer.count == 2
    assert writer.manifest() == manifest_of(tmp_path / "m")


def test_a_stretch_that_was_not_written_is_noticed(tmp_path: Path) -> None:
    tensors = {"w": np.zeros(64)}
    with (
        pytest.raises(TensorError, match="not written completely"),
        ChunkedWriter(tmp_path / "m", schema_of(tensors), chunk_bytes=512),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_chunks_that_would_cut_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TensorError, match="a chunk of 12 bytes"):
        ChunkedWriter(tmp_path / "m", schema_of({"w": np.zeros(64)}), chunk_bytes=12)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_the_older_file(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"older")
    with pytest.raises(KeyError), ChunkedWriter(tmp_path / "m", schema_of({"w": np.zeros(64)})):
        raise KeyError
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"older"]
