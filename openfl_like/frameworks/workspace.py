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
        self._modules: dict[str, ModuleType] = {}

    @contextmanager
    def active(self) -> Iterator[None]:
        """Makes the workspace's modules importable; other threads that want a workspace wait until it is left."""
        with _ONE_AT_A_TIME:
            roots = self._roots()
            aside = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in roots}
            no_bytecode, path = sys.dont_write_bytecode, str(self.directory)
            sys.modules.update(self._modules)
            sys.path.insert(0, path)
            sys.dont_write_bytecode = True
            importlib.invalidate_caches()
            try:
                yield
            finally:
                sys.dont_write_bytecode = no_bytecode
                sys.path.remove(path)
                own = [name for name in sys.modules if name.partition(".")[0] in roots]
                self._modules = {name: sys.modules.pop(name) for name in own}
                sys.modules.update(aside)

    def _roots(self) -> frozenset[str]:
        """Names of the workspace's top-level modules and packages; the standard library's are never replaced."""
        found = {entry.stem for entry in self.directory.glob("*.py")}
        found |= {entry.parent.name for entry in self.directory.glob("*/__init__.py")}
        return frozenset(found - sys.stdlib_module_names)
