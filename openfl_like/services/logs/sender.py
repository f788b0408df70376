"""The lines of a child: into a file here, and on to the Director in batches."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from openfl_like.failpoints import failpoint
from openfl_like.federation.parties import LogLines
from openfl_like.services.logs.rate_limit import LineFilter
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
        role: Stands before the lines that are sent, for those who did not come from a Collaborator.
    """

    def __init__(self, route: LogRoute, path: Path, role: str = "") -> None:
        self._route, self._role = route, role
        self._file = LogFile(path)
        self._lines: list[str] = []
        self._timer: asyncio.TimerHandle | None = None

    def add(self, line: str) -> None:
        """Takes one line."""
        line = line[:LOG_LINE_LIMIT]
        self._lines.append(line)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOG_BATCH_S, self._send_batch)

    def flush(self) -> None:
        """Sends what is left and closes the file; the next line opens it again."""
        if self._timer is not None:
            self._timer.cancel()
        self._send_batch()
        if self._route.outlet is not None:
            self._send(self._route.outlet.settle())
        self._file.close()

    def _send_batch(self) -> None:
        self._timer = None
        if self._lines:
            lines, self._lines = self._lines, []
            self._file.write(lines)
            failpoint("envoy.log.written")
            texts = [f"{self._role}: {line}" for line in lines] if self._role else lines
            self._send(texts if self._route.outlet is None else self._route.outlet.admit(texts))

    def _send(self, lines: list[str]) -> None:
        if lines:
            self._route.send(LogLines(self._route.experiment, self._route.source, tuple(lines)))
