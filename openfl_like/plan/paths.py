"""Paths as people write them: ``~`` and ``$HOME`` are the home directory, never the name of a folder."""

import os
import re
from pathlib import Path

_HOME = re.compile(r"(?:~|\$HOME|\$\{HOME\})(?=/|$)")
_OTHERS_HOME = re.compile(r"~[^/]+")
_VARIABLE = re.compile(r"(?:^|/)(\$\w+|\$\{[^}/]*\})")


def is_at_home(text: str) -> bool:
    """Whether a text is a path below the home directory."""
    return bool(_HOME.match(text))


def written_path(text: str | Path, home: str = "") -> Path:
    """Return the path that a text means.

    Args:
        text: As it stands in a file or an option. ``./~`` is a name, as in a shell.
        home: The home directory; default: that of the user.

    Raises:
        ValueError: If it begins with the home of a user that there is not, or has a variable other than ``HOME``: only
            shells replace those, and a folder of such a name is never meant.
    """
    written = str(text)
    at_home = _HOME.match(written)
    rest = written[at_home.end() :] if at_home else written
    if variable := _VARIABLE.search(rest):
        raise ValueError(_not_replaced(variable[1]))
    if at_home:
        return Path(home or os.path.expanduser("~")) / rest.lstrip("/")  # noqa: PTH111 (Path.home() may raise)
    if not _OTHERS_HOME.match(written):
        return Path(written)
    found = Path(os.path.expanduser(written))  # noqa: PTH111 (as above)
    if str(found) == written:
        user = written.partition("/")[0]
        raise ValueError(f"there is no user '{user[1:]}' whose home {user} would be; write the path out")
    return found


def _not_replaced(variable: str) -> str:
    if variable in {"$HOME", "${HOME}"}:
        return f"{variable} is replaced at the beginning of a path only; write the path out"
    return f"the variable {variable} is not replaced here, only $HOME is; write the path out"


def path_in_file(value: object) -> object:
    """Read a path of a YAML file like `written_path`; what is no text is left for the schema to refuse."""
    return written_path(value) if isinstance(value, str) else value
