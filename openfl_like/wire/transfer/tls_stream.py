"""TLS over a socket with fewer calls: several records go to the kernel at once, and come from it at once.

A record has at most 16 KiB. `ssl.SSLSocket` calls the kernel once for each that it sends, which wakes the other side,
and twice for each that it receives.
"""

import socket
import ssl
from contextlib import suppress

SEND_BYTES = 64 << 10
RECEIVE_BYTES = 128 << 10
_NOTHING = memoryview(b"")


class TlsStream:
    """One connection; like its socket it blocks, or raises BlockingIOError and is called again.

    Args:
        context: What it connects or accepts with.
        raw: Connected; it belongs to the stream from now on.
        server_side: Whether this is the side that was connected to.
        server_hostname: The name that the other side's certificate must carry.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        raw: socket.socket,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
    ) -> None:
        self._raw = raw
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_hostname
        )
        self._unsent = _NOTHING
        self._buffer = _NOTHING

    @property
    def tls(self) -> ssl.SSLObject:
        """What is known of the connection."""
        return self._tls

    @property
    def unsent(self) -> bool:
        """Whether a call that could not block has left something to be sent."""
        return bool(self._unsent)

    def fileno(self) -> int:
        """Return the socket's descriptor, to wait for it."""
        return self._raw.fileno()

    def settimeout(self, seconds: float) -> None:
        """Set how long one call may wait for the peer; 0: it does not block."""
        self._raw.settimeout(seconds)

    def handshake(self) -> None:
        """Do the handshake, or go on with it.

        Raises:
            OSError: If it fails; the peer is told why.
        """
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                if not self._receive():
                    raise ConnectionAbortedError("the other side closed it during the handshake") from None
            except ssl.SSLError:
                with suppress(OSError):
                    self._flush()
                raise
            else:
                self._flush()
                return

    def send(self, data: bytes | memoryview) -> None:
        """Send all of it; on a socket that blocks."""
        view = memoryview(data)
        for start in range(0, len(view), SEND_BYTES):
            rest = view[start : start + SEND_BYTES]
            while rest:
                rest = rest[self._tls.write(rest) :]
            self._flush()

    def read(self, buffer: memoryview) -> int:
        """Read what comes next, a record at most, into a buffer; return how many bytes, 0 when there are no more."""
        while True:
            try:
                count: int = self._tls.read(len(buffer), buffer)  # type: ignore[assignment] # its stub misses this use
            except ssl.SSLWantReadError:
                self._flush()
                if not self._receive():
                    return 0
            else:
                return count

    def fill(self, buffer: memoryview) -> bool:
        """Fill a buffer with what comes; False when there is no more before it is full."""
        while buffer:
            count = self.read(buffer)
            if not count:
                return False
            buffer = buffer[count:]
        return True

    def rest(self) -> None:
        """Give memory back between two transfers."""
        self._buffer = _NOTHING

    def shutdown(self) -> None:
        """Have every call that waits fail, from any thread; raises OSError if the peer was faster."""
        self._raw.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the socket."""
        self._raw.close()

    def _flush(self) -> None:
        while self._unsent or self._outgoing.pending:
            self._unsent = self._unsent or memoryview(self._outgoing.read())
            self._unsent = self._unsent[self._raw.send(self._unsent) :]

    def _receive(self) -> int:
        self._buffer = self._buffer or memoryview(bytearray(RECEIVE_BYTES))
        count = self._raw.recv_into(self._buffer)
        self._incoming.write(self._buffer[:count])
        return count
