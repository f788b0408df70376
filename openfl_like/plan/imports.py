"""What Python code imports, read from its text: nothing is run."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

_BY_NAME = frozenset({"import_module", "__import__"})


@dataclass(frozen=True, slots=True)
class Import:
    """A module, or a name of one, that a line of code asks for.

    Attributes:
        module: Its full name.
        line: Where.
        needed: Whether the code cannot do without: it is not tried with another way out.
    """

    module: str
    line: int
    needed: bool


@dataclass(frozen=True, slots=True)
class CodeText:
    """What is read from the text of a module.

    Attributes:
        imports: The modules it asks for, and those that may be names of their attributes.
        words: Its texts that could be names of files.
    """

    imports: tuple[Import, ...]
    words: frozenset[str]


def read_code(source: bytes, package: str) -> CodeText:
    """Read a module; of one that is no Python there is nothing to say.

    Args:
        source: Its bytes.
        package: The full name of the package it is in, for relative imports; empty at the top.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return CodeText((), frozenset())
    imports: list[Import] = []
    words: set[str] = set()
    waiting: list[tuple[ast.AST, bool]] = [(tree, True)]
    while waiting:
        node, needed = waiting.pop()
        imports += [Import(name, getattr(node, "lineno", 0), needed) for name in _names(node, package)]
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _is_file_name(node.value):
            words.add(node.value)
        waiting += [(child, needed and not _is_optional(node, child)) for child in ast.iter_child_nodes(node)]
    return CodeText(tuple(sorted(imports, key=lambda item: (item.line, item.module))), frozenset(words))


def _names(node: ast.AST, package: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = _absolute(node, package)
        yield base
        yield from (f"{base}.{alias.name}" for alias in node.names if alias.name != "*")
    elif isinstance(node, ast.Call) and _called(node.func) in _BY_NAME and node.args:
        first = node.args[0]
        if isinstance(first, ast.Constant) and isinstance(first.value, str) and not first.value.startswith("."):
            yield first.value


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    above = parts[: len(parts) - node.level + 1]
    return ".".join([*above, *([node.module] if node.module else [])])


def _called(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _is_optional(node: ast.AST, child: ast.AST) -> bool:
    """Whether code goes on without what is imported there: tried with a handler, or for type checkers only."""
    if isinstance(node, ast.Try):
        return bool(node.handlers) and child in node.body
    if isinstance(node, ast.If):
        named = node.test.attr if isinstance(node.test, ast.Attribute) else getattr(node.test, "id", "")
        return named == "TYPE_CHECKING" and child in node.body
    return False


def _is_file_name(text: str) -> bool:
    return "." in text.strip("./") and len(text) <= 200 and "\n" not in text and not text.startswith(("/", "."))
