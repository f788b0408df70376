"""Classes that a plan names and its workspace surely does not have, found from the text: nothing is run.

A class may come by import, be made by code, or belong to a package that only sites have: then nothing is said.
"""

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path

from openfl_like.errors import PlanError
from openfl_like.plan.members import PACKAGE, unlike, workspace_parts
from openfl_like.plan.mistakes import KeyPath, Mistake, did_you_mean, refuse
from openfl_like.plan.schema import Plan
from openfl_like.plan.section import Component

_DYNAMIC = frozenset({"__getattr__", "__dict__", "__path__", "globals", "locals", "vars", "setattr", "exec"})
"""Whoever has a module with one of these words may put anything into it."""


def absent_classes(workspace: Path, plan: Plan) -> list[Mistake]:
    """Return a mistake for every class that is named by module and attribute and is surely not there.

    And one for every part of a round that is there and surely lacks what it is asked.
    """
    parts: list[tuple[KeyPath, Component]] = [
        (("task_runner",), plan.task_runner),
        (("data_loader",), plan.data_loader),
        (("algorithm",), plan.algorithm),
    ]
    for task, named in plan.tasks.items():
        parts += [(("tasks", task, "metrics", index), choice) for index, choice in enumerate(named.metrics)]
    found = []
    for path, component in parts:
        module, _, name = component.template.partition(":")
        problem, cure = _lookup(workspace, module.split("."), name) if name else ("", "")
        if problem:
            found.append(Mistake((*path, "template"), problem, cure))
    return [*found, *_of_rounds(workspace, plan)]


def _of_rounds(workspace: Path, plan: Plan) -> Iterator[Mistake]:
    """Look at the parts of a round, and also at what they have: nobody else does before a round asks."""
    for part in workspace_parts(plan):
        module, _, name = part.template.partition(":")
        problem, cure = _lookup(workspace, module.split("."), name)
        if not problem:
            problem, cure = unlike(workspace, part)
        if problem:
            yield Mistake(part.path, problem, cure)


def refuse_absent(workspace: Path, plan: Plan) -> None:
    """Refuse a plan that names classes that its workspace does not have.

    Raises:
        PlanError: Listing them.
    """
    found = absent_classes(workspace, plan)
    if found:
        raise refuse("plan", found, {}, PlanError)


def _lookup(workspace: Path, words: Sequence[str], name: str) -> tuple[str, str]:
    """What is wrong with ``module:name``, and the cure; empty if nothing surely is."""
    folder = PACKAGE.parent if words[0] == PACKAGE.name else workspace
    if words[0] not in _modules_in(folder):
        return "", ""  # of a package that is installed at the sites
    for depth, word in enumerate(words):
        known = _modules_in(folder)
        if word not in known:
            above = ".".join(words[:depth])
            missing = f"there is no module '{above}.{word}' in the workspace"
            return missing, did_you_mean(f"{above}.{word}", [f"{above}.{other}" for other in known])
        text = _text(folder, word)
        if text is None or _is_dynamic(text):
            return "", ""
        folder /= word
        if depth + 1 == len(words) and name not in _words_of(text) | _modules_in(folder):
            classes = [node.name for node in ast.walk(text) if isinstance(node, ast.ClassDef)]
            return f"the module {'.'.join(words)} has no '{name}'", did_you_mean(name, classes)
        if not folder.is_dir():
            break
    return "", ""


def _modules_in(folder: Path) -> frozenset[str]:
    """What can be imported from a folder: modules and packages, also those that are not text."""
    if not folder.is_dir():
        return frozenset()
    stems = (path.name if path.is_dir() else path.name.partition(".")[0] for path in folder.iterdir())
    return frozenset(stem for stem in stems if stem.isidentifier() and not stem.startswith("__"))


def _text(folder: Path, word: str) -> ast.Module | None:
    """The text of a module; None if it has none that can be read."""
    places = (folder / word / "__init__.py", folder / f"{word}.py")
    path = next((place for place in places if place.is_file()), None)
    try:
        return ast.parse(path.read_bytes()) if path is not None else None
    except (SyntaxError, ValueError, RecursionError):
        return None


def _is_dynamic(text: ast.Module) -> bool:
    """Whether a module may have names that its text does not tell."""
    imported = (node for node in ast.walk(text) if isinstance(node, ast.ImportFrom))
    everything = any(alias.name == "*" for node in imported for alias in node.names)
    words = _words_of(text)
    return everything or not _DYNAMIC.isdisjoint(words) or {"sys", "modules"} <= words


def _words_of(text: ast.Module) -> frozenset[str]:
    """The names that a module may have, and more: whatever its text defines, imports, assigns or reads, anywhere."""
    return frozenset(_words_in(text))


def _words_in(text: ast.Module) -> Iterator[str]:
    for node in ast.walk(text):
        match node:
            case ast.ClassDef(name=str(word)) | ast.FunctionDef(name=str(word)) | ast.AsyncFunctionDef(name=str(word)):
                yield word
            case ast.Name(id=word) | ast.Attribute(attr=word):
                yield word
            case ast.alias(name=name, asname=given):
                yield given or name.partition(".")[0]
            case ast.MatchAs(name=str(word)) | ast.MatchStar(name=str(word)) | ast.MatchMapping(rest=str(word)):
                yield word
            case _:
                pass
