"""Files that a power cut has taken are written again from the record, and nothing else is touched."""

from collections.abc import Callable
from pathlib import Path

import pytest

from openfl_like.store.contents import put_back
from openfl_like.store.files import ExperimentFiles
from openfl_like.store.ports import FileContent
from openfl_like.tensors.manifest import content_digest

MODEL, STATE = b"model" * 100, b"state" * 200


@pytest.fixture
def files(tmp_path: Path) -> ExperimentFiles:
    found = ExperimentFiles(tmp_path)
    found.prepare()
    found.model(3).write_bytes(MODEL)
    found.server_state(3).write_bytes(STATE)
    return found


def contents() -> list[FileContent]:
    return [
        FileContent(3, content_digest(MODEL), MODEL),
        FileContent(3, content_digest(STATE), STATE, is_state=True),
    ]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:7])


def zeros(path: Path) -> None:
    path.write_bytes(bytes(len(path.read_bytes())))


@pytest.mark.parametrize("damage", [cut, zeros, Path.unlink])
def test_what_is_not_what_was_published_is_written_again(
    files: ExperimentFiles, damage: Callable[[Path], object]
) -> None:
    damage(files.model(3))
    damage(files.server_state(3))
    assert put_back(contents(), files) == [files.model(3), files.server_state(3)]
    assert files.model(3).read_bytes() == MODEL
    assert files.server_state(3).read_bytes() == STATE
    assert {path.name for path in (files.directory / "models").iterdir()} == {
        "v0003.safetensors",
        "v0003.state.safetensors",
    }


def test_what_is_whole_is_not_touched(files: ExperimentFiles) -> None:
    before = files.model(3).stat().st_ino
    assert put_back(contents(), files) == []
    assert files.model(3).stat().st_ino == before


def test_another_name_of_the_same_file_stays_as_it_is(files: ExperimentFiles) -> None:
    files.model(4).hardlink_to(files.model(3))
    cut(files.model(3))
    assert put_back(contents()[:1], files) == [files.model(3)]
    assert files.model(4).read_bytes() == MODEL[:7]


def test_content_that_is_damaged_itself_puts_nothing_back(files: ExperimentFiles) -> None:
    cut(files.model(3))
    assert put_back([FileContent(3, content_digest(MODEL), MODEL[:-1] + b"x")], files) == []
    assert files.model(3).read_bytes() == MODEL[:7]
