"""What the text of a workspace's code shows before it is run: packages that no site may have, files of this machine."""

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from importlib.util import find_spec
from pathlib import Path

from openfl_like.authoring.dry_run.findings import DryRunFinding, FindingKind
from openfl_like.plan.bundles.packing import Packing
from openfl_like.plan.imports import read_code
from openfl_like.plan.lock import LOCK_NAME, read_lock

_PLATFORM = "openfl_like"
_EXTRA = re.compile(r"extra\s*==\s*['\"]([\w-]+)")
_NOT_AT_SITES = frozenset({"test", "dev", "docs"})
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_OF_EVERY_SYSTEM = ("/dev/", "/proc/", "/sys/", "/etc/", "/usr/", "/bin/")
_LONGEST_PATH = 4096


def look_at_code(workspace: Path, packing: Packing) -> Iterator[DryRunFinding]:
    """Look at the code that travels; nothing is run.

    Args:
        workspace: As it travels.
        packing: What does.
    """
    for wished in packing.at_home:
        yield DryRunFinding(FindingKind.STAYS_AT_HOME, file=wished.named_by, name=wished.path)
    locked = _locked(workspace)
    for path in sorted(workspace.rglob("*.py")):
        inner = path.relative_to(workspace).as_posix()
        source = path.read_bytes()
        yield from _packages(workspace, inner, source, locked)
        yield from _local_files(inner, source)


def _locked(workspace: Path) -> frozenset[str]:
    lock = workspace / LOCK_NAME
    lines = read_lock(lock.read_bytes()) if lock.is_file() else ()
    return frozenset(_plain(found[0]) for line in lines if (found := _NAME.match(line)))


def _packages(workspace: Path, inner: str, source: bytes, locked: frozenset[str]) -> Iterator[DryRunFinding]:
    """Name the modules that are not here, and those that neither the platform nor the lock brings to a site."""
    told: set[str] = set()
    for item in read_code(source, inner.rpartition("/")[0].replace("/", ".")).imports:
        top = item.module.partition(".")[0]
        if top in told or not item.needed or _is_known(workspace, top):
            continue
        told.add(top)
        kind = _lacks(top, locked)
        if kind is not None:
            yield DryRunFinding(kind, file=inner, line=item.line, name=top)


def _lacks(top: str, locked: frozenset[str]) -> FindingKind | None:
    """Say what is wrong with a module that is imported: it is not here, or nothing brings it to a site."""
    if find_spec(top) is None:
        return FindingKind.MODULE_MISSING
    brought = {_plain(name) for name in _distributions().get(top, ())}
    return FindingKind.PACKAGE_NOT_LOCKED if brought and not brought & (locked | _of_platform()) else None


@cache
def _distributions() -> Mapping[str, list[str]]:
    return packages_distributions()


def _is_known(workspace: Path, top: str) -> bool:
    own = (workspace / top).is_dir() or (workspace / f"{top}.py").is_file()
    return not top or own or top == _PLATFORM or top in sys.stdlib_module_names


@cache
def _of_platform() -> frozenset[str]:
    """Return the packages that come with the platform and its extras, with what they need themselves."""
    found: set[str] = set()
    waiting = [_PLATFORM]
    while waiting:
        name = _plain(waiting.pop())
        if name in found:
            continue
        found.add(name)
        try:
            needs = requires(name) or []
        except PackageNotFoundError:
            continue
        waiting += [match[0] for need in needs if (match := _NAME.match(need)) and _counts(name, need)]
    return frozenset(found)


def _counts(name: str, need: str) -> bool:
    """Whether a site may have a requirement: not what only an extra of another package, or a test, needs."""
    extra = _EXTRA.search(need)
    return extra is None or (name == _plain(_PLATFORM) and extra[1] not in _NOT_AT_SITES)


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _local_files(inner: str, source: bytes) -> Iterator[DryRunFinding]:
    """Name the texts of the code that are files of this machine: no site has them."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return  # loading it says so
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _is_local(node.value):
            yield DryRunFinding(FindingKind.LOCAL_FILE, file=inner, line=node.lineno, name=node.value)


def _is_local(text: str) -> bool:
    if not text.startswith(("/", "~/")) or len(text) > _LONGEST_PATH or text.startswith(_OF_EVERY_SYSTEM):
        return False
    try:
        return Path(text).expanduser().is_file()
    except (OSError, ValueError, RuntimeError):
        return False
