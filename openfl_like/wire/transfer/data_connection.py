"""A data connection: a TLS socket that carries the chunks of one call after the other and nothing else.

What may be carried is decided by a call on gRPC, where the guard is. That call stays open for as long as the bytes
move, and they stop when it ends. A thread moves them with blocking calls: the cipher works without the interpreter's
lock, and a transfer needs the memory of one chunk.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor

from openfl_like.wire.transfer.tls_stream import TlsStream

SECRET_BYTES = 32
IDLE_S = 60.0
"""Nothing moved for so long: the other side is gone."""
TURN_S = 600.0
"""How long the first byte may take: the other side may have to wait for others."""


class BrokenConnectionError(Exception):
    """The socket failed or was closed; only what calls `DataConnection` sees it."""


class DataConnection:
    """One TLS stream with blocking calls.

    Args:
        stream: Connected, its handshake done.
        pool: The threads that move bytes.
    """

    def __init__(self, stream: TlsStream, pool: Executor) -> None:
        self._stream = stream
        self._pool = pool
        stream.settimeout(IDLE_S)

    def send(self, data: bytes | memoryview) -> None:
        """Send all of it.

        Raises:
            BrokenConnectionError: If the peer is gone.
        """
        try:
            self._stream.send(data)
        except OSError as error:
            raise BrokenConnectionError(str(error)) from error

    def fill(self, buffer: memoryview) -> None:
        """Fill a buffer with what comes.

        Raises:
            BrokenConnectionError: If the peer is gone before that.
        """
        try:
            full = self._stream.fill(buffer)
        except OSError as error:
            raise BrokenConnectionError(str(error)) from error
        if not full:
            raise BrokenConnectionError("the other side closed it")

    def patient(self, seconds: float) -> None:
        """Set how long one call may wait for the peer."""
        self._stream.settimeout(seconds)

    async def run(self, work: Callable[[], None]) -> None:
        """Run work that uses this connection on a thread; a cancellation ends it before it is passed on."""
        moving = asyncio.get_running_loop().run_in_executor(self._pool, work)
        try:
            await asyncio.shield(moving)
        except asyncio.CancelledError:
            self.abort()
            await asyncio.wait([moving])
            moving.exception()  # that of the aborted call; asyncio would tell of one that nobody looked at
            raise
        self._stream.rest()

    def abort(self) -> None:
        """Have every call that waits on the socket fail."""
        try:
            self._stream.shutdown()
        except OSError:
            return  # the peer was faster

    def close(self) -> None:
        """Close the socket."""
        self._stream.close()
