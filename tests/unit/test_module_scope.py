import importlib
import sys
from pathlib import Path

import pytest

from openfl_like.module_scope import ModuleScope


def test_a_module_of_that_name_from_elsewhere_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("outside", "inside"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "ward_nine.py").write_text(f"PLACE = {place!r}\n")
    monkeypatch.syspath_prepend(tmp_path / "outside")
    outside = importlib.import_module("ward_nine")
    code = ModuleScope(tmp_path / "inside")
    with code.active():
        assert importlib.import_module("ward_nine").PLACE == "inside"
    assert sys.modules["ward_nine"] is outside
    monkeypatch.delitem(sys.modules, "ward_nine")


def test_a_module_is_imported_once(tmp_path: Path) -> None:
    (tmp_path / "ward_ten.py").write_text("")
    code = ModuleScope(tmp_path)
    with code.active():
        first = importlib.import_module("ward_ten")
    with code.active():
        assert importlib.import_module("ward_ten") is first


def test_the_standard_library_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("")
    json = sys.modules.get("json") or importlib.import_module("json")
    with ModuleScope(tmp_path).active():
        assert sys.modules["json"] is json


def test_an_error_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "ward_eleven.py").write_text("")
    before = (list(sys.path), sys.dont_write_bytecode)

    def use() -> None:
        with ModuleScope(tmp_path).active():
            importlib.import_module("ward_eleven")
            raise OSError("the disk is on fire")

    with pytest.raises(OSError, match="on fire"):
        use()
    assert (list(sys.path), sys.dont_write_bytecode) == before
    assert "ward_eleven" not in sys.modules
    with ModuleScope(tmp_path).active():  # and the next one does not wait for ever
        pass


def test_a_folder_without_init_is_as_good_as_a_package(tmp_path: Path) -> None:
    values = []
    for place in ("north", "south"):
        (tmp_path / place / "ward_twelve").mkdir(parents=True)
        (tmp_path / place / "ward_twelve" / "bed.py").write_text("SEEN = []\n")
        with ModuleScope(tmp_path / place).active():
            module = importlib.import_module("ward_twelve.bed")
            module.SEEN.append(place)
            values.append((module.SEEN, Path(module.__file__ or "").parts[-3]))
        assert not [name for name in sys.modules if name.startswith("ward_twelve")]
    assert values == [(["north"], "north"), (["south"], "south")]


def test_a_folder_hides_no_package_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy" / "notes.py").write_text("")
    numpy = importlib.import_module("numpy")
    with ModuleScope(tmp_path).active():
        assert importlib.import_module("numpy") is numpy


def test_within_another_scope_its_own_modules_come_first_and_the_others_come_back(tmp_path: Path) -> None:
    (tmp_path / "workspace" / "ward_tools").mkdir(parents=True)
    (tmp_path / "workspace" / "ward_tools" / "scale.py").write_text("")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "ward_tools.py").write_text("PLACE = 'site'\n")
    workspace, site = ModuleScope(tmp_path / "workspace"), ModuleScope(tmp_path / "site")
    with workspace.active():
        scale = importlib.import_module("ward_tools.scale")
        with site.active(), site.active():
            assert importlib.import_module("ward_tools").PLACE == "site"
        assert importlib.import_module("ward_tools.scale") is scale
    assert "ward_tools" not in sys.modules
