from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from openfl_like.authoring import plugins
from openfl_like.authoring.plugins import REQUIRED, find_plugin, plugins_of
from openfl_like.errors import NotFoundError
from openfl_like.registry import BUILTIN

OURS = [plugin for kind in BUILTIN for plugin in plugins_of(kind) if not plugin.package]


def test_all_that_can_be_named_says_what_it_is() -> None:
    assert {(plugin.kind, plugin.name) for plugin in OURS} == {
        (kind, name) for kind in BUILTIN for name in BUILTIN[kind]
    }
    assert [plugin.name for plugin in OURS if not plugin.summary] == []


def test_settings_have_the_defaults_of_the_code_also_those_of_a_base_class() -> None:
    found = {setting.name: setting.default for setting in find_plugin("selector", "power_of_choice").settings}
    assert found == {
        "candidates": REQUIRED,
        "fraction": "none",
        "count": "none",
        "include": "[]",
        "exclude": "[]",
    }
    assert {one.name: one.default for one in find_plugin("server_optimizer", "fedyogi").settings}["beta1"] == "0.9"
    assert {one.name: one.default for one in find_plugin("task_runner", "keras").settings}["optimizer"] == "sgd"


def test_every_setting_tells_its_default() -> None:
    untold = {plugin.source: [one.name for one in plugin.settings if not one.default] for plugin in OURS}
    assert {source: names for source, names in untold.items() if names} == {}


def test_what_is_not_there_is_told_with_what_is_near() -> None:
    with pytest.raises(NotFoundError, match="no selector named 'ucbb'") as caught:
        find_plugin("selector", "ucbb")
    assert caught.value.cure == "did you mean 'ucb'?"
    with pytest.raises(NotFoundError, match="no kind of plug-in"):
        plugins_of("selectors")


def test_a_part_of_an_installed_package_is_read_and_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = '''raise SystemExit("this was imported")


class Loudest:
    """Whoever shouts most.

    Args:
        count: How many.
        least: Of what volume.
    """

    def __init__(self, count: int, least: float = 0.5) -> None:
        self.count = count
'''
    (tmp_path / "shouting.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    point = EntryPoint("loudest", "shouting:Loudest", "openfl_like.selector")
    found = plugins._installed("selector", point)
    assert (found.name, found.package, found.summary) == ("loudest", "?", "Whoever shouts most.")
    assert [(one.name, one.default) for one in found.settings] == [("count", REQUIRED), ("least", "0.5")]


def test_a_part_without_source_is_named_all_the_same() -> None:
    found = plugins._installed("selector", EntryPoint("odd", "no_such_module:Odd", "openfl_like.selector"))
    assert (found.source, found.text, found.settings) == ("no_such_module:Odd", "", ())
