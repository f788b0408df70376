"""What the classes of a workspace have, read from their text: nothing is run.

Where the text does not tell (a base class of another package, a class that is made by code) nothing is said: whoever
performs the plan looks again.
"""

import ast
import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from openfl_like.errors import BundleError
from openfl_like.plan.checks import named_parts
from openfl_like.plan.mistakes import KeyPath
from openfl_like.plan.schema import Plan
from openfl_like.registry import OF_A_ROUND

PACKAGE = Path(__file__).resolve().parents[1]
TASK_RUNNER = ("initialise", "begin", "get_tensors", "set_tensors")
DATA_LOADER = ("num_train", "num_validate", "train_batches", "validate_batches")
"""What the protocols of `frameworks.runner` ask for."""
MEMBERS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "selector": (("wanted", "eligible", "select"),),
    "assigner": (("deal",),),
    "work": (("assign",),),
    "controller": (("decide",),),
    "validator": (("check",), ("looks", "judge")),
    "aggregation": (("factors",), ("slots", "begin"), ("gram_factors",), ("reduce",)),
    "server_optimizer": (("slots", "step"),),
    "server_algorithm": (("slots", "averages", "weigh", "step", "own"),),
    "callback": (("take", "write", "finish"),),
}
"""Kind of a part of a round -> what one has; of several the first that fits."""
DEEPEST = 16
"""Of chains of bases and imports: longer ones may be circles."""
_EMPTY = frozenset({"object", "ABC", "Protocol", "Generic"})
"""Bases that give nothing."""
_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Lack:
    """Something that a class should have.

    Attributes:
        part: Which part of the plan it is.
        template: The class, as the plan names it.
        member: What is missing.
        wanted_by: The key of the plan that asks for it; empty: every part of that kind has it.
    """

    part: str
    template: str
    member: str
    wanted_by: str = ""


@dataclass(frozen=True, slots=True)
class RoundPart:
    """A part of a round that is code of the workspace.

    Attributes:
        kind: As in the registry.
        path: The key of the plan that names it.
        template: Its ``module:attr``.
    """

    kind: str
    path: KeyPath
    template: str


def workspace_parts(plan: Plan) -> list[RoundPart]:
    """List the parts of a round that are code of the workspace, in the plan's order."""
    named = [(kind, path, part.template) for kind, path, part in named_parts(plan) if kind in OF_A_ROUND]
    rules = enumerate(plan.aggregation.rules)
    named += [("aggregation", ("aggregation", "rules", at, "rule"), part.rule.template) for at, part in rules]
    found = [RoundPart(kind, (*path, "template"), template) for kind, path, template in named if ":" in template]
    server = plan.algorithm.server or ""
    return [*found, *([RoundPart("server_algorithm", ("algorithm", "server"), server)] if ":" in server else [])]


def unlike(workspace: Path, part: RoundPart) -> tuple[str, str]:
    """Say what a part of a round surely does not have that one of its kind must have, and the cure; or nothing."""
    module, _, name = part.template.partition(":")
    known, ways = _Code(workspace).members(module, name), MEMBERS[part.kind]
    if known is None or any(known.issuperset(way) for way in ways):
        return "", ""
    wanted = " or ".join(", ".join(way) for way in ways)
    missing = [member for way in ways for member in way if member not in known]
    near = ((member, difflib.get_close_matches(member, sorted(known - {*missing}), n=1)) for member in missing)
    hints = (f"did you mean '{member}' by its '{found[0]}'?" for member, found in near if found)
    problem = f"the class {name} does not have what one must have: {wanted}"
    return problem, next(hints, "see docs/workspace-parts.md")


def lacks(workspace: Path, plan: Plan) -> list[Lack]:
    """Return what the plan's task runner and data loader do not have, as far as their text tells."""
    code = _Code(workspace)
    functions = {task.function: f"tasks.{name}" for name, task in plan.tasks.items()}
    wanted = {
        ("task_runner", plan.task_runner.template): {**dict.fromkeys(TASK_RUNNER, ""), **functions},
        ("data_loader", plan.data_loader.template): dict.fromkeys(DATA_LOADER, ""),
    }
    found = []
    for (part, template), members in wanted.items():
        module, _, name = template.partition(":")
        known = code.members(module, name) if name else None
        if known is not None:
            found += [Lack(part, template, member, key) for member, key in members.items() if member not in known]
    return found


