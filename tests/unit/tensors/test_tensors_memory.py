"""Models in memory: what their files would be."""

from pathlib import Path

import numpy as np
import pytest

from openfl_like.errors import TensorError
from openfl_like.tensors.container import TensorFile, write_tensors
from openfl_like.tensors.memory import TensorMemory
from openfl_like.tensors.named import DTYPES, Array


@pytest.fixture
def tensors() -> dict[str, Array]:
    made: dict[str, Array] = {name: np.arange(6).reshape(2, 3).astype(dtype) for name, dtype in DTYPES.items()}
    return {**made, "one number": np.array(2.5, np.float32), "none": np.zeros((0, 4)), "across": np.eye(3)[:, 1:].T}


def test_it_is_byte_for_byte_the_file_and_has_its_digest(tensors: dict[str, Array], tmp_path: Path) -> None:
    manifest = write_tensors(tmp_path / "file", tensors)
    memory = TensorMemory.of(tensors)
    memory.write(tmp_path / "written")
    assert memory.manifest == manifest
    assert memory.manifest.digest == manifest.digest
    assert (tmp_path / "written").read_bytes() == (tmp_path / "file").read_bytes()


def test_it_reads_like_the_file(tensors: dict[str, Array], tmp_path: Path) -> None:
    write_tensors(tmp_path / "file", tensors)
    memory = TensorMemory.of(tensors)
    with TensorFile(tmp_path / "file") as file:
        assert (memory.names, memory.schema) == (file.names, file.schema)
        for name in file.names:
            assert memory.tensor(name).tobytes() == file.tensor(name).tobytes()
            assert memory.flat(name).tobytes() == file.flat(name).tobytes()


def test_what_it_was_made_of_may_change_and_it_may_not(tensors: dict[str, Array]) -> None:
    memory = TensorMemory.of(tensors)
    tensors["F32"][:] = 0
    assert memory.tensor("F32").tolist() == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(ValueError, match="read-only"):
        memory.tensor("F32")[:] = 0


def test_there_is_no_other_tensor(tensors: dict[str, Array]) -> None:
    with pytest.raises(TensorError, match="no tensor 'F33'"):
        TensorMemory.of(tensors).tensor("F33")
