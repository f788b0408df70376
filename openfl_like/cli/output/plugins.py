"""Plug-ins as a terminal shows them."""

from collections.abc import Sequence
from itertools import groupby

from openfl_like.authoring.plugins import REQUIRED, Plugin, PluginSetting
from openfl_like.cli.output.console import put, say

HANG = 4


def show_kinds(found: Sequence[Plugin]) -> None:
    """Show the names of every kind, a kind after the other."""
    for kind, plugins in groupby(found, lambda plugin: plugin.kind):
        put(kind, style="bold")
        put(f"  {', '.join(map(_name, plugins))}", hang=2)
    say("fx plan plugins KIND tells what they do; fx plan plugins KIND NAME tells all of one")


def show_plugins(found: Sequence[Plugin]) -> None:
    """Show what each of a kind is, its settings and where it comes from."""
    for plugin in found:
        put(_name(plugin), style="bold")
        put(f"  {_plain(plugin.summary)}", hang=2)
        if plugin.settings:
            put(f"  settings: {', '.join(map(_setting, plugin.settings))}", hang=HANG)
        put(f"  source: {plugin.source}", hang=HANG)


def show_plugin(plugin: Plugin) -> None:
    """Show all that one says of itself."""
    put(f"{plugin.kind}: {_name(plugin)}", style="bold")
    put(f"source: {plugin.source}", hang=HANG)
    for paragraph in plugin.text.split("\n\n"):
        put("")
        put(_plain(" ".join(paragraph.split())), hang=0)
    if plugin.settings:
        put("")
        put("settings", style="bold")
    for setting in plugin.settings:
        put(f"  {_setting(setting)}: {_plain(setting.meaning)}", hang=HANG)


def _name(plugin: Plugin) -> str:
    return f"{plugin.name} (of {plugin.package})" if plugin.package else plugin.name


def _setting(setting: PluginSetting) -> str:
    if setting.default == REQUIRED:
        return f"{setting.name} ({REQUIRED})"
    return f"{setting.name} ({setting.default})" if setting.default else setting.name


def _plain(text: str) -> str:
    return text.replace("``", "").replace("`", "")
