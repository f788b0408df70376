"""Importing code that is nobody's package: that of a workspace, and that of a site, each with modules of its own."""

import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import wraps
from importlib.machinery import FileFinder
from pathlib import Path
from types import ModuleType
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
Result = TypeVar("Result")

# Import state and the frameworks' random generators belong to the whole process, so only one thread is in scopes.
_ONE_AT_A_TIME = threading.RLock()
_INNERMOST: list["ModuleScope"] = []


class ModuleScope:
    """The Python modules of one directory.

    Two workspaces in one process may both have a package ``src``, and two sites a ``clinic.py``: the modules of a
    scope are in ``sys.modules``, and its directory on ``sys.path``, only while it is active. A scope may be entered
    within another one; then its modules come first. No bytecode is written, so the directory keeps its digest.

    Args:
        directory: Where the modules are: files, packages, and folders without ``__init__.py``.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory.resolve()
        self._roots: frozenset[str] = frozenset()
        self._folders: frozenset[str] = frozenset()
        self._modules: dict[str, ModuleType] = {}

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make the modules importable; other threads that want a scope wait until it is left."""
        with _ONE_AT_A_TIME:
            if _INNERMOST and _INNERMOST[-1] is self:
                yield
                return
            _INNERMOST.append(self)
            try:
                with self._entered():
                    yield
            finally:
                _INNERMOST.pop()

    def owns(self, kind: type) -> bool:
        """Whether a class was made by one of the modules; asked when the scope was left once."""
        return kind.__module__ in self._modules

    def within(self, function: Callable[P, Result]) -> Callable[P, Result]:
        """Return the function, called while the scope is active."""

        @wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> Result:
            with self.active():
                return function(*args, **kwargs)

        return called

    @contextmanager
    def _entered(self) -> Iterator[None]:
        if not self._modules:
            self._roots, self._folders = _top_level_names(self.directory)
            _look_again_in(self.directory)
        aside = self._take_out(self._names())
        no_bytecode, path = sys.dont_write_bytecode, str(self.directory)
        sys.modules.update(self._modules)
        loaded = len(sys.modules)
        sys.path.insert(0, path)
        sys.dont_write_bytecode = True
        try:
            yield
        finally:
            sys.dont_write_bytecode = no_bytecode
            with suppress(ValueError):  # the code itself may have taken it away
                sys.path.remove(path)
            self._modules = self._take_out(self._names() if len(sys.modules) != loaded else self._modules)
            sys.modules.update(aside)

    def _names(self) -> list[str]:
        """Name the loaded modules that this scope's hide, or that are its own."""
        roots = {root for root in self._roots if root in sys.modules}
        roots |= {root for root in self._folders if _is_folder(sys.modules.get(root))}
        if not roots:  # looking at every name costs much more than finding that there is none
            return []
        beginnings = tuple(roots)  # of few names; partition, of all of them, takes ten times as long
        return [name for name in sys.modules if name.startswith(beginnings) and name.partition(".")[0] in roots]

    @staticmethod
    def _take_out(names: Sequence[str] | dict[str, ModuleType]) -> dict[str, ModuleType]:
        return {name: sys.modules.pop(name) for name in list(names) if name in sys.modules}


def _look_again_in(directory: Path) -> None:
    """Have files be found that came since somebody imported from a directory; `importlib` would forget all others."""
    below = f"{directory}{os.sep}"
    for path, finder in sys.path_importer_cache.items():
        if isinstance(finder, FileFinder) and (path == str(directory) or path.startswith(below)):
            finder.invalidate_caches()


def innermost_directory() -> Path | None:
    """Return the directory whose modules come first now; None outside of all scopes."""
    return _INNERMOST[-1].directory if _INNERMOST else None


def _is_folder(module: ModuleType | None) -> bool:
    """Whether a module is a package without ``__init__.py``: any other one is found before a folder of its name is."""
    return module is not None and getattr(module, "__file__", None) is None and hasattr(module, "__path__")


def _top_level_names(directory: Path) -> tuple[frozenset[str], frozenset[str]]:
    """Name a directory's modules and packages, and its other folders; the standard library's are never replaced."""
    packages = {entry.parent.name for entry in directory.glob("*/__init__.py")}
    modules = {entry.stem for entry in directory.glob("*.py")}
    folders = {entry.name for entry in directory.glob("*") if entry.name.isidentifier() and entry.is_dir()}
    found = frozenset((packages | modules) - sys.stdlib_module_names)
    return found, frozenset(folders - found - sys.stdlib_module_names)
