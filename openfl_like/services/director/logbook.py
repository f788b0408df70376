"""The logs of all experiments at the Director: what sites send is written down, and read by users while it comes.

A follower reads the files, each from its own position: nothing is kept in memory for one that is slow, and nobody waits
for it. If it is so slow that a file has gone meanwhile, it is told how much it has missed.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from openfl_like.errors import FederationError, NotFoundError, UsageError
from openfl_like.failpoints import failpoint
from openfl_like.federation.parties import LOG_ROLES, LogLines, LogQuery
from openfl_like.services.logs.rate_limit import TAKEN, RateLimited, TokenBucket
from openfl_like.services.logs.sender import LOG_LINE_LIMIT
from openfl_like.services.logs.writers import from_file, to_file, writer_at
from openfl_like.store.logs import LogFile, LogPiece, read_log

PAUSE_S = 0.2
"""A follower is woken once in so long at most."""
LAST_LINES_S = 15.0
"""So long a follower waits after the end of an experiment for sites that are connected and still work for it."""
WRITERS = 4096
PIECES = 16


@dataclass(slots=True)
class _Writer:
    """One log that is written."""

    file: LogFile
    outlet: RateLimited

    def write(self, lines: list[str]) -> None:
        if lines:
            self.file.write(lines)
            self.file.close()


@dataclass(slots=True, eq=False)
class _Follower:
    """Somebody who reads on."""

    experiment: str
    pause_s: float
    news: asyncio.Event = field(default_factory=asyncio.Event)
    changed: set[str] = field(default_factory=set)
    waking: asyncio.TimerHandle | None = None
    last_s: float | None = None

    def tell(self, source: str = "") -> None:
        """Wake the follower in a moment."""
        if source:
            self.changed.add(source)
        if self.waking is None:
            self.waking = asyncio.get_running_loop().call_later(self.pause_s, self.news.set)

    def patience_s(self, begin_s: float = 0.0) -> float | None:
        """How long is waited for last lines; None: as long as it takes.

        Args:
            begin_s: Begin with so many seconds, if that has not begun.
        """
        now = asyncio.get_running_loop().time()
        if self.last_s is None and begin_s:
            self.last_s = now + begin_s
        return None if self.last_s is None else max(0.0, self.last_s - now)

    def close(self) -> None:
        """Stop waking it."""
        if self.waking is not None:
            self.waking.cancel()

    async def wait(self, timeout_s: float | None) -> set[str]:
        """Wait for news, or until the time has passed; return the sources that have some."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self.news.wait()
        self.news.clear()
        self.waking = None
        changed, self.changed = self.changed, set()
        return changed


