"""Models that lie in rows of one piece of memory have the bytes and the identity that each has alone."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from openfl_like.aggregation.engine import Output, Recipe, UpdateFile, aggregate_files
from openfl_like.aggregation.rules import WeightedAverage
from openfl_like.aggregation.validators import Finite
from openfl_like.errors import TensorError
from openfl_like.federation.task import Phase, Update
from openfl_like.tensors.manifest import content_digest, manifest_of
from openfl_like.tensors.memory import TensorMemory
from openfl_like.tensors.memory_rows import put_together, stacked_of, tensor_rows


def stacked(width: int) -> dict[str, np.ndarray]:
    drawn = np.random.default_rng(width)
    return {
        "weight": drawn.standard_normal((3, width, 4), dtype=np.float32),
        "a/bias": np.broadcast_to(np.arange(4.0), (3, 4)),
        "count": np.arange(3),
        "empty": np.zeros((3, 0, 2), np.float16),
    }


@pytest.mark.parametrize("width", [1, 7, 30_000])
def test_each_row_is_the_model_that_it_would_be_alone(width: int, tmp_path: Path) -> None:
    tensors = stacked(width)
    for number, row in enumerate(tensor_rows(tensors)):
        alone = TensorMemory.of({name: array[number] for name, array in tensors.items()})
        assert (row.digest, row.manifest, row.schema) == (alone.manifest.digest, alone.manifest, alone.schema)
        assert row.names == alone.names
        for name in row.names:
            np.testing.assert_array_equal(row.flat(name), alone.flat(name))
            assert not row.tensor(name).flags.writeable
        row.write(tmp_path / "row")
        assert manifest_of(tmp_path / "row").digest == row.digest


@pytest.mark.parametrize("size", [0, 1, 256 << 10, (256 << 10) + 1, 600_000])
def test_an_identity_without_its_manifest_is_that_of_the_file(size: int, tmp_path: Path) -> None:
    content = np.random.default_rng(size).bytes(size)
    (tmp_path / "file").write_bytes(content)
    assert content_digest(content) == manifest_of(tmp_path / "file").digest


def test_what_no_file_can_hold_is_refused() -> None:
    with pytest.raises(TensorError, match="dtype"):
        tensor_rows({"odd": np.zeros((2, 3), np.complex64)})


def test_what_is_not_finite_is_found_in_all_rows_at_once(tmp_path: Path) -> None:
    tensors: dict[str, np.ndarray] = {
        "b": np.zeros((4, 2, 2), np.float32),
        "a": np.zeros((4, 3), np.float16),
        "n": np.zeros((4, 1), np.int8),
    }
    tensors["b"][1, 0, 1] = np.nan
    tensors["a"][2, 1] = -np.inf
    tensors["b"][2] = np.inf
    assert [row.not_finite for row in tensor_rows(tensors)] == ["", "b", "a", ""]
    for number, row in enumerate(tensor_rows(tensors)):
        alone = TensorMemory.of({name: array[number] for name, array in tensors.items()})
        facts = Update(1, Phase.TRAIN, "bern", row.digest, 1)
        assert Finite().check(row, None, facts) == Finite().check(alone, None, facts)


@pytest.mark.parametrize("count", [1, 2, 3, 40])
def test_many_rows_make_the_model_that_as_many_files_make(count: int, tmp_path: Path) -> None:
    drawn = np.random.default_rng(count)
    tensors: dict[str, np.ndarray] = {
        "f32": drawn.standard_normal((count, 33, 7), dtype=np.float32) * 1e3,
        "f16": drawn.standard_normal((count, 65)).astype(np.float16),
        "f64": drawn.standard_normal((count, 3, 5)),
        "one": drawn.standard_normal((count, 1), dtype=np.float32),
        "seven": drawn.standard_normal((count, 7), dtype=np.float32),
        "eight": drawn.standard_normal((count, 8), dtype=np.float32),
        "int": drawn.integers(-9, 9, (count, 12)),
        "bool": drawn.integers(0, 2, (count, 12)).astype(bool),
    }
    rows = tensor_rows(tensors)
    alone = [TensorMemory.of({name: array[number] for name, array in tensors.items()}) for number in range(count)]
    weights = drawn.integers(1, 50, count).tolist()

    def digest(contents: Sequence[TensorMemory]) -> str:
        order = drawn.permutation(count).tolist()
        given = [UpdateFile(f"site-{number:02}", contents[number], float(weights[number])) for number in order]
        return aggregate_files(Recipe(WeightedAverage()), given, Output(tmp_path / "model")).model.digest

    assert digest(rows) == digest(alone)
    assert digest([*rows[:-1], alone[-1]]) == digest(alone)
    assert digest(put_together(alone)) == digest(alone)


def test_models_are_put_together_if_their_layouts_are_the_same() -> None:
    tensors = stacked(7)
    alone = [TensorMemory.of({name: array[number] for name, array in tensors.items()}) for number in range(3)]
    rows = put_together(alone)
    assert [row.to_bytes() for row in rows] == [model.to_bytes() for model in alone]
    assert stacked_of(rows) is not None
    assert put_together(rows) is rows
    two = put_together(tensor_rows(tensors)[:1] + tensor_rows(tensors)[1:])
    assert stacked_of(two) is not None
    others = [*alone, TensorMemory.of({"weight": np.zeros(9, np.float32)})]
    assert put_together(others) is others
    assert put_together(alone[:1]) == alone[:1]


def test_chosen_rows_are_those_in_their_order() -> None:
    rows = tensor_rows({"weight": np.arange(12, dtype=np.float32).reshape(4, 3)})
    for numbers in ([0, 1, 2, 3], [1, 2], [2], [3, 0], [0, 2, 3]):
        found = stacked_of([rows[number] for number in numbers])
        assert found is not None
        assert found.elements("weight", 1, 3).tolist() == [[3.0 * each + 1, 3.0 * each + 2] for each in numbers]
