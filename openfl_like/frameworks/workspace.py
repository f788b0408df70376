"""Importing the code of a workspace without mixing it up with that of another one in the same process."""

import importlib
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

# Import state and the frameworks' random generators belong to the whole process, so only one workspace works at a time.
_ONE_AT_A_TIME = threading.Lock()


class WorkspaceCode:
    """The Python modules of one workspace directory.

    Two workspaces in one process may both have a package ``src``: the modules of a workspace are in ``sys.modules``,
    and its directory on ``sys.path``, only while it is active. No bytecode is written, so the directory keeps its
    digest.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory.resolve()
        self._roots: frozenset[str] = frozenset()
        self._modules: dict[str, ModuleType] = {}

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make the workspace's modules importable; other threads that want a workspace wait until it is left."""
        with _ONE_AT_A_TIME:
            if not self._modules:
                self._roots = _top_level_names(self.directory)
                importlib.invalidate_caches()
            aside = self._take_out()
            no_bytecode, path = sys.dont_write_bytecode, str(self.directory)
            sys.modules.update(self._modules)
            loaded = len(sys.modules)
            sys.path.insert(0, path)
            sys.dont_write_bytecode = True
            try:
                yield
            finally:
                sys.dont_write_bytecode = no_bytecode
                sys.path.remove(path)
                self._modules = self._take_out(None if len(sys.modules) != loaded else list(self._modules))
                sys.modules.update(aside)

    def _take_out(self, names: list[str] | None = None) -> dict[str, ModuleType]:
        """Remove modules from ``sys.modules``: these, or all under the workspace's names, whoever they belong to."""
        if names is None:
            present = any(root in sys.modules for root in self._roots)  # much cheaper than looking at every name
            names = [name for name in sys.modules if name.partition(".")[0] in self._roots] if present else []
        return {name: sys.modules.pop(name) for name in names if name in sys.modules}


def _top_level_names(directory: Path) -> frozenset[str]:
    """Names of a workspace's modules and packages; those of the standard library are never replaced."""
    found = {entry.stem for entry in directory.glob("*.py")}
    found |= {entry.parent.name for entry in directory.glob("*/__init__.py")}
    return frozenset(found - sys.stdlib_module_names)
