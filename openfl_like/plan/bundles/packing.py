"""What of a workspace travels: an allow list, the same for every command that packs, simulates or checks.

It is the code that the plan's parts name, with what it imports within the workspace (a package whole, all its
``.py`` files), the files that the plan names, the manifest (requirements, README, licence), and what the plan's
``include`` asks for, without what its ``exclude`` names. Everything else in the folder simply stays where it is.
"""

import errno
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from openfl_like.errors import BundleError
from openfl_like.plan.absent import refuse_absent
from openfl_like.plan.bundles.archive import BUNDLE, Kind
from openfl_like.plan.bundles.sensitive import is_secret_name, is_shard, is_table, secret_in
from openfl_like.plan.digest import freeze, plan_values
from openfl_like.plan.imports import CodeText, read_code
from openfl_like.plan.members import refuse_lacks
from openfl_like.plan.names import PLAN_NAME, NameSet, is_excluded, rule_against
from openfl_like.plan.schema import FILE, Plan

MANIFEST = (
    *("requirements.txt", "requirements.lock", "README.md", "README.rst", "README.txt"),
    *("LICENSE", "LICENSE.md", "LICENSE.txt"),
)
"""Files at the top of a workspace that travel if they are there."""
_REFERENCE = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):[A-Za-z_]\w*")
_HARMLESS = frozenset({"test"})
"""Modules of the standard library that nothing needs, and whose names folders often have."""
_OURS = __name__.partition(".")[0]
_RENAME = "rename it, move it out of the workspace, or name it under exclude: in the plan"
_STAYS_CURE = "move it out of the workspace, or name it under exclude: in the plan"
_TABLE_CURE = "tables stay at the sites; if all sites may have this one, name it, or its ending, under include:"


@dataclass(frozen=True, slots=True)
class SentFile:
    """A file that travels.

    Attributes:
        path: Where it is in the workspace.
        size_bytes: Its size.
    """

    path: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class AtHome:
    """A file that code names, or imports if it can, and that does not travel.

    Attributes:
        path: Where it is in the workspace.
        named_by: The file of code that names it.
    """

    path: str
    named_by: str


@dataclass(frozen=True, slots=True)
class Packing:
    """What travels with a plan.

    Attributes:
        files: Sorted by path; the plan itself is not among them.
        at_home: What the code seems to want and does not get at a site.
    """

    files: tuple[SentFile, ...]
    at_home: tuple[AtHome, ...] = ()

    @property
    def total_bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.size_bytes for file in self.files)


def packing_of(workspace: Path, plan: Plan, added: Mapping[str, Path] | None = None, kind: Kind = BUNDLE) -> Packing:
    """Find out what of a workspace travels, and try every rule that a bundle has.

    Args:
        workspace: The directory with the code.
        plan: The plan that goes with it.
        added: Path in the workspace -> a file from elsewhere that goes there; the workspace must not have it.
        kind: How much may be in it.

    Raises:
        BundleError: If a file breaks a rule, is a secret, or is needed and cannot travel, or if a class of the plan
            lacks what every experiment asks of it; the message names it.
        PlanError: If the plan names a class that is not there.
    """
    try:
        chosen = _Travellers(workspace, plan)
        chosen.choose()
        origins = [*((path, workspace / path) for path in chosen.paths), *(added or {}).items()]
        _check_names(origins, kind)
        files = [SentFile(path, _size(origin)) for path, origin in sorted(origins)]
        _check_size(files, dict(origins), len(freeze(plan)), kind)
        _check_plan(plan)
        refuse_absent(workspace, plan)
        refuse_lacks(workspace, plan)
        for path in chosen.paths:
            _refuse_linked_folders(workspace, path)
            _check_content(workspace / path, path)
    except OSError as error:
        place = str(error.filename or workspace)
        raise BundleError(f"the workspace cannot be packed: {error.strerror or error}", place=place) from error
    return Packing(tuple(files), tuple(chosen.at_home()))


def workspace_files(workspace: Path, below: str = "") -> Iterator[str]:
    """Yield the relative path of every plain file of a workspace but what is local to a machine.

    Args:
        workspace: The directory with the code.
        below: Only what is in this folder of it; it ends with a slash.
    """
    for entry, path in _entries(workspace, below):
        if entry.is_dir(follow_symlinks=False):
            yield from workspace_files(workspace, f"{path}/")
        elif entry.is_file(follow_symlinks=False):
            yield path


def _entries(workspace: Path, below: str) -> Iterator[tuple[os.DirEntry[str], str]]:
    with os.scandir(workspace / below) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            path = f"{below}{entry.name}"
            if not is_excluded(path):
                yield entry, path


