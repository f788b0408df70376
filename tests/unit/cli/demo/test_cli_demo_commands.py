from pathlib import Path

import pytest
from click.testing import CliRunner

from openfl_like.cli.demo.commands import demo
from openfl_like.errors import UsageError


def test_a_plan_that_makes_its_sites_is_no_demo(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["--plan", "digits_dirichlet", "--directory", str(tmp_path / "demo")]
    error = CliRunner().invoke(demo, words, standalone_mode=False).exception
    assert isinstance(error, UsageError)
    assert "a demo has real ones" in error.message
    assert "fx simulate digits_dirichlet" in error.cure
    assert "starting a director" not in capfd.readouterr().err
