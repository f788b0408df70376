"""Who wrote a line, where lines of several processes come one by one: through a pipe, and in a log's file.

A Collaborator passes on to its Envoy what its worker writes, in the same pipe as its own lines: what is the worker's
begins with a control character, which no line of the worker can hold, since it is made printable before.

In a log's file the writer is the first word of a line, for people; which processes may write to the file is known, so
that a line's first word is not taken for a writer who cannot have written it.
"""

WORKER_MARK = "\x1e"
AGGREGATOR, COLLABORATOR, ENVOY, WORKER = "aggregator", "collaborator", "envoy", "worker"
_AT_A_SITE = frozenset({COLLABORATOR, ENVOY, WORKER})


def marked(line: str) -> str:
    """Return a printable line of the worker as it goes through the Collaborator's pipe."""
    return f"{WORKER_MARK}{line}"


def unmarked(line: str) -> tuple[bool, str]:
    """Return whether a line of the pipe is the worker's, and the line."""
    return line.startswith(WORKER_MARK), line.removeprefix(WORKER_MARK)


def writer_at(source: str, role: str) -> str:
    """Return the role of a source's lines, as far as it may have that role."""
    if source == AGGREGATOR:
        return AGGREGATOR
    return role if role in _AT_A_SITE else COLLABORATOR


def to_file(source: str, role: str, line: str) -> str:
    """Return a line as the Director's file of a source has it."""
    return line if source == AGGREGATOR else f"{role}: {line}"


def from_file(source: str, line: str) -> tuple[str, str]:
    """Return who wrote a line of the Director's file of a source, and what.

    A line without a writer is a note on what is missing, or a Collaborator's of the version 0.1.0.
    """
    if source == AGGREGATOR:
        return AGGREGATOR, line
    role, colon, text = line.partition(": ")
    return (role, text) if colon and role in _AT_A_SITE else (COLLABORATOR, line)