@dataclass(slots=True)
class _Travellers:
    """The files of one workspace that travel with one plan."""

    workspace: Path
    plan: Plan
    paths: set[str] = field(default_factory=set)
    _packages: set[str] = field(default_factory=set)
    _waiting: list[str] = field(default_factory=list)
    _wished: set[AtHome] = field(default_factory=set)

    def choose(self) -> None:
        self.workspace.stat()  # one that is not there is no empty one
        self._check_standard_library()
        words = list(_words(self.plan))
        for word in words:
            found = _REFERENCE.fullmatch(word)
            if found:
                self._take_module(found[1], "the plan", needed=True)
        while self._waiting:
            self._follow(self._waiting.pop())
        self._take_named(words)
        self.paths |= {path for path in MANIFEST if (self.workspace / path).is_file() and not self._is_left_out(path)}
        self._take_included()

    def at_home(self) -> list[AtHome]:
        wished = (item for item in self._wished if item.path not in self.paths)
        return sorted(wished, key=lambda item: (item.path, item.named_by))

    # -- code --

    def _check_standard_library(self) -> None:
        for entry, path in _entries(self.workspace, ""):
            is_module = entry.name.endswith(".py") or (self.workspace / path / "__init__.py").is_file()
            name = entry.name.removesuffix(".py")
            if is_module and name in sys.stdlib_module_names - _HARMLESS | {_OURS}:
                whose = "this platform" if name == _OURS else "Python's standard library"
                message = f"it hides the module '{name}' of {whose} from everything that imports it"
                raise BundleError(message, place=str(self.workspace / path), cure="rename it, and what imports it")

    def _take_module(self, module: str, asked_by: str, *, needed: bool) -> None:
        path = self._find(module) if all(module.split(".")) else ""
        if not path or module.partition(".")[0] in sys.stdlib_module_names:
            return
        top, _, inner = path.partition("/")
        if not is_excluded(path) and not is_excluded(top) and not self._is_left_out(path):
            if inner:
                self._take_package(top)
            else:
                self._take_code(path)
        elif needed:
            why = "exclude: of the plan names it" if not is_excluded(top) else f"'{top}/' is never sent"
            message = f"{asked_by} imports '{module}', which is {path} and stays at home: {why}"
            cure = (
                "let it travel: take it out of exclude:" if not is_excluded(top) else f"move {path} to another folder"
            )
            raise BundleError(message, place=str(self.workspace / path), cure=cure)
        else:
            self._wished.add(AtHome(path, asked_by))

    def _find(self, module: str) -> str:
        parts = module.split(".")
        for length in range(len(parts), 0, -1):
            base = "/".join(parts[:length])
            for path in (f"{base}/__init__.py", f"{base}.py"):
                if _is_file(self.workspace / path):
                    return path
        return ""

    def _take_package(self, top: str) -> None:
        if top not in self._packages:
            self._packages.add(top)
            for path in self._code_below(f"{top}/"):
                self._take_code(path)

    def _code_below(self, below: str) -> Iterator[str]:
        """Yield what Python could import from a folder: what it could not has another purpose."""
        for entry, path in _entries(self.workspace, below):
            if self._is_left_out(path):
                continue
            if entry.is_dir() and entry.name.isidentifier():
                _refuse_link(entry, self.workspace / path)
                yield from self._code_below(f"{path}/")
            elif entry.name.endswith(".py") and entry.name.removesuffix(".py").isidentifier():
                _refuse_link(entry, self.workspace / path)
                yield path

    def _take_code(self, path: str) -> None:
        if path not in self.paths:
            self.paths.add(path)
            self._waiting.append(path)

    def _follow(self, path: str) -> None:
        text = self._read(path)
        for item in text.imports:
            self._take_module(item.module, f"{path}, line {item.line},", needed=item.needed)
        folder = path.rpartition("/")[0]
        for word in text.words:
            for named in (word, f"{folder}/{word}"):
                if named not in MANIFEST and _is_inside(named) and (self.workspace / named).is_file():
                    self._wished.add(AtHome(named, path))

    def _read(self, path: str) -> CodeText:
        _refuse_odd(self.workspace / path)
        package = path.rpartition("/")[0].replace("/", ".")
        return read_code((self.workspace / path).read_bytes(), package)

    # -- other files --

    def _take_named(self, words: list[str]) -> None:
        models = {self.plan.aggregator.settings.init_state_path, *_models(self.plan)}
        for word in words:
            path = word.removeprefix(FILE)
            if not _is_inside(path) or is_excluded(path.partition("/")[0]) or path in self.paths:
                continue
            if not _is_file(self.workspace / path) or (path not in models and not Path(path).suffix):
                continue
            if is_table(path) and path not in models and not self._is_asked_for(path):
                raise self._refusal(path, "the plan names it, and it looks like a table of data", _TABLE_CURE)
            self.paths.add(path)

    def _take_included(self) -> None:
        everything = list(workspace_files(self.workspace)) if self.plan.include else []
        for pattern in self.plan.include:
            matched = [path for path in everything if _matches(path, pattern) and not self._is_left_out(path)]
            if not matched:
                raise self._unmatched(pattern)
            for path in matched:
                self._check_included(path)
            self.paths.update(matched)
        if self.plan.include:
            self._refuse_links("")

    def _check_included(self, path: str) -> None:
        if is_shard(path):
            raise self._refusal(path, "it looks like a shard descriptor, which is a site's own", _STAYS_CURE)
        if is_table(path) and not self._is_asked_for(path):
            raise self._refusal(
                path, "it looks like a table of data, and include: names it by a wider pattern only", _TABLE_CURE
            )

    def _is_asked_for(self, path: str) -> bool:
        """Whether an include names a table itself, or all tables of its kind: its pattern has the file's ending."""
        ending = Path(path).suffix
        return any(pattern.endswith(ending) and _matches(path, pattern) for pattern in self.plan.include)

    def _unmatched(self, pattern: str) -> BundleError:
        place = str(self.workspace / pattern)
        if (self.workspace / pattern).exists():
            cure = "move what all sites may have to another folder"
            return BundleError(
                "include: names it, and it is never sent: such files stay at home", place=place, cure=cure
            )
        return BundleError("include: names it, and no file of the workspace that can travel is called so", place=place)

    def _refuse_links(self, below: str) -> None:
        for entry, path in _entries(self.workspace, below):
            if entry.is_dir(follow_symlinks=False):
                self._refuse_links(f"{path}/")
            elif any(_matches(path, pattern) for pattern in self.plan.include) and not self._is_left_out(path):
                _refuse_odd(self.workspace / path)

    def _is_left_out(self, path: str) -> bool:
        return any(_matches(path, pattern) for pattern in self.plan.exclude)

    def _refusal(self, path: str, rule: str, cure: str) -> BundleError:
        return BundleError(f"the file cannot be part of a bundle: {rule}", place=str(self.workspace / path), cure=cure)