@dataclass(slots=True)
class LogBook:
    """Takes log lines and gives them out.

    Args:
        directory: Gives an experiment's directory of logs; raises NotFoundError if there is no such experiment.
        ended: Whether an experiment has ended.
        working: Gives the connected sites that work for an experiment.
        pause_s: Seconds between two times that a follower is told something.
        last_lines_s: Seconds that are waited for last lines when an experiment has ended.
        most_pieces: Of one log, before the others have their turn.
    """

    directory: Callable[[str], Path]
    ended: Callable[[str], bool]
    working: Callable[[str], Sequence[str]]
    pause_s: float = PAUSE_S
    last_lines_s: float = LAST_LINES_S
    most_pieces: int = PIECES
    _writers: OrderedDict[tuple[str, str], _Writer] = field(default_factory=OrderedDict)
    _buckets: dict[str, TokenBucket] = field(default_factory=dict)
    _followers: set[_Follower] = field(default_factory=set)

    def take(self, lines: LogLines) -> None:
        """Write down what a site has sent; what it sends too fast is dropped, and so is what belongs to nothing."""
        with contextlib.suppress(FederationError):  # of nothing that is known, or of a row that is damaged
            writer = self._writer(lines.experiment, lines.source)
            failpoint("director.log.before")
            role = writer_at(lines.source, lines.role)
            taken = writer.outlet.admit(line[:LOG_LINE_LIMIT] for line in lines.lines)
            writer.write([to_file(lines.source, role, line) for line in taken])
            failpoint("director.log.after")
            self.tell(lines)

    def has(self, experiment: str, source: str) -> bool:
        """Whether a source has written something for an experiment."""
        with contextlib.suppress(FederationError):
            return (self.directory(experiment) / f"{source}.log").exists()
        return False

    def tell(self, lines: LogLines) -> None:
        """Tell followers of lines that are written down."""
        for follower in self._followers:
            if follower.experiment == lines.experiment:
                follower.tell(lines.source)

    def wake(self, experiment: str = "") -> None:
        """Have followers of an experiment, or of all, look whether it has come to its end."""
        for follower in self._followers:
            if experiment in {"", follower.experiment}:
                follower.tell()

    def read(self, experiment: str, query: LogQuery) -> AsyncGenerator[LogLines]:
        """Return the lines of an experiment that a query asks for; the last value says that nothing follows.

        Raises:
            NotFoundError: If there is no such experiment, or no log of this source.
            UsageError: If there is no such role.
        """
        if query.role not in {"", *LOG_ROLES}:
            raise UsageError(f"there is no role '{query.role}'", cure=f"there are {', '.join(LOG_ROLES)}")
        self._settle(experiment)
        return self._follow(experiment, query) if query.follow else self._stored(experiment, query)

    async def _stored(self, experiment: str, query: LogQuery) -> AsyncGenerator[LogLines]:
        sources = self._sources(experiment, query.source)
        if query.source and not sources:
            known = ", ".join(self._sources(experiment, "")) or "none yet"
            raise NotFoundError(
                f"'{query.source}' has written no log for '{experiment}'", cure=f"logs are there from: {known}"
            )
        reader = _Reader(experiment, query, self.most_pieces)
        changed: set[str] | None = None
        while changed is None or reader.behind:
            async for lines in reader.read(sources, changed):
                yield lines
            changed = set()
        yield _end(experiment)

    async def _follow(self, experiment: str, query: LogQuery) -> AsyncGenerator[LogLines]:
        """Read what is there, and then again and again what came, until nothing more can come."""
        reader, follower = _Reader(experiment, query, self.most_pieces), _Follower(experiment, self.pause_s)
        changed: set[str] | None = None
        self._followers.add(follower)
        try:
            while True:
                over = self._over(follower)
                async for lines in reader.read(self._sources(experiment, query.source), None if over else changed):
                    yield lines
                if over and not reader.behind:
                    break
                changed = await follower.wait(0.0 if reader.behind else follower.patience_s())
        finally:
            self._followers.discard(follower)
            follower.close()
        if late := sorted(self.working(experiment)):
            yield _note(experiment, f"(nothing more came within {self.last_lines_s:g} s from: {', '.join(late)})")
        yield _end(experiment)

    def _over(self, follower: _Follower) -> bool:
        """Whether nothing more can come, or has come for too long."""
        if not self.ended(follower.experiment):
            follower.last_s = None
            return False
        patience_s = follower.patience_s(self.last_lines_s)
        over = not self.working(follower.experiment) or patience_s == 0.0
        if over:
            self._settle(follower.experiment)
        return over

    def _sources(self, experiment: str, source: str) -> dict[str, Path]:
        found = {path.stem: path for path in sorted(self.directory(experiment).glob("*.log"))}
        return {name: path for name, path in found.items() if source in {"", name}}

    def _writer(self, experiment: str, source: str) -> _Writer:
        key = experiment, source
        if key not in self._writers:
            path = self.directory(experiment) / f"{source}.log"
            bucket = self._buckets.setdefault(source, TokenBucket(TAKEN))
            self._writers[key] = _Writer(LogFile(path), RateLimited(bucket))
            if len(self._writers) > WRITERS:
                _, oldest = self._writers.popitem(last=False)
                oldest.write(oldest.outlet.settle())
        self._writers.move_to_end(key)
        return self._writers[key]

    def _settle(self, experiment: str) -> None:
        """Have the logs say what is missing at their ends."""
        for (name, _), writer in self._writers.items():
            if name == experiment:
                writer.write(writer.outlet.settle())


class _Reader:
    """Reads the logs of an experiment from where somebody knows them.

    Args:
        experiment: Which one.
        query: What is wanted of it.
        most_pieces: Of one log, before the others have their turn.
    """

    def __init__(self, experiment: str, query: LogQuery, most_pieces: int) -> None:
        self._most_pieces = most_pieces
        self._experiment, self._role = experiment, query.role
        self._positions = dict(query.after)
        self.behind: set[str] = set()

    async def read(self, sources: Mapping[str, Path], changed: set[str] | None) -> AsyncIterator[LogLines]:
        """Yield what there is after the known positions, which are then known.

        It ends early where one log has so much that the others would have to wait; that log is then `behind`.

        Args:
            sources: The logs that there are.
            changed: Those that have news; None: any.
        """
        for source, path in sources.items():
            if changed is None or source in changed | self.behind:
                async for lines in self._read(source, path):
                    yield lines

    async def _read(self, source: str, path: Path) -> AsyncIterator[LogLines]:
        self.behind.add(source)
        for _ in range(self._most_pieces):
            piece = await asyncio.to_thread(read_log, path, self._positions.get(source, 0))
            if not piece.lines:
                self.behind.discard(source)
                return
            self._positions[source] = piece.ends[-1]
            for lines in self._parts(source, piece):
                yield lines

    def _parts(self, source: str, piece: LogPiece) -> Iterator[LogLines]:
        """Cut a piece by roles; each part says where it ends."""
        if piece.missing_bytes:
            text = f"({piece.missing_bytes:,} bytes of '{source}' before this are not kept any more)"
            yield _note(self._experiment, text, source)
        written = [(*from_file(source, line), end) for line, end in zip(piece.lines, piece.ends, strict=True)]
        for role, part in groupby(written, itemgetter(0)):
            _, lines, ends = zip(*part, strict=True)
            if self._role in {"", role}:
                yield LogLines(self._experiment, source, lines, role, ends[-1])


def _note(experiment: str, text: str, source: str = "director") -> LogLines:
    return LogLines(experiment, source, (text,), "director")


def _end(experiment: str) -> LogLines:
    return LogLines(experiment, "", (), complete=True)
