"""Standard streams lent to submitted code that runs in our own process: what it does to them does not touch ours."""

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO, cast


class _Lent:
    """A stream that can be used but not closed."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    def close(self) -> None:
        """Keep it open: its owner writes on."""
        self._stream.flush()


class OwnStreams:
    """The standard output that this program prints to."""

    def __init__(self) -> None:
        self.lent_out: TextIO | None = None
        """What is lent; None while nothing is."""

    @property
    def out(self) -> TextIO:
        """Standard output, whatever lent code has put in its place."""
        return sys.stdout if self.lent_out is None else self.lent_out

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Lend the streams while the block is open; code may close, replace or forget them."""
        ours = sys.stdout, sys.stderr
        self.lent_out = ours[0]
        if isinstance(ours[0], io.TextIOWrapper) and ours[0].errors == "strict":
            ours[0].reconfigure(errors="replace")  # as click does for a stream that it finds by itself
        sys.stdout, sys.stderr = cast("TextIO", _Lent(ours[0])), cast("TextIO", _Lent(ours[1]))
        try:
            yield
        finally:
            sys.stdout, sys.stderr = ours
            self.lent_out = None


OWN = OwnStreams()
