from pathlib import Path

import pytest

from tools.interpreters import candidates, find


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """A version manager's folder of shims, one that is not there, and two with interpreters."""
    for name in ("shims", "first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "python3.12").touch(0o755)
    (tmp_path / "shims" / "python3.13").touch(0o644)
    return [tmp_path / name for name in ("shims", "absent", "first", "second")]


def test_what_cannot_be_executed_is_no_candidate(folders: list[Path]) -> None:
    assert [path.parent.name for path in candidates("3.12", folders)] == ["shims", "first", "second"]
    assert list(candidates("3.13", folders)) == []


def test_the_first_that_runs_is_taken_whatever_its_name(folders: list[Path]) -> None:
    answers = {"shims": "", "first": "3.11", "second": "3.12"}
    found = find("3.12", folders, lambda path: answers[path.parent.name])
    assert found is not None
    assert found.parent.name == "second"
    assert find("3.12", folders, lambda _: "") is None