def _matches(path: str, pattern: str) -> bool:
    """Whether a pattern means a file; ``*`` goes over slashes, and a folder means all that is in it."""
    return fnmatchcase(path, pattern) or fnmatchcase(path, f"{pattern.rstrip('/')}/*")


def _is_inside(path: str) -> bool:
    return bool(path) and not path.startswith(("/", "~")) and ".." not in path.split("/") and "\0" not in path


def _is_file(path: Path) -> bool:
    """Whether there is such a file; a text that is longer than any name is none."""
    try:
        return path.is_file()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise


def _words(plan: Plan) -> Iterator[str]:
    """Every text of the plan that may name a file which sites need; nothing of a simulation goes to them."""
    unread = {"include", "exclude", "name", "simulation"}
    values = {key: value for key, value in plan_values(plan).items() if key not in unread}
    waiting: list[object] = [values]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def _models(plan: Plan) -> Iterator[str]:
    return (task.apply.removeprefix(FILE) for task in plan.tasks.values() if task.of_file)


# ---- rules of a bundle --------------------------------------------------------------------------------------------


def _check_names(origins: list[tuple[str, Path]], kind: Kind) -> None:
    names = NameSet(kind.most_entries)
    names.add(PLAN_NAME)
    for path, origin in sorted(origins):
        rule = "the name is kept for the plan" if path == PLAN_NAME else rule_against(path) or names.add(path)
        if rule:
            raise BundleError(f"the file cannot be part of a bundle: {rule}", place=str(origin), cure=_RENAME)


def _size(path: Path) -> int:
    return path.stat(follow_symlinks=False).st_size


def _check_size(files: list[SentFile], origins: Mapping[str, Path], plan_bytes: int, kind: Kind) -> None:
    total = plan_bytes
    for file in files:
        total += file.size_bytes
        if total > kind.most_bytes:
            raise too_large(origins[file.path], kind.most_bytes)


def too_large(path: Path, most_bytes: int) -> BundleError:
    """Make the error for the file with which a bundle holds too much."""
    cure = "keep data and models out of the workspace, or name it under exclude: in the plan"
    return BundleError(f"with this file the bundle holds more than {most_bytes} bytes", place=str(path), cure=cure)


def _check_plan(plan: Plan) -> None:
    what = secret_in(freeze(plan))
    if what:
        raise BundleError(f"the plan has what looks like {what}, which is never sent", cure="take it out of the plan")


def _refuse_linked_folders(workspace: Path, path: str) -> None:
    for folder in Path(path).parents:
        if (workspace / folder).is_symlink() and folder != Path():
            _refuse_odd(workspace / folder)


def _check_content(file: Path, path: str) -> None:
    _refuse_odd(file)
    what = "a secret, by its name" if is_secret_name(path) else secret_in(file.read_bytes())
    if what:
        raise BundleError(f"it looks like {what}, which is never sent", place=str(file), cure=_STAYS_CURE)


def _refuse_link(entry: os.DirEntry[str], file: Path) -> None:
    if entry.is_symlink():
        _refuse_odd(file)


def _refuse_odd(file: Path) -> None:
    if file.is_symlink() or not file.is_file():
        what = "a symbolic link" if file.is_symlink() else "no regular file"
        cure = "put a copy in its place" if file.is_symlink() else _RENAME
        raise BundleError(f"the file cannot be part of a bundle: it is {what}", place=str(file), cure=cure)
