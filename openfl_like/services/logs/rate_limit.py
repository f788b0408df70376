"""How many log lines may go out in a second: what is too much is dropped, counted, and the count is told."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate of lines.

    Attributes:
        lines_per_s: Lines, on average.
        bytes_per_s: Bytes, on average.
        burst_s: So many seconds' worth may come at once.
    """

    lines_per_s: float
    bytes_per_s: float
    burst_s: float

    def __str__(self) -> str:
        return f"{self.lines_per_s:g} lines or {self.bytes_per_s / 1024:g} KiB a second"


SENT = Rate(200.0, float(128 << 10), 10.0)
"""What an Envoy sends to its Director, of all experiments together."""
TAKEN = Rate(400.0, float(256 << 10), 10.0)
"""What a Director takes from one site: an Envoy that keeps to `SENT` does not notice."""


@dataclass(slots=True)
class TokenBucket:
    """What may go out now; it fills with time. Once it is empty it stays closed until a second's worth is in it.

    Args:
        rate: How fast it fills.
        clock: Monotonic seconds.
    """

    rate: Rate
    clock: Callable[[], float] = time.monotonic
    _lines: float = field(init=False)
    _bytes: float = field(init=False)
    _filled_at: float = field(init=False)
    _closed: bool = False

    def __post_init__(self) -> None:
        self._lines, self._bytes = self.rate.lines_per_s * self.rate.burst_s, self.rate.bytes_per_s * self.rate.burst_s
        self._filled_at = self.clock()

    def take(self, size_bytes: int) -> bool:
        """Take a line out of it; False if that is too much now."""
        self._fill()
        least_lines, least_bytes = (self.rate.lines_per_s, self.rate.bytes_per_s) if self._closed else (1.0, 0.0)
        self._closed = self._lines < least_lines or self._bytes < max(least_bytes, float(size_bytes))
        if self._closed:
            return False
        self._lines -= 1.0
        self._bytes -= size_bytes
        return True

    def _fill(self) -> None:
        now = self.clock()
        passed_s, self._filled_at = max(0.0, now - self._filled_at), now
        rate = self.rate
        self._lines = min(self._lines + passed_s * rate.lines_per_s, rate.lines_per_s * rate.burst_s)
        self._bytes = min(self._bytes + passed_s * rate.bytes_per_s, rate.bytes_per_s * rate.burst_s)


class LineFilter(Protocol):
    """Decides which lines of one log are passed on."""

    def admit(self, lines: Iterable[str]) -> list[str]:
        """Return those of the lines that are passed on, and what is to be said of the others."""

    def settle(self) -> list[str]:
        """Return what is still to be said of lines that were not passed on."""


@dataclass(slots=True)
class RateLimited:
    """Passes on what fits into a bucket.

    Args:
        bucket: Others may take out of it, too.
    """

    bucket: TokenBucket
    _dropped: int = 0

    def admit(self, lines: Iterable[str]) -> list[str]:
        """Return those of the lines that fit, with a note where some are missing."""
        passed: list[str] = []
        for line in lines:
            if self.bucket.take(len(line.encode(errors="replace"))):
                passed += [*self.settle(), line]
            else:
                self._dropped += 1
        return passed

    def settle(self) -> list[str]:
        """Return the note on the lines that were dropped last."""
        if not self._dropped:
            return []
        note = f"({self._dropped} lines are missing here: more than {self.bucket.rate} were written)"
        self._dropped = 0
        return [note]


@dataclass(slots=True)
class Withheld:
    """Passes nothing on but the word that it is so, once.

    Args:
        site: Whose lines they are.
    """

    site: str
    _told: bool = False

    @property
    def word(self) -> str:
        """What is said in place of the lines."""
        return f"(site '{self.site}' keeps its logs: logs.share of its shard.yaml is false)"

    def admit(self, lines: Iterable[str]) -> list[str]:  # noqa: ARG002 (the outlet's signature)
        """Return the word, the first time."""
        told, self._told = self._told, True
        return [] if told else [self.word]

    def settle(self) -> list[str]:
        """Return nothing."""
        return []
