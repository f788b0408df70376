"""What the text of code shows before it is run."""

from pathlib import Path

import pytest

from openfl_like.authoring.dry_run.code import look_at_code
from openfl_like.authoring.dry_run.findings import DryRunFinding, FindingKind
from openfl_like.plan.bundles.packing import AtHome, Packing


def seen(folder: Path, text: str, **files: str) -> list[DryRunFinding]:
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "model.py").write_text(text)
    for name, content in files.items():
        (folder / name.replace("_lock", ".lock")).write_text(content)
    return list(look_at_code(folder, Packing(())))


def test_modules_of_the_platform_the_workspace_and_the_library_are_fine(tmp_path: Path) -> None:
    own = "from . import scale\nimport src.scale\n"
    text = f"import json\nimport numpy\n{own}from openfl_like.frameworks import runner\n"
    assert seen(tmp_path, text) == []


def test_a_module_that_is_not_here_is_named_with_its_line(tmp_path: Path) -> None:
    (found,) = seen(tmp_path, "import json\n\nimport no_such_package.inner\n")
    assert (found.kind, found.name, found.file, found.line) == (
        FindingKind.MODULE_MISSING, "no_such_package", "src/model.py", 3,
    )  # fmt: skip


def test_a_module_that_the_code_can_do_without_is_fine(tmp_path: Path) -> None:
    text = "try:\n    import no_such_package\nexcept ImportError:\n    no_such_package = None\n"
    assert seen(tmp_path, text) == []


def test_a_package_that_no_site_gets_is_named_unless_the_lock_has_it(tmp_path: Path) -> None:
    (found,) = seen(tmp_path / "without", "import pytest\n")
    assert (found.kind, found.name) == (FindingKind.PACKAGE_NOT_LOCKED, "pytest")
    lock = f"pytest==8.0.0 --hash=sha256:{'0' * 64}\n"
    assert seen(tmp_path / "locked", "import pytest\n", requirements_lock=lock) == []


def test_a_file_of_this_machine_is_named_and_those_of_any_system_are_not(tmp_path: Path) -> None:
    own = tmp_path / "table.csv"
    own.write_text("1")
    text = f'A = "{own}"\nB = "/etc/hostname"\nC = "{tmp_path / "absent.csv"}"\nD = "{tmp_path}"\n'
    (found,) = seen(tmp_path / "workspace", text)
    assert (found.kind, found.name, found.line) == (FindingKind.LOCAL_FILE, str(own), 1)


@pytest.mark.parametrize("text", ["def f(:\n", "\0", 'A = "/' + "x" * 9000 + '"\n', 'A = "~nobody-of-that-name/x"\n'])
def test_code_that_cannot_be_read_is_left_to_python(tmp_path: Path, text: str) -> None:
    assert seen(tmp_path, text) == []


def test_what_stays_at_home_is_told(tmp_path: Path) -> None:
    (found,) = look_at_code(tmp_path, Packing((), (AtHome("data/scale.json", "src/model.py"),)))
    assert (found.kind, found.name, found.file) == (FindingKind.STAYS_AT_HOME, "data/scale.json", "src/model.py")
