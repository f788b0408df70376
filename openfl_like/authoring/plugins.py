"""Every part that a plan or a settings file can name, with its settings, as its source says: nothing is imported.

A framework takes seconds to import, and need not be installed to be told of.
"""

import ast
import difflib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path

from openfl_like.errors import NotFoundError
from openfl_like.registry import BUILTIN, names

PACKAGE = Path(__file__).resolve().parents[1]
REQUIRED = "required"
"""In place of a default."""
_GIVEN = frozenset({"loader", "context", "shard"})
"""Arguments that the platform gives, not a settings file."""
_SECTION = re.compile(r"^(Args|Attributes|Raises|Returns):\n", re.MULTILINE)
_ENTRY = re.compile(r"^ {4}(\w+): ((?:.|\n(?! {4}\w|\S))+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class PluginSetting:
    """A setting of a plug-in.

    Attributes:
        name: Its key.
        default: What holds if it is left out, as a plan writes it; ``none``; `REQUIRED`; empty: the source does not
            tell.
        meaning: What it is.
    """

    name: str
    default: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Plugin:
    """A part that can be named.

    Attributes:
        kind: What it is one of: ``selector``, ``aggregation`` …
        name: The short name.
        source: Its class or function, as ``module:attr``.
        package: The distribution that registers it; empty: it comes with the platform.
        text: What it says of itself, without its settings.
        settings: In the order in which it names them.
    """

    kind: str
    name: str
    source: str
    package: str
    text: str
    settings: tuple[PluginSetting, ...]

    @property
    def summary(self) -> str:
        """The first sentence."""
        return " ".join(self.text.partition("\n\n")[0].split())


def plugins_of(kind: str) -> list[Plugin]:
    """List the plug-ins of a kind: those of the platform in its own order, then those of installed packages by name.

    Raises:
        NotFoundError: If there is no such kind.
    """
    if kind not in BUILTIN:
        raise NotFoundError(f"there is no kind of plug-in named '{kind}'", cure=f"known: {', '.join(sorted(BUILTIN))}")
    own = BUILTIN[kind]
    points = {point.name: point for point in entry_points(group=f"openfl_like.{kind}")}
    others = [points[name] for name in names(kind) if name not in own]
    return [_plugin(kind, name, own[name]) for name in own] + [_installed(kind, point) for point in others]


def find_plugin(kind: str, name: str) -> Plugin:
    """Return one plug-in.

    Raises:
        NotFoundError: If there is no such kind or no such plug-in.
    """
    found = plugins_of(kind)
    one = next((plugin for plugin in found if plugin.name == name), None)
    if one is None:
        near = difflib.get_close_matches(name, [plugin.name for plugin in found], n=1)
        cure = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(plugin.name for plugin in found)}"
        raise NotFoundError(f"there is no {kind} named '{name}'", cure=cure)
    return one


def _installed(kind: str, point: EntryPoint) -> Plugin:
    return _plugin(kind, point.name, point.value, point.dist.name if point.dist is not None else "?")


def _plugin(kind: str, name: str, source: str, package: str = "") -> Plugin:
    module, _, attribute = source.partition(":")
    node = _definition(module, attribute)
    if node is None:
        return Plugin(kind, name, source, package, "", ())
    text, *sections = _SECTION.split(ast.get_docstring(node) or "")
    titled = zip(sections[::2], sections[1::2], strict=True)
    entries = [entry for title, body in titled if title in {"Args", "Attributes"} for entry in _ENTRY.findall(body)]
    defaults = dict(_defaults(module, node))
    settings = tuple(
        PluginSetting(key, defaults.get(key, ""), " ".join(words.split()))
        for key, words in entries
        if key not in _GIVEN
    )
    return Plugin(kind, name, source, package, text.strip(), settings)


def _definition(module: str, attribute: str) -> ast.ClassDef | ast.FunctionDef | None:
    named = (node for node in _body(module) if isinstance(node, ast.ClassDef | ast.FunctionDef))
    return next((node for node in named if node.name == attribute), None)


@lru_cache(maxsize=256)
def _body(module: str) -> list[ast.stmt]:
    """Return what stands in a module; nothing if its source is not at hand."""
    path = _source(module)
    return ast.parse(path.read_text(encoding="utf-8")).body if path is not None else []


def _source(module: str) -> Path | None:
    top, _, rest = module.partition(".")
    if top == PACKAGE.name:
        return (PACKAGE / rest.replace(".", "/")).with_suffix(".py")
    try:
        spec = find_spec(module)  # imports the packages that it is in, and not the module
    except ImportError:
        return None
    origin = Path(spec.origin) if spec is not None and spec.origin else None
    return origin if origin is not None and origin.suffix == ".py" and origin.is_file() else None


def _defaults(module: str, node: ast.ClassDef | ast.FunctionDef) -> Iterator[tuple[str, str]]:
    """Give each setting with its default; those of the class itself come last, so that they count."""
    if isinstance(node, ast.FunctionDef):
        yield from _of_arguments(node.args)
        return
    for base in node.bases:
        if isinstance(base, ast.Name) and (found := _base(module, base.id)) is not None:
            yield from _defaults(*found)
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            yield statement.target.id, _default(statement.value)
        elif isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            yield from _of_arguments(statement.args)


def _base(module: str, name: str) -> tuple[str, ast.ClassDef] | None:
    """Find a class that a module has or imports by name."""
    imported = (node for node in _body(module) if isinstance(node, ast.ImportFrom) and node.module)
    origin = {alias.asname or alias.name: (node.module or "", alias.name) for node in imported for alias in node.names}
    where, original = origin.get(name, (module, name))
    found = _definition(where, original)
    return (where, found) if isinstance(found, ast.ClassDef) else None


def _of_arguments(arguments: ast.arguments) -> Iterator[tuple[str, str]]:
    positional = [*arguments.posonlyargs, *arguments.args]
    missing: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults))
    pairs: Iterable[tuple[ast.arg, ast.expr | None]] = (
        *zip(positional, [*missing, *arguments.defaults], strict=True),
        *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
    )
    for argument, default in pairs:
        yield argument.arg, _default(default)


def _default(value: ast.expr | None) -> str:
    """Write a default as a plan does; of a pydantic field, what is in it."""
    if value is None:
        return REQUIRED
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id in {"Field", "field"}:
        given = {word.arg: word.value for word in value.keywords}
        if "default_factory" in given:
            return _EMPTY.get(ast.unparse(given["default_factory"]), "")
        return _default(given.get("default", value.args[0] if value.args else None))
    try:
        plain: object = ast.literal_eval(value)
    except ValueError:
        return ast.unparse(value)
    if isinstance(plain, str):
        return plain or '""'
    return "none" if plain is None else json.dumps(plain)


_EMPTY = {"dict": "{}", "list": "[]", "tuple": "()"}
