"""What a requirements.txt may say, before pip sees it."""

from pathlib import Path

import pytest

from openfl_like.authoring.requirements import lock_requirements
from openfl_like.errors import RequirementsError


@pytest.mark.parametrize(
    "line",
    [
        "./package",
        "../package",
        "/srv/package",
        "-e package",
        "--index-url elsewhere",
        "-r others.txt",
        "thing @ file:///srv/thing.whl",
        "git+https://example.org/thing",
        ".\\package",
    ],
)
def test_what_is_no_package_of_an_index_is_refused_with_its_line(tmp_path: Path, line: str) -> None:
    (tmp_path / "requirements.txt").write_text(f"# what we need\nnumpy>=1.26  # arrays\n\n{line}\n")
    with pytest.raises(RequirementsError, match="is not a package that an index offers") as caught:
        lock_requirements(tmp_path)
    assert caught.value.place == f"{tmp_path / 'requirements.txt'}:4"
    assert not (tmp_path / "requirements.lock").exists()


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(RequirementsError, match="there is no such file"):
        lock_requirements(tmp_path)
