"""Calling: one peer behind one channel, with our errors instead of grpc's.

A call that cannot even start (`UnreachableError`) is told apart from one that the peer refused; both sides of a
transfer stream (`download`, `upload`) are here, the frames' order is in the protocol file.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError

from openfl_like.errors import FederationError, TransferError, UnreachableError, UsageError
from openfl_like.pki.files import Credentials
from openfl_like.pki.peer import verify_peer
from openfl_like.pki.roles import Identity, Role
from openfl_like.plan.address import checked_address
from openfl_like.tensors.manifest import Manifest
from openfl_like.wire.channel import UNARY_DEADLINE_S, open_channel
from openfl_like.wire.convert.values import manifest_from
from openfl_like.wire.protos import federation_pb2 as pb
from openfl_like.wire.status import failure_of
from openfl_like.wire.transfer.chunks import (
    asks,
    chunks_of,
    every_chunk,
    read_chunks,
    receive_file,
    wanted,
    write_chunks,
)
from openfl_like.wire.transfer.data_client import DataClient
from openfl_like.wire.transfer.data_connection import IDLE_S, TURN_S, BrokenConnectionError, DataConnection
from openfl_like.wire.version import METADATA

log = logging.getLogger(__name__)
Answer = TypeVar("Answer")
SETTLE_S = 5.0

# What grpc raises on a stream that has ended: by a status, before it began, or while something was under way.
_BROKEN = (grpc.aio.AioRpcError, asyncio.InvalidStateError, grpc.aio.InternalError)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The two ends of a channel: where the peer is and who it must be, and who we are."""

    address: str
    server_name: str
    credentials: Credentials

    async def failure(self, call: Any) -> FederationError:
        """Return the error that an ended call stands for.

        A server that refuses our certificate only closes the connection (TLS 1.3), which looks as if it were down; so
        the certificate is looked at here before the address is blamed.
        """
        error = await failure_of(call, self.address, self.server_name)
        if isinstance(error, UnreachableError):
            try:
                verify_peer(self.credentials.chain, self.credentials.trust, datetime.now(UTC))
            except FederationError as ours:
                return ours
        return error


@dataclass(frozen=True, slots=True)
class Stream:
    """An open stream call; `read` gives None when the peer has ended it without an error."""

    call: Any
    link: Endpoint

    async def read(self) -> Any:
        """Return the next message."""
        try:
            message = await self.call.read()
        except _BROKEN:
            raise await self.link.failure(self.call) from None
        if message is not grpc.aio.EOF:
            return message
        if await self.call.code() is not grpc.StatusCode.OK:
            raise await self.link.failure(self.call)
        return None

    async def expect(self) -> Any:
        """Return the next message; its absence is a TransferError."""
        message = await self.read()
        if message is None:
            raise TransferError(f"{self.link.address} ended the transfer early")
        return message

    async def write(self, message: Any) -> None:
        """Send a message.

        grpc's own `write` is not used: when the peer refuses the call while something is sent, it puts "Internal error
        from Core" in the place of the status that the peer gave.
        """
        data = message if isinstance(message, bytes) else message.SerializeToString()
        try:
            await self.call.wait_for_connection()
            await self.call._cython_call.send_serialized_message(data)  # noqa: SLF001 (see above)
        except _BROKEN:
            raise await self.link.failure(self.call) from None