def refuse_lacks(workspace: Path, plan: Plan) -> None:
    """Refuse a plan whose parts lack what only a running experiment would ask for.

    Raises:
        BundleError: Naming the class and what it does not have.
    """
    found = lacks(workspace, plan)
    if not found:
        return
    first = found[0]
    module, _, name = first.template.partition(":")
    names = ", ".join(f"'{lack.member}'" for lack in found if lack.template == first.template)
    asked = next((f"; {lack.wanted_by} of the plan names it" for lack in found if lack.wanted_by), "")
    raise BundleError(
        f"the class {name} has no {names}{asked}",
        place=f"{first.part}.template, {module}",
        cure="add it to the class; docs/frameworks.md says what each does",
    )


@dataclass(slots=True)
class _Code:
    """The modules of a workspace, and those of the platform that their classes are built on."""

    workspace: Path
    _trees: dict[str, ast.Module | None] = field(default_factory=dict)

    def members(self, module: str, name: str, depth: int = 0) -> frozenset[str] | None:
        """The names that a class has; None if its text does not tell."""
        tree = self._tree(module) if depth < DEEPEST else None
        if tree is None:
            return None
        made = next((node for node in tree.body[::-1] if isinstance(node, ast.ClassDef) and node.name == name), None)
        if made is not None:
            return None if _is_made_again(tree, made) else self._of_class(made, module, depth)
        for node in tree.body:
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    if (alias.asname or alias.name) == name:
                        return self.members(_absolute(node, module, self._is_package(module)), alias.name, depth + 1)
        return None

    def _of_class(self, made: ast.ClassDef, module: str, depth: int) -> frozenset[str] | None:
        own = frozenset(_own(made))
        if "__getattr__" in own or made.keywords or any(not _is_dataclass(mark) for mark in made.decorator_list):
            return None
        found = own
        for base in made.bases:
            named = base.value if isinstance(base, ast.Subscript) else base
            if not isinstance(named, ast.Name):
                return None
            inherited = frozenset[str]() if named.id in _EMPTY else self.members(module, named.id, depth + 1)
            if inherited is None:
                return None
            found |= inherited
        return found

    def _tree(self, module: str) -> ast.Module | None:
        if module not in self._trees:
            path = self._path(module)
            try:
                self._trees[module] = ast.parse(path.read_bytes()) if path is not None else None
            except (SyntaxError, ValueError, RecursionError):
                self._trees[module] = None
        return self._trees[module]

    def _path(self, module: str) -> Path | None:
        parts = module.split(".")
        top = PACKAGE.parent if parts[0] == PACKAGE.name else self.workspace
        base = top.joinpath(*parts)
        return next((path for path in (base / "__init__.py", base.with_suffix(".py")) if path.is_file()), None)

    def _is_package(self, module: str) -> bool:
        path = self._path(module)
        return path is not None and path.name == "__init__.py"


def _is_made_again(tree: ast.Module, made: ast.ClassDef) -> bool:
    """Whether a module gives a class's name, or something of the class, in another place as well."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | _Function) and node.name == made.name and node is not made:
            return True
        named = node.value if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) else node
        stored = named is not node or (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
        if stored and isinstance(named, ast.Name) and named.id == made.name:
            return True
    return False


def _absolute(node: ast.ImportFrom, module: str, is_package: bool) -> str:  # noqa: FBT001 (a fact of the module)
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    above = parts[: len(parts) - node.level + is_package]
    return ".".join([*above, *([node.module] if node.module else [])])


def _own(made: ast.ClassDef) -> Iterator[str]:
    """What a class itself defines: methods, attributes, and what its methods put on ``self``."""
    for node in made.body:
        if isinstance(node, _Function):
            yield node.name
            yield from _put_on_self(node)
        elif isinstance(node, ast.AnnAssign | ast.Assign):
            targets = [node.target] if isinstance(node, ast.AnnAssign) else node.targets
            yield from (each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name))
        elif isinstance(node, ast.If | ast.Try | ast.With):
            yield "__getattr__"  # what it has depends on something: nothing is said


def _put_on_self(function: _Function) -> Iterator[str]:
    for node in ast.walk(function):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name):
            yield node.attr
        elif isinstance(node, ast.Name) and node.id == "setattr":
            yield "__getattr__"  # names that nobody can read


def _is_dataclass(mark: ast.expr) -> bool:
    called = mark.func if isinstance(mark, ast.Call) else mark
    return (called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")) == "dataclass"
