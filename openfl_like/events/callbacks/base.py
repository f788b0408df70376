"""What a callback is, and the folder that it writes into."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from openfl_like.federation.announcements import Announced
from openfl_like.processes.usage import file_bytes
from openfl_like.store.files import ExperimentFiles


class ResultsFullError(Exception):
    """A callback would write more than it may."""


MOST_ENTRIES = 4096
"""So many files and folders a callback may have."""


@dataclass(frozen=True, slots=True)
class FolderUse:
    """What there is below a folder.

    Attributes:
        size_bytes: Bytes that the files have, or take on the disk if that is more.
        entries: How many files and folders there are.
    """

    size_bytes: int
    entries: int

    def excess(self, most_bytes: int) -> str:
        """Say what is more than may be; empty if nothing is."""
        if self.size_bytes > most_bytes:
            return f"its files have {self.size_bytes:,} bytes, the limit is {most_bytes:,}"
        return f"it has more than {MOST_ENTRIES:,} files" if self.entries > MOST_ENTRIES else ""


def folder_use(folder: Path) -> FolderUse:
    """Look how much there is below a folder; what goes meanwhile does not count."""
    total, count, waiting = 0, 0, [folder]
    while waiting:
        try:
            entries = list(os.scandir(waiting.pop()))
        except OSError:
            continue
        count += len(entries)
        for entry in entries:
            try:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
                else:
                    total += file_bytes(entry.stat(follow_symlinks=False))
            except OSError:
                continue
    return FolderUse(total, count)


@dataclass(slots=True)
class ResultsFolder:
    """The folder of one callback.

    A callback is told the whole history in every life of its process, so it makes its files anew each time: the first
    `append` to a file begins it, and `replace` gives it its new content at once.

    Attributes:
        directory: Where the files are.
        experiment: The record of the experiment, for reading.
        most_bytes: So many bytes its files may have in all.
    """

    directory: Path
    experiment: ExperimentFiles
    most_bytes: int
    _begun: set[str] = field(default_factory=set)

    def append(self, name: str, data: bytes) -> None:
        """Write at the end of a file, which the first call in this process begins."""
        with (self.directory / name).open("ab" if name in self._begun else "wb") as file:
            file.write(data)
        self._begun.add(name)

    def replace(self, name: str, data: bytes) -> None:
        """Write a file whole: whoever reads it has the former one or this."""
        part = self.part(name)
        part.write_bytes(data)
        self.place(name)

    def part(self, name: str) -> Path:
        """Return where a file is written until `place` gives it its name."""
        return self.directory / f".{name}.part"

    def place(self, name: str) -> None:
        """Give a file that is complete its name."""
        self.part(name).replace(self.directory / name)

    def check(self) -> None:
        """Raise ResultsFullError if there is more in it than may be."""
        excess = folder_use(self.directory).excess(self.most_bytes)
        if excess:
            raise ResultsFullError(excess)


class Callback(Protocol):
    """A subscriber: it is told every event of an experiment, and writes files for people.

    It lives in a process of its own, with nothing but its settings, the events and its folder; whatever it does, the
    experiment goes on. In every life of its process it is told the history from the first event on, and makes the same
    files again.
    """

    def take(self, events: Sequence[Announced]) -> None:
        """Learn from events, in their order; each comes once."""

    def write(self, folder: ResultsFolder) -> None:
        """Bring the files up to what is known by now; called after one `take` or several."""

    def finish(self, folder: ResultsFolder) -> None:
        """Complete the files: there will be no more events in the life of this process. `write` was called before."""
