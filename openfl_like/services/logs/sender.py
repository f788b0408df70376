"""The lines of a child: into a file here, and on to the Director in batches."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from openfl_like.failpoints import failpoint
from openfl_like.federation.parties import LogLines
from openfl_like.services.logs.rate_limit import LineFilter
from openfl_like.services.logs.writers import WORKER, unmarked
from openfl_like.store.logs import LogFile

LOG_BATCH_S = 0.2
LOG_LINE_LIMIT = 4000


@dataclass(frozen=True, slots=True)
class LogRoute:
    """Where the lines of an experiment go from here.

    Attributes:
        experiment: Whose log it is.
        source: The site, or ``aggregator``.
        send: Takes lines that go on.
        outlet: Says which do; None: all.
        shared: Whether any do: what a process wrote last may then be told, too, when it ends.
    """

    experiment: str
    source: str
    send: Callable[[LogLines], None]
    outlet: LineFilter | None = None
    shared: bool = True


class LogSender:
    """Writes a child's lines to its log here and sends them on in batches.

    Args:
        route: Where they are sent.
        path: The log file here, which gets all of them.
        role: Who writes the lines, but for those that are marked as the worker's.
        batch_s: Seconds that a line waits for others.
    """

    def __init__(self, route: LogRoute, path: Path, role: str, batch_s: float = LOG_BATCH_S) -> None:
        self._route, self._role, self._batch_s = route, role, batch_s
        self._file = LogFile(path)
        self._lines: list[tuple[str, str]] = []
        self._timer: asyncio.TimerHandle | None = None

    def add(self, line: str) -> None:
        """Take one line."""
        workers, text = unmarked(line)
        self._lines.append((WORKER if workers else self._role, text[:LOG_LINE_LIMIT]))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._batch_s, self._send_batch)

    def flush(self) -> None:
        """Send what is left and close the file; the next line opens it again."""
        if self._timer is not None:
            self._timer.cancel()
        self._send_batch()
        if self._route.outlet is not None:
            self._send(self._role, self._route.outlet.settle())
        self._file.close()

    def _send_batch(self) -> None:
        self._timer = None
        if self._lines:
            lines, self._lines = self._lines, []
            self._file.write(text if role == self._role else f"{role}: {text}" for role, text in lines)
            failpoint("envoy.log.written")
            for role, part in groupby(lines, itemgetter(0)):
                texts = [text for _, text in part]
                self._send(role, texts if self._route.outlet is None else self._route.outlet.admit(texts))

    def _send(self, role: str, lines: list[str]) -> None:
        if lines:
            self._route.send(LogLines(self._route.experiment, self._route.source, tuple(lines), role))
