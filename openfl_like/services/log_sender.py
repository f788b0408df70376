"""The lines of a child: into a file here, and on to the Director in batches."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from openfl_like.failpoints import failpoint
from openfl_like.federation.parties import LogLines
from openfl_like.store.logs import LogFile

LOG_BATCH_S = 0.2
LOG_LINE_LIMIT = 4000


class LogSender:
    """Writes a child's lines to its log here and sends them on in batches.

    Args:
        experiment: Whose log it is.
        source: The site.
        path: The log file at this site.
        send: Takes a report for the Director.
    """

    def __init__(self, experiment: str, source: str, path: Path, send: Callable[[LogLines], None]) -> None:
        self._experiment = experiment
        self._source = source
        self._file = LogFile(path)
        self._send = send
        self._lines: list[str] = []
        self._timer: asyncio.TimerHandle | None = None

    def add(self, line: str) -> None:
        """Takes one line."""
        line = line[:LOG_LINE_LIMIT]
        self._lines.append(line)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOG_BATCH_S, self._send_batch)

    def flush(self) -> None:
        """Sends what is left and closes the file."""
        if self._timer is not None:
            self._timer.cancel()
        self._send_batch()
        self._file.close()

    def _send_batch(self) -> None:
        self._timer = None
        if self._lines:
            self._file.write(self._lines)
            failpoint("envoy.log.written")
            self._send(LogLines(self._experiment, self._source, tuple(self._lines)))
            self._lines = []
