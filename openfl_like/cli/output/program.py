"""What somebody types to start the program that runs now."""

import os
import shlex
import shutil
import sys
from pathlib import Path

NAME = "fx"
_MODULE = "__main__.py"
"""What is started by ``python -m``."""


def program(started: Path | None = None) -> str:
    """Return the command that starts this very program, for a shell in the present folder.

    It is ``fx`` only if a shell would find this one by that name; in a virtual environment that is not active, it is
    the path of the program.

    Args:
        started: What runs; None: this process.
    """
    path = started if started is not None else Path(sys.argv[0])
    if path.name == _MODULE:
        return f"{_typed(Path(sys.executable))} -m openfl_like"
    found = shutil.which(NAME)
    if found is not None and path.exists() and path.samefile(found):
        return NAME
    return _typed(path)


def _typed(path: Path) -> str:
    """Return a path as a shell takes it for a program, below the present folder as a relative one."""
    try:
        whole, here = path.absolute(), Path.cwd()
    except FileNotFoundError:  # the folder in which it was started is gone
        return shlex.quote(str(path))
    if not whole.is_relative_to(here):
        return shlex.quote(str(whole))
    near = str(whole.relative_to(here))
    return shlex.quote(near if os.sep in near else f"{os.curdir}{os.sep}{near}")