class Peer:
    """A server, as its clients see it; use it as an async context manager.

    Args:
        services: Descriptors of what it serves; no two of their methods have the same name.
        address: ``host:port``.
        server_name: The role name that the server's certificate must carry.
        credentials: Certificate and key of this side.

    Attributes:
        reached: Whether an upload ever had a connection: what fails later may have arrived.
    """

    def __init__(
        self, services: Sequence[ServiceDescriptor], address: str, server_name: str, credentials: Credentials
    ) -> None:
        self._link = Endpoint(address, server_name, credentials)
        self._methods: Mapping[str, MethodDescriptor] = {
            method.name: method for service in services for method in service.methods
        }
        self._channel = open_channel(address, server_name, credentials)
        self._data = DataClient(address, server_name, credentials)
        self.reached = False

    async def __aenter__(self) -> "Peer":
        return self

    async def __aexit__(self, *_: object) -> None:
        self._data.close()
        await self._channel.close()

    async def ready(self) -> None:
        """Wait until there is a connection; raises UnreachableError if there is none in time."""
        try:
            async with asyncio.timeout(UNARY_DEADLINE_S):
                await self._channel.channel_ready()
        except TimeoutError:
            raise UnreachableError(f"no connection to {self._link.address} within {UNARY_DEADLINE_S:g} s") from None

    def _start(self, name: str, *arguments: Any, **options: Any) -> Any:
        method = self._methods[name]
        kind = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
        raw = method.input_type.name == pb.RawFrame.DESCRIPTOR.name
        callable_ = getattr(self._channel, kind)(
            f"/{method.containing_service.full_name}/{name}",
            request_serializer=None if raw else getattr(pb, method.input_type.name).SerializeToString,
            response_deserializer=None if raw else getattr(pb, method.output_type.name).FromString,
        )
        return callable_(*arguments, metadata=METADATA, **options)

    async def unary(self, name: str, request: Any, timeout_s: float = UNARY_DEADLINE_S) -> Any:
        """Make a call with one answer."""
        call = self._start(name, request, timeout=timeout_s)
        try:
            return await call
        except grpc.aio.AioRpcError:
            raise await self._link.failure(call) from None

    async def answers(self, name: str, request: Any) -> AsyncIterator[Any]:
        """Make a call with a stream of answers."""
        call = self._start(name, request)
        stream = Stream(call, self._link)
        try:
            while (message := await stream.read()) is not None:
                yield message
        finally:
            call.cancel()

    @asynccontextmanager
    async def session(self, name: str) -> AsyncIterator[Stream]:
        """Open a stream in both directions; leaving the block cancels it."""
        call = self._start(name)
        try:
            yield Stream(call, self._link)
        finally:
            call.cancel()

    async def download(
        self,
        name: str,
        request: Any,
        path: Path,
        recyclable: Path | None = None,
        check: Callable[[Manifest], None] = lambda _: None,
    ) -> Manifest:
        """Fetch a file: request and wants go up, manifest and chunks come down.

        Args:
            name: The method.
            request: Its message.
            path: Where the file goes.
            recyclable: A file that may be overwritten instead of making a new one.
            check: Raises if what is offered is not wanted; nothing is touched before that.
        """

        async def attempt(data: DataClient | None) -> Manifest:
            async with self.session(name) as stream:
                await stream.write(request.SerializeToString())
                offer = pb.Manifest.FromString(await stream.expect())
                manifest = manifest_from(offer)
                check(manifest)
                if not asks(manifest):
                    await receive_file(path, manifest, every_chunk(manifest), stream.read)
                    return manifest
                indices = await wanted(path, manifest, recyclable)
                async with _connection(data, offer.ticket) as connection:
                    wants = pb.Wants(chunks=indices, by_ticket=connection is not None)
                    await stream.write(wants.SerializeToString())
                    if connection is None:
                        await receive_file(path, manifest, indices, stream.read)
                    else:
                        secret = offer.ticket.secret
                        await connection.run(lambda: _fetch(connection, secret, path, manifest, indices))
                        await stream.read()  # the server keeps the connection if it sees the call to its end
                return manifest

        return await self._repeated(attempt)

    async def upload(self, name: str, request: Any, path: Path, manifest: Manifest) -> bytes:
        """Deliver a file: request and chunks go up, wants and the receipt (returned) come down."""

        async def attempt(data: DataClient | None) -> bytes:
            async with self.session(name) as stream:
                await stream.write(request.SerializeToString())
                self.reached = True
                wants = pb.Wants(chunks=every_chunk(manifest))
                if asks(manifest):
                    wants = pb.Wants.FromString(await stream.expect())
                indices = tuple(wants.chunks)
                async with _connection(data if indices else None, wants.ticket) as connection:
                    if connection is None:
                        async for chunk in chunks_of(path, manifest, indices):
                            await stream.write(chunk)
                    else:
                        await stream.write(b"")
                        secret = wants.ticket.secret
                        await _run(connection, lambda: _deliver(connection, secret, path, manifest, indices), stream)
                    receipt: bytes = await stream.expect()
                    return receipt

        return await self._repeated(attempt)

    async def _repeated(self, attempt: Callable[[DataClient | None], Awaitable[Answer]]) -> Answer:
        """Go on with a transfer whose data connection broke over a new one, and then without one."""
        for data in (self._data, self._data):
            try:
                return await attempt(data)
            except BrokenConnectionError as error:
                log.warning("the data connection to %s broke: %s", self._link.address, error)
        return await attempt(None)


@contextmanager
def understood(sender: str) -> Iterator[None]:
    """Raise TransferError where a message of a server turns out to be malformed."""
    try:
        yield
    except (ValueError, DecodeError) as error:
        raise TransferError(f"{sender} sent a message that is malformed: {error}") from error


@asynccontextmanager
async def _connection(data: DataClient | None, ticket: pb.Ticket) -> AsyncIterator[DataConnection | None]:
    """Yield a connection to where a ticket is good, if there is one and a way to it."""
    if data is None or not ticket.port:
        yield None
        return
    async with data.connection(ticket.port) as connection:
        yield connection


async def _run(connection: DataConnection, work: Callable[[], None], stream: Stream) -> None:
    """Have bytes moved; when that breaks, the server first takes what is still on its way to it."""
    try:
        await connection.run(work)
    except BrokenConnectionError:
        with suppress(FederationError, TimeoutError):
            async with asyncio.timeout(SETTLE_S):
                await stream.read()
        raise


def _deliver(
    connection: DataConnection, secret: bytes, path: Path, manifest: Manifest, indices: tuple[int, ...]
) -> None:
    connection.send(secret)
    for chunk in read_chunks(path, manifest, indices):
        connection.send(chunk)


def _fetch(connection: DataConnection, secret: bytes, path: Path, manifest: Manifest, indices: tuple[int, ...]) -> None:
    def fill(buffer: memoryview) -> None:
        connection.fill(buffer)
        connection.patient(IDLE_S)

    connection.send(secret)
    connection.patient(TURN_S)
    write_chunks(path, manifest, indices, fill)


DIRECTOR_SERVICES = tuple(
    pb.DESCRIPTOR.services_by_name[name] for name in ("Director", "Experiments", "Envoys", "Attendance")
)


def director_peer(address: str, credentials: Credentials) -> Peer:
    """Return the Director of the caller's own federation as a peer.

    Args:
        address: ``host:port``.
        credentials: The caller's certificate and key.

    Raises:
        UsageError: If the address is none.
    """
    try:
        checked_address(address)
    except ValueError as error:
        raise UsageError(str(error)) from error
    server = Identity(credentials.identity.federation, Role.DIRECTOR, "director")
    return Peer(DIRECTOR_SERVICES, address, server.server_name, credentials)
