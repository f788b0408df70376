"""The asking side of data connections: made when the first ticket comes, kept for the next, done without if need be."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

from openfl_like.pki.files import Credentials
from openfl_like.wire.tls import client_context
from openfl_like.wire.transfer.data_connection import DataConnection
from openfl_like.wire.transfer.tls_stream import TlsStream

log = logging.getLogger(__name__)
CONNECT_S = 5.0
MOST_AT_ONCE = 4


class DataClient:
    """The data connections to one server.

    Args:
        address: ``host:port`` of its gRPC port; the data port is at the same host.
        server_name: The role name that its certificate must carry.
        credentials: Certificate and key of this side.
    """

    def __init__(self, address: str, server_name: str, credentials: Credentials) -> None:
        self._host = address.rpartition(":")[0].strip("[]")
        self._server_name = server_name
        self._credentials = credentials
        self._idle: list[DataConnection] = []
        self._pool = ThreadPoolExecutor(MOST_AT_ONCE, "data")  # a transfer may wait long for its turn
        self._reachable = True

    @contextlib.asynccontextmanager
    async def connection(self, port: int) -> AsyncIterator[DataConnection | None]:
        """Yield a connection, or None if there is no way to the port: then gRPC has to do.

        It is closed when the block ends with an error, and kept for the next one otherwise.
        """
        connection = self._idle.pop() if self._idle else await self._connect(port)
        try:
            yield connection
        except BaseException:
            if connection is not None:
                connection.close()
            raise
        if connection is not None:
            self._idle.append(connection)

    async def _connect(self, port: int) -> DataConnection | None:
        if not self._reachable:
            return None
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._open, port)
        except OSError as error:
            self._reachable = False
            log.warning("no data connection to %s:%d (%s): gRPC does it, slower", self._host, port, error)
            return None

    def _open(self, port: int) -> DataConnection:
        context = client_context(self._credentials)
        raw = socket.create_connection((self._host, port), timeout=CONNECT_S)
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            stream = TlsStream(context, raw, server_hostname=self._server_name)
            stream.handshake()
            return DataConnection(stream, self._pool)
        except BaseException:
            raw.close()
            raise

    def close(self) -> None:
        """Close what is kept."""
        while self._idle:
            self._idle.pop().close()
        self._pool.shutdown(wait=False, cancel_futures=True)
