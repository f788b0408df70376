"""The serving side of data connections: tickets are given out by calls and redeemed at a port of their own."""

import asyncio
import contextlib
import functools
import logging
import secrets
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Self, TypeVar

from openfl_like.errors import ConflictError, FederationError, TransferError
from openfl_like.pki.files import Credentials
from openfl_like.pki.peer import PeerVerifier
from openfl_like.pki.roles import Identity
from openfl_like.tasks import TaskOwner
from openfl_like.wire.channel import backoff
from openfl_like.wire.tls import peer_pem, server_context
from openfl_like.wire.transfer.data_connection import SECRET_BYTES, BrokenConnectionError, DataConnection
from openfl_like.wire.transfer.tls_stream import TlsStream

log = logging.getLogger(__name__)
Result = TypeVar("Result")
HANDSHAKE_S = 10.0
PRESENT_S = 15.0
MOST_CONNECTIONS = 1024
MOST_THREADS = 256
"""Threads exist only as long as that many transfers run at once; slow ones must not keep others waiting."""


@dataclass(eq=False, slots=True)
class Ticket:
    """Stands for one transfer of one caller until it is redeemed or its call ends.

    Attributes:
        caller: Only this peer's connection may redeem it.
        secret: What the peer has to say.
        port: Where.
    """

    caller: Identity
    secret: bytes
    port: int
    _presented: asyncio.Future[DataConnection] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    _kept: asyncio.Future[bool] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    async def carry(self, work: Callable[[DataConnection], None]) -> None:
        """Wait for the peer's connection and have a thread move bytes over it.

        Raises:
            TransferError: If the peer does not come, or its connection breaks.
        """
        try:
            async with asyncio.timeout(PRESENT_S):
                connection = await self._presented
        except TimeoutError:
            raise TransferError(f"no data connection came within {PRESENT_S:g} s") from None
        try:
            await connection.run(lambda: work(connection))
        except BrokenConnectionError as error:
            raise TransferError(f"the data connection broke: {error}") from error
        self._kept.set_result(True)

    async def present(self, connection: DataConnection) -> bool:
        """Hand the peer's connection over; return whether it is still of use when the transfer is over."""
        if self._presented.done():  # its call has just given up
            return False
        self._presented.set_result(connection)
        return await self._kept

    def end(self) -> None:
        """The call is over; a connection that has not done its work is not of use any more."""
        if not self._kept.done():
            self._kept.set_result(False)


class DataServer:
    """Listens for data connections; an async context manager.

    Args:
        host: Where to listen.
        port: The port; 0 takes a free one.
        credentials: Certificate and key of this side.
        verifier: Establishes who a peer is, and knows what was revoked; None: one of its own that knows of nothing.

    Raises:
        ConflictError: If the port is taken.
    """

    def __init__(self, host: str, port: int, credentials: Credentials, verifier: PeerVerifier | None = None) -> None:
        self._context = server_context(credentials)
        self._verifier = verifier or PeerVerifier(credentials.trust)
        try:
            family, _, _, _, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
            self._listener = socket.create_server(address[:2], family=family, backlog=256)
        except OSError as error:
            raise ConflictError(
                f"cannot listen on {host}:{port} for data connections",
                cure="another process has the port, or the host is not of this machine; choose another data port",
            ) from error
        self._listener.settimeout(0.0)
        self.port: int = self._listener.getsockname()[1]
        self._tickets: dict[bytes, Ticket] = {}
        self._accepting, self._serving = TaskOwner(), TaskOwner()
        self._pool = ThreadPoolExecutor(MOST_THREADS, "data")

    async def __aenter__(self) -> Self:
        self._accepting.start(self._accept())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._accepting.close()
        await self._serving.close()
        self._listener.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    @contextlib.contextmanager
    def ticket(self, caller: Identity) -> Iterator[Ticket]:
        """Yield a ticket that is good for one transfer within the block."""
        ticket = Ticket(caller, secrets.token_bytes(SECRET_BYTES), self.port)
        self._tickets[ticket.secret] = ticket
        try:
            yield ticket
        finally:
            self._tickets.pop(ticket.secret, None)
            ticket.end()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        async for _ in backoff():
            try:
                while True:
                    self._take((await loop.sock_accept(self._listener))[0])
            except OSError as error:  # too many open files, for one: it passes
                log.warning("no data connection can be accepted: %s; trying again", error)

    def _take(self, raw: socket.socket) -> None:
        if len(self._serving) >= MOST_CONNECTIONS:
            raw.close()
            return
        self._serving.start(self._serve(raw))

    async def _serve(self, raw: socket.socket) -> None:
        """Hold one peer's connection until it ends, and close it."""
        raw.settimeout(0.0)
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            await self._redeem(TlsStream(self._context, raw, server_side=True))
        except TimeoutError:
            log.info("a data connection was refused: no ticket came within %g s", HANDSHAKE_S)
        except (OSError, FederationError) as error:
            log.info("a data connection was refused: %s", error)
        except Exception:
            log.exception("a data connection failed")
        finally:
            raw.close()

    async def _redeem(self, stream: TlsStream) -> None:
        """A ticket, its transfer, the next ticket."""
        async with asyncio.timeout(HANDSHAKE_S):
            await _ready(stream, stream.handshake)
            ticket = await self._next(stream)
        while ticket is not None and await ticket.present(DataConnection(stream, self._pool)):
            stream.settimeout(0.0)
            ticket = await self._next(stream)

    async def _next(self, stream: TlsStream) -> Ticket | None:
        """Read the next secret and return its ticket; None when the peer has closed the connection.

        Raises:
            UnauthenticatedError: If the peer's certificate is not one of this federation's.
            CertificateExpiredError: If it is not valid any more.
            TransferError: If there is no such ticket for this peer.
        """
        view, missing = memoryview(bytearray(SECRET_BYTES)), SECRET_BYTES
        while missing:
            count = await _ready(stream, functools.partial(stream.read, view[-missing:]))
            if not count:
                return None
            missing -= count
        secret = bytes(view)
        caller = self._verifier.identify(peer_pem(stream.tls), datetime.now(UTC))
        ticket = self._tickets.get(secret)
        if ticket is None or ticket.caller != caller:
            raise TransferError(f"{caller.uri} has no such ticket")
        return self._tickets.pop(secret)


async def _ready(stream: TlsStream, step: Callable[[], Result]) -> Result:
    """Repeat a step of a stream that does not block until it has what it needs."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            return step()
        except BlockingIOError:
            sending = stream.unsent
        watch, leave = (loop.add_writer, loop.remove_writer) if sending else (loop.add_reader, loop.remove_reader)
        woken = asyncio.Event()
        watch(stream, woken.set)
        try:
            await woken.wait()
        finally:
            leave(stream)
