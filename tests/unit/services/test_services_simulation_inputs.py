from pathlib import Path

import numpy as np
import pytest

from openfl_like.data.shard import ArrayShard, Dataset
from openfl_like.errors import ConflictError, DamagedError
from openfl_like.services.simulation_inputs import NAME, SimulationInputs, check_inputs


def shard(value: float = 0.0) -> ArrayShard:
    data = Dataset(np.zeros((4, 2), np.float32), np.array([0.0, 1.0, 2.0, value]))
    return ArrayShard({"train": data, "validate": data}, "numbers", (0.0, 1.0))


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "code" / "src").mkdir(parents=True)
    (tmp_path / "code" / "src" / "net.py").write_text("RATE = 1\n")
    (tmp_path / "code" / "words.txt").write_text("one\n")
    return tmp_path / "code"


@pytest.fixture
def record(workspace: Path) -> Path:
    """Within the workspace, as that of somebody who works in it."""
    (workspace / "record").mkdir()
    return workspace / "record"


def look(workspace: Path, record: Path, *, begun: bool = False, **values: float) -> None:
    shards = {site: shard(value) for site, value in (values or {"north": 0.0, "south": 0.0}).items()}
    check_inputs(record, SimulationInputs.of(workspace, shards, record), begun=begun)


def test_the_same_inputs_are_taken_again(workspace: Path, record: Path) -> None:
    look(workspace, record)
    (record / "plan.py").write_text("of the record\n")
    (workspace / "model.safetensors").write_bytes(b"a result")
    (workspace / "src" / "__pycache__").mkdir()
    (workspace / "src" / "__pycache__" / "net.pyc").write_bytes(b"compiled")
    look(workspace, record)


@pytest.mark.parametrize(
    ("path", "text"), [("src/net.py", "RATE = 2\n"), ("words.txt", "two\n"), ("src/new.py", ""), ("words.txt", None)]
)
def test_a_changed_file_is_named(workspace: Path, record: Path, path: str, text: str | None) -> None:
    look(workspace, record)
    if text is None:
        (workspace / path).unlink()
    else:
        (workspace / path).write_text(text)
    with pytest.raises(ConflictError, match=f"'{path}' of the workspace changed"):
        look(workspace, record)


def test_changed_data_is_named_by_its_site(workspace: Path, record: Path) -> None:
    look(workspace, record)
    with pytest.raises(ConflictError, match="the data of site 'south' changed"):
        look(workspace, record, north=0.0, south=1.0)
    look(workspace, record)


def test_what_is_remembered_is_read_with_care(workspace: Path, record: Path) -> None:
    (record / NAME).write_text("[]")
    with pytest.raises(DamagedError):
        look(workspace, record)


def test_links_never_travel_and_are_no_part_of_it(workspace: Path, record: Path) -> None:
    look(workspace, record)
    (workspace / "link.py").symlink_to(record)
    look(workspace, record)


def test_a_record_that_does_not_remember_says_once_that_nothing_can_be_compared(
    workspace: Path, record: Path, caplog: pytest.LogCaptureFixture
) -> None:
    look(workspace, record, begun=True)
    (warning,) = caplog.messages
    assert "cannot be compared this time" in warning
    assert str(record) in warning
    look(workspace, record, begun=True)
    assert len(caplog.messages) == 1
    (workspace / "src" / "net.py").write_text("RATE = 2\n")
    with pytest.raises(ConflictError):
        look(workspace, record, begun=True)


def test_a_new_record_says_nothing(workspace: Path, record: Path, caplog: pytest.LogCaptureFixture) -> None:
    look(workspace, record)
    assert caplog.messages == []
