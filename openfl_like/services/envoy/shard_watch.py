"""Data that changes while the Envoy runs is described anew: nobody goes by what the shard was like at the start."""

import asyncio
import logging
import os
import stat
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

from openfl_like.data.shard_file import ShardConfig, load_shard_config
from openfl_like.errors import FederationError, SettingsError
from openfl_like.federation.parties import DataProblem, ShardFacts
from openfl_like.processes.sandbox.reach import site_paths
from openfl_like.services.envoy.shards import describe_shards, load_shards

log = logging.getLogger(__name__)
PERIOD_S = 10.0
MOST_FILES = 10_000
"""So many files and folders of one shard are looked at; what is beyond them may change unseen."""

FileFact = tuple[str, int, int]
"""Path, size and time of the last change of a file; of what cannot be looked at `UNREADABLE` and the error's number."""

Signature = frozenset[FileFact]
"""The facts of whatever belongs to the shards of a site."""

UNREADABLE = -1
"""In place of a size."""


def signature(shards: Iterable[Path], most: int = MOST_FILES) -> Signature:
    """Look at each shard.yaml and at whatever ``params`` and ``reads`` in it name, and its code; read none of it.

    Args:
        shards: The shard.yaml files.
        most: So many files and folders of each are looked at.
    """
    found = (islice(chain.from_iterable(map(_walk, _paths(shard))), most) for shard in shards)
    return frozenset(fact for fact in chain.from_iterable(found) if fact is not None)


def _paths(shard: Path) -> tuple[Path, ...]:
    try:
        found = site_paths(shard, load_shard_config(shard))
        return tuple(sorted(found, key=os.path.isdir))  # a folder of many files leaves none of the others out
    except (SettingsError, OSError):
        return (shard,)


def _walk(top: Path) -> Iterator[FileFact | None]:
    """Yield the fact of each file below a path, and None for whatever else is there, folder by folder as it is asked.

    Links to folders are not followed, but for the path itself.
    """
    waiting = [top]
    while waiting:
        path = waiting.pop()
        try:
            status = path.stat()
            if stat.S_ISDIR(status.st_mode) and (path is top or not path.is_symlink()):
                waiting.extend(sorted(path.iterdir(), reverse=True))
        except (FileNotFoundError, NotADirectoryError):  # it has gone, or is a link to nothing
            yield None
        except OSError as error:
            yield str(path), UNREADABLE, error.errno or 0
        else:
            counts = stat.S_ISREG(status.st_mode) and path.suffix != ".pyc"
            yield (str(path), status.st_size, status.st_mtime_ns) if counts else None


@dataclass(slots=True)
class ShardWatch:
    """Has the shards of a site described again when their files have changed, and have been left alone since.

    Args:
        shards: The site's shard.yaml files.
        facts: As they were described last.
        described: How the files were before that.
        directory: Where the process works that loads one.
        changed: Called when the facts are others, and when nobody can work on the data any more, or can again.
        period_s: Seconds between two looks.
        describe: Describes the shards.

    Attributes:
        problem: Why nobody can work on the data as it is now; None: it can be worked on. It quotes nothing of it.
    """

    shards: tuple[Path, ...]
    facts: tuple[ShardFacts, ...]
    described: Signature
    directory: Path
    changed: Callable[[], None]
    period_s: float = PERIOD_S
    describe: Callable[[Mapping[Path, ShardConfig], Path], Awaitable[tuple[ShardFacts, ...]]] = describe_shards
    problem: DataProblem | None = None
    _seen: Signature = field(default_factory=frozenset)
    _unreadable: set[str] = field(default_factory=set)

    async def keep(self) -> None:
        """Look again and again until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self.period_s)

    async def look(self) -> None:
        """Look now; what differs from how it was described is described anew when two looks have found it alike."""
        now = await asyncio.to_thread(signature, self.shards)
        self._warn_of_unreadable(now)
        settled, self._seen = now == self._seen, now
        if settled and now != self.described:  # not while somebody writes
            self.described = now
            await self._describe()

    def _warn_of_unreadable(self, now: Signature) -> None:
        """Say what cannot be looked at, each path once however long that lasts."""
        found = {path: number for path, size, number in now if size == UNREADABLE and path not in self._unreadable}
        if found:
            self._unreadable.update(found)
            first, more = min(found), len(found) - 1
            log.warning(
                "%s%s cannot be looked at: %s; whether the data there changes is not noticed until it can be read",
                first, f" and {more} more" if more else "", os.strerror(found[first]),
            )  # fmt: skip

    async def _describe(self) -> None:
        log.info("files of the site's data have changed; it is described anew")
        try:
            facts = await self.describe(load_shards(self.shards), self.directory)
        except (FederationError, OSError) as error:
            log.warning("the data has changed and cannot be used: %s; orders are refused until it can", error)
            self._conclude(self.facts, DataProblem())
            return
        problem = next(filter(None, map(_difference, self.facts, facts)), None)
        if problem is not None:
            log.warning("%s; orders are refused (restart the envoy if that is meant)", problem)
        self._conclude(self.facts if problem is not None else facts, problem)

    def _conclude(self, facts: tuple[ShardFacts, ...], problem: DataProblem | None) -> None:
        if (facts, problem) != (self.facts, self.problem):
            self.facts, self.problem = facts, problem
            self.changed()


def _difference(known: ShardFacts, found: ShardFacts) -> DataProblem | None:
    """Return what is different about a shard of which the federation has agreed on something else."""
    problem = DataProblem(known.shapes, found.shapes)
    return None if problem.agreed == problem.found else problem
