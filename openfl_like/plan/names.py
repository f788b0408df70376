"""How names are written, and which files may be in a bundle: one set of rules for the packer and the extractor.

What these rules allow means the same file on every system: plain ASCII names that differ by more than case, no links,
no special files. What is local to a machine (data, shard descriptors, keys, logs, caches, hidden files) is never
packed.
"""

import re

TAG_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._=+-]{0,62}"
NAME_PATTERN = r"[a-z0-9][a-z0-9_-]{0,62}"
"""Names of plans, tasks, sites and whoever else has a certificate."""
EXPERIMENT_PATTERN = r"[a-z0-9][a-z0-9_-]{0,47}-[0-9a-f]{8}"
"""Ids that a Director gives to experiments: the plan's name, cut, and eight hexadecimal digits."""
MAX_ENTRIES = 10_000
MAX_TOTAL_BYTES = 64 * 1024 * 1024
MAX_BUNDLE_BYTES = MAX_TOTAL_BYTES + (16 << 20)
"""Of a bundle's file: its content and the archive's own headers."""
MAX_PATH_CHARS = 200
MAX_DEPTH = 32
PLAN_NAME = "plan.json"

EXCLUDED_AT_TOP = frozenset({"shards", "data", "logs", "certs", "save", "plan.yaml", "shard.yaml"})
EXCLUDED_ANYWHERE = frozenset({"__pycache__"})
EXCLUDED_ENDINGS = (".pyc", ".pyo")

_COMPONENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,98}[A-Za-z0-9_+-]|[A-Za-z0-9_]")
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)


def is_excluded(path: str) -> bool:
    """Whether the packer leaves a file or directory out.

    Args:
        path: Relative to the workspace, with ``/``; so far as its parents are not excluded themselves.
    """
    name = path.rpartition("/")[2]
    hidden = name.startswith(".")
    return hidden or path.lower() in EXCLUDED_AT_TOP or name in EXCLUDED_ANYWHERE or name.endswith(EXCLUDED_ENDINGS)


def rule_against(path: str) -> str:
    """Say which rule a file's path breaks; empty if none."""
    if len(path) > MAX_PATH_CHARS:
        return f"a path has at most {MAX_PATH_CHARS} characters"
    components = path.split("/")
    if len(components) > MAX_DEPTH:
        return f"a path has at most {MAX_DEPTH} parts"
    for length, component in enumerate(components, start=1):
        if not _COMPONENT.fullmatch(component):
            return "a name has 1 to 100 of A-Z, a-z, 0-9 and _ . + -, begins with no dot or sign and ends with no dot"
        if _RESERVED.fullmatch(component):
            return f"'{component}' is a device on some systems"
        if is_excluded("/".join(components[:length])):
            return "such a file is never part of a bundle"
    return ""


class NameSet:
    """The paths of one bundle so far: no two may be the same file on any file system.

    Args:
        most_entries: So many they may be.
    """

    def __init__(self, most_entries: int = MAX_ENTRIES) -> None:
        self._most_entries = most_entries
        self._spellings: dict[str, str] = {}
        self._files: set[str] = set()
        self._directories: set[str] = set()

    def add(self, path: str) -> str:
        """Take a file's path in; say which rule it breaks, empty if none."""
        if len(self._files) >= self._most_entries:
            return f"a bundle has at most {self._most_entries} entries"
        components = path.split("/")
        parts = ["/".join(components[:length]) for length in range(1, len(components) + 1)]
        for part in parts:
            spelling = self._spellings.setdefault(part.lower(), part)
            if spelling != part:
                return f"'{part}' differs from '{spelling}' by case only"
        for parent in parts[:-1]:
            if parent in self._files:
                return f"'{parent}' is a file already"
        if path in self._files:
            return "it stands there twice"
        if path in self._directories:
            return "it is a directory already"
        self._directories.update(parts[:-1])
        self._files.add(path)
        return ""
