"""What is printed to be typed next starts the program that has printed it."""

import sys
from pathlib import Path

import pytest

from openfl_like.cli.output.program import program


@pytest.fixture
def fx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in an environment that is not active, below the present folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")
    path = tmp_path / ".venv" / "bin" / "fx"
    path.parent.mkdir(parents=True)
    path.touch(mode=0o755)
    return path


def test_a_program_that_no_shell_finds_by_its_name_is_named_by_its_path(
    fx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert program(fx) == program(Path(".venv/bin/fx")) == ".venv/bin/fx"
    monkeypatch.chdir(fx.parent)
    assert program(fx) == "./fx"
    elsewhere = tmp_path / "my study"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert program(fx) == str(fx)


def test_a_program_that_a_shell_finds_is_called_by_its_name(
    fx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(fx.parent))
    assert program(fx) == "fx"
    other = tmp_path / "my other" / "fx"
    other.parent.mkdir()
    other.touch(mode=0o755)
    assert program(other) == "'my other/fx'"  # another one has the name


def test_what_was_started_as_a_module_is_started_as_one(fx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(fx.with_name("python")))
    assert program(Path("openfl_like/__main__.py")) == ".venv/bin/python -m openfl_like"
