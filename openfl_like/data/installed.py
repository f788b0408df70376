"""Data files of installed packages: the package is only located, never imported, since its imports cost seconds."""

import importlib.util
from pathlib import Path

from openfl_like.errors import ShardError


def installed_file(package: str, name: str, install: str) -> Path:
    """Find a data file of an installed package.

    Args:
        package: The top-level package.
        name: The file, relative to the package's folder.
        install: The command that installs the package, for the message.

    Raises:
        ShardError: If the package or the file is not there.
    """
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise ShardError(f"the data comes with the package '{package}', which is not installed", cure=install)
    path = Path(found.origin).parent / name
    if not path.is_file():
        raise ShardError(f"the package '{package}' has no file {name}", cure=install)
    return path
