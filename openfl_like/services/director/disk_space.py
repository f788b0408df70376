"""Whether a daemon's directories have room: it says so before somebody's work is lost, and again when there is some."""

import asyncio
import logging
import os
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from openfl_like.errors import StorageError, no_room

log = logging.getLogger(__name__)
PERIOD_S = 2.0
NEEDED_BYTES = 1 << 18
CURE = "make room: 'fx experiment remove ID' removes one that has ended; it goes on by itself then"


@dataclass(slots=True)
class DiskSpace:
    """Watches directories.

    Args:
        places: Gives them; they may be on several disks.
        name: What a place is called where anybody may read it; the log has its path.

    Attributes:
        problems: What is wrong now, for anybody.
    """

    places: Callable[[], Iterable[Path]]
    name: Callable[[Path], str] = str
    problems: tuple[str, ...] = ()
    _full: tuple[Path, ...] = ()
    _better: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._better.set()

    async def watch(self) -> None:
        """Look again and again until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(PERIOD_S)

    async def look(self) -> None:
        """Look now, and say in the log when it has changed."""
        found = await asyncio.to_thread(_find, list(dict.fromkeys(self.places())))
        if found != self._full:
            if found:
                log.warning("degraded: %s (%s)", "; ".join(map(_lacking, found)), CURE)
            else:
                log.warning("there is room again")
        self._full = found
        self.problems = tuple(dict.fromkeys(_lacking(self.name(place)) for place in found))
        if found:
            self._better.clear()
        else:
            self._better.set()

    async def wait(self) -> None:
        """Wait until there is room; a second at least, for those who try again."""
        await asyncio.sleep(1.0)
        await self.look()
        await self._better.wait()

    def check(self) -> None:
        """Raise StorageError if there is no room."""
        if self.problems:
            raise StorageError("; ".join(self.problems), cure=CURE)


def _lacking(place: Path | str) -> str:
    return f"there is no room on the disk of {place}"


def _find(places: Iterable[Path]) -> tuple[Path, ...]:
    found = []
    for place in places:
        try:
            take_room(place)
        except OSError as error:
            if no_room(error) is not None:
                found.append(place)
    return tuple(found)


def take_room(place: Path) -> None:
    """Take room for a moment, under no name, or raise OSError: free space alone says nothing of quotas."""
    with tempfile.TemporaryFile(dir=place) as file:
        os.posix_fallocate(file.fileno(), 0, NEEDED_BYTES)
