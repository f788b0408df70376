import importlib
import sys
from pathlib import Path

import pytest

from openfl_like.frameworks.workspace import WorkspaceCode


def test_a_module_of_that_name_from_elsewhere_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("outside", "inside"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "ward_nine.py").write_text(f"PLACE = {place!r}\n")
    monkeypatch.syspath_prepend(tmp_path / "outside")
    outside = importlib.import_module("ward_nine")
    code = WorkspaceCode(tmp_path / "inside")
    with code.active():
        assert importlib.import_module("ward_nine").PLACE == "inside"
    assert sys.modules["ward_nine"] is outside
    monkeypatch.delitem(sys.modules, "ward_nine")


def test_a_module_is_imported_once(tmp_path: Path) -> None:
    (tmp_path / "ward_ten.py").write_text("")
    code = WorkspaceCode(tmp_path)
    with code.active():
        first = importlib.import_module("ward_ten")
    with code.active():
        assert importlib.import_module("ward_ten") is first


def test_the_standard_library_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("")
    json = sys.modules.get("json") or importlib.import_module("json")
    with WorkspaceCode(tmp_path).active():
        assert sys.modules["json"] is json


def test_an_error_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "ward_eleven.py").write_text("")
    before = (list(sys.path), sys.dont_write_bytecode)

    def use() -> None:
        with WorkspaceCode(tmp_path).active():
            importlib.import_module("ward_eleven")
            raise OSError("the disk is on fire")

    with pytest.raises(OSError, match="on fire"):
        use()
    assert (list(sys.path), sys.dont_write_bytecode) == before
    assert "ward_eleven" not in sys.modules
    with WorkspaceCode(tmp_path).active():  # and the next one does not wait for ever
        pass
