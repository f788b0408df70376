"""What a Collaborator notes of its work, a line for each assignment, until the Envoy has it in the site's record.

The notes are of our own code, but lie where submitted code has worked: whatever is not such a line is passed over.
"""

from contextlib import suppress
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from openfl_like.federation.failure import MAX_NAME, bounded
from openfl_like.federation.history.site import LastWord, PerformedTasks

MAX_BYTES = 64 << 20
_LINE: TypeAdapter[PerformedTasks | LastWord] = TypeAdapter(PerformedTasks | LastWord)


def note(path: Path, item: PerformedTasks | LastWord) -> None:
    """Add a line; what cannot be written is left out: the work is more than the note of it."""
    with suppress(OSError), path.open("ab") as file:
        file.write(_LINE.dump_json(item) + b"\n")


def notes(path: Path) -> tuple[tuple[PerformedTasks, ...], LastWord | None]:
    """Return what was performed, and what the Aggregator said last of the experiment's end."""
    performed: list[PerformedTasks] = []
    last: LastWord | None = None
    with suppress(OSError), path.open("rb") as file:
        for line in file.read(MAX_BYTES).splitlines():
            with suppress(ValidationError):
                item = _LINE.validate_json(line)
                if isinstance(item, LastWord):
                    last = LastWord(item.status[:MAX_NAME], bounded(item.reason))
                else:
                    performed.append(_bounded(item))
    return tuple(performed), last


def _bounded(item: PerformedTasks) -> PerformedTasks:
    tasks = tuple(bounded(name, MAX_NAME) for name in item.tasks)
    return PerformedTasks(item.time, item.round, item.phase, tasks, bounded(item.failure))
