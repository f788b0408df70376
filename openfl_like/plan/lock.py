"""``requirements.lock`` of a workspace: exact wheels by hash, and nothing else that pip would take from such a file.

One line for each package, ``name==version --hash=sha256:…``, with extras, a marker and more hashes if need be. Options,
URLs, paths and included files would let whoever writes the file choose where a site looks; they are refused.
"""

import re
from collections.abc import Iterable, Mapping

from openfl_like.errors import RequirementsError

LOCK_NAME = "requirements.lock"
MAX_BYTES = 1024 * 1024
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_LINE = re.compile(
    rf"(?P<name>{_NAME})(?P<extras>\[{_NAME}(?:\s*,\s*{_NAME})*\])?==(?P<version>[A-Za-z0-9][A-Za-z0-9.!+_]*)"
    r"(?:\s*;\s*(?P<marker>[A-Za-z0-9_ .<>=!~'\"()]+?))?"
    r"(?P<hashes>(?:\s+--hash=sha256:[0-9a-f]{64})+)"
)


def read_lock(data: bytes, place: str = LOCK_NAME) -> tuple[str, ...]:
    """Return the requirements, each as one canonical line, sorted.

    Args:
        data: The file.
        place: Its name, for messages.

    Raises:
        RequirementsError: At the first line that is anything but an exact version with hashes; the message has it.
    """
    if len(data) > MAX_BYTES:
        raise RequirementsError(f"it is larger than {MAX_BYTES} bytes", place=place)
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError as error:
        raise RequirementsError("it has other characters than ASCII", place=place) from error
    found: dict[str, str] = {}
    for number, line in _logical_lines(text):
        match = _LINE.fullmatch(line)
        if match is None:
            cure = "write name==version --hash=sha256:…, as 'fx workspace lock' does"
            raise RequirementsError(
                f"'{line[:120]}' is not an exact version with hashes", place=f"{place}:{number}", cure=cure
            )
        name = re.sub(r"[-_.]+", "-", match["name"]).lower()
        if name in found:
            raise RequirementsError(f"'{name}' is there twice", place=f"{place}:{number}")
        found[name] = _canonical(name, match)
    return tuple(found[name] for name in sorted(found))


def write_lock(wheels: Iterable[Mapping[str, str]]) -> str:
    """Write a lock.

    Args:
        wheels: ``name``, ``version`` and ``sha256`` of each.
    """
    lines = [f"{wheel['name']}=={wheel['version']} --hash=sha256:{wheel['sha256']}" for wheel in wheels]
    return "\n".join(read_lock("\n".join(lines).encode())) + "\n"


def _canonical(name: str, match: re.Match[str]) -> str:
    marker = f" ; {' '.join(match['marker'].split())}" if match["marker"] else ""
    hashes = " ".join(sorted(set(match["hashes"].split())))
    return f"{name}{''.join((match['extras'] or '').split())}=={match['version']}{marker} {hashes}"


def _logical_lines(text: str) -> Iterable[tuple[int, str]]:
    """Join lines that end in a backslash; leave comments and empty lines out."""
    pending, start = "", 0
    for number, raw in enumerate(text.splitlines(), start=1):
        line = re.sub(r"(^|\s)#.*", "", raw).strip()
        start = start or number
        pending = f"{pending} {line.removesuffix(chr(92))}".strip()
        if line.endswith("\\"):
            continue
        if pending:
            yield start, pending
        pending, start = "", 0
    if pending:
        yield start, pending
