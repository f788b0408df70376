"""Removing a folder that submitted code has filled: however deep it is, and whatever is in it."""

import contextlib
import itertools
import os
import stat
from pathlib import Path


def remove_tree(folder: Path) -> None:
    """Remove a folder with all that is in it, as far as that is possible; links are removed, not followed.

    The standard library's function calls itself for each level, and code can make more levels than Python can call; a
    path to the lowest one may be longer than the system takes. So what is in a folder within this one is first moved
    up into this one, under another name: no level is ever entered.

    Args:
        folder: It need not be there. A link in its place stays.
    """
    with contextlib.suppress(OSError):
        if not stat.S_ISDIR(folder.lstat().st_mode):
            return
        names = map("removed-{}".format, itertools.count())
        while folders := [entry for entry in _entries(folder) if _remove_unless_folder(entry)]:
            if not sum(_lift(inner, folder, names) for inner in folders):
                return  # nothing can be moved: it belongs to somebody else
        folder.rmdir()


def _entries(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        return [folder / entry.name for entry in entries]


def _remove_unless_folder(entry: Path) -> bool:
    """Remove what is not a folder; tell whether it is one."""
    if stat.S_ISDIR(entry.lstat().st_mode):
        return True
    entry.unlink()
    return False


def _lift(inner: Path, folder: Path, names: "map[str]") -> bool:
    """Move what is in a folder up, and remove that; tell whether anything came of it."""
    with contextlib.suppress(OSError):
        inner.chmod(0o700)  # code may have made it without any rights
        for entry in _entries(inner):
            target = folder / next(names)
            while os.path.lexists(target):
                target = folder / next(names)
            entry.rename(target)
        inner.rmdir()
        return True
    return False
