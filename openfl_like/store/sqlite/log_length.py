"""How long a write-ahead log is, as nobody tells: its file stays as long when the log begins anew from its start."""

import math

LONG_LOG_BYTES = 4 << 20


class LogLength:
    """Says when a log has become long: by its file while that grows, and by the number of transactions afterwards.

    A log that is moved into the database at every commit costs each of them a sync more, of the log's new beginning.
    """

    def __init__(self) -> None:
        self._transactions = 0
        self._enough = math.inf
        self._file_bytes = 0

    def committed(self) -> None:
        """Count a transaction; one that only reads counts as well, as all are estimated alike."""
        self._transactions += 1

    def is_long(self, file_bytes: int) -> bool:
        """Whether the log is worth moving.

        Args:
            file_bytes: How long its file is.
        """
        return self._transactions >= self._enough or file_bytes > self._file_bytes + LONG_LOG_BYTES

    def moved(self, log_bytes: int, file_bytes: int) -> None:
        """Take it that the log was moved, and learn how many transactions make a long one.

        Args:
            log_bytes: How long it was.
            file_bytes: How long its file is.
        """
        self._enough = max(1, math.floor(self._transactions * LONG_LOG_BYTES / max(log_bytes, 1)))
        self._file_bytes, self._transactions = file_bytes, 0
