"""Serving: every call passes one guard that knows the peer, the role table and the clock.

The methods of a service come from its descriptor in the protocol file; a servicer has one coroutine per method,
named in snake_case, that takes a `Call`. A method without a coroutine fails at start, one without a row in the role
table is refused.
"""

import asyncio
import logging
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError

from openfl_like.errors import (
    CertificateExpiredError,
    ConflictError,
    FederationError,
    InternalError,
    UnauthenticatedError,
    UsageError,
    no_room,
)
from openfl_like.federation.parties import Validity
from openfl_like.pki.files import Credentials
from openfl_like.pki.peer import PeerVerifier
from openfl_like.pki.roles import Identity, authorise
from openfl_like.printable import printable_line
from openfl_like.wire.channel import FRAMES, KEEPALIVE, MESSAGE_LIMIT
from openfl_like.wire.protos import federation_pb2 as pb
from openfl_like.wire.status import abort
from openfl_like.wire.version import FormerProtocol, check_version, version_of

log = logging.getLogger(__name__)
_CONCURRENT_CALLS = 4096
GRACE_S, STOPPING_S = 1.0, 5.0
"""How long calls may go on when the server stops, and how long that takes at most."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call as a servicer sees it.

    Attributes:
        caller: The peer, from its certificate.
        receive: Gives the next message of the peer, or None when it has no more.
        send: Sends a message to the peer.
        certificate: When the peer's certificate is valid; None if that is not known.
    """

    caller: Identity
    receive: Callable[[], Awaitable[Any]]
    send: Callable[[Any], Awaitable[None]]
    certificate: Validity | None = None

    async def messages(self) -> AsyncIterator[Any]:
        """Yield the peer's messages until it has no more."""
        while (message := await self.receive()) is not None:
            yield message


ObjectRule = Callable[[Identity], None]


@dataclass(eq=False, slots=True)
class OpenCall:
    """A call that goes on, and can be ended since its caller is not welcome any more.

    Attributes:
        pem: What the caller showed.
        limit: Ends the call.
        refusal: Why it was ended.
    """

    pem: bytes
    limit: asyncio.Timeout | None = None
    refusal: FederationError | None = None

    def end(self, refusal: FederationError) -> None:
        """End the call, from the loop that it runs in."""
        if self.limit is not None and self.refusal is None and not self.limit.expired():
            self.refusal = refusal
            self.limit.reschedule(asyncio.get_running_loop().time())


@dataclass(frozen=True, slots=True)
class Guard:
    """Decides whether a peer may make a call.

    Attributes:
        verifier: Establishes the peer's identity from its certificate.
        object_rule: Raises NotAllowedError where the role is right but the object is not (another experiment).
        calls: Those that go on.
    """

    verifier: PeerVerifier
    object_rule: ObjectRule = lambda _: None
    calls: set[OpenCall] = field(default_factory=set)

    def admit(self, method: str, context: grpc.aio.ServicerContext) -> tuple[Identity, Validity]:
        """Return the caller, and when its certificate is valid."""
        pem = _shown(context)
        if not pem:
            raise UnauthenticatedError("no client certificate was shown")
        now = datetime.now(UTC)
        identity = self.verifier.identify(pem, now)
        check_version(version_of(context.invocation_metadata()))
        authorise(method, identity)
        self.object_rule(identity)
        begins, ends = self.verifier.validity(pem)
        return identity, Validity(begins.timestamp(), ends.timestamp(), self.verifier.list_number(pem))

    def recheck(self) -> None:
        """Look at the callers of all calls that go on, and end those whose certificate does not count any more."""
        for call in tuple(self.calls):
            try:
                self.verifier.identify(call.pem, datetime.now(UTC))
            except FederationError as error:
                call.end(error)


def _shown(context: grpc.aio.ServicerContext) -> bytes:
    """Return the certificate that the peer showed, PEM; empty if it showed none."""
    pem: bytes = context.auth_context().get("x509_pem_cert", [b""])[0]
    return pem


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _codec(message: Any) -> tuple[Any, Any]:  # the generated classes have no useful common type
    """Return (deserialiser, serialiser); None is gRPC's identity, for raw frames."""
    if message.name == pb.RawFrame.DESCRIPTOR.name:
        return None, None
    kind = getattr(pb, message.name)
    return kind.FromString, kind.SerializeToString


Serve = Callable[[Any, grpc.aio.ServicerContext], Awaitable[Any]]


def _guarded(method: MethodDescriptor, behaviour: Callable[[Call], Awaitable[Any]], guard: Guard) -> Serve:
    """Wrap a coroutine: the guard comes before it, and every error leaves as a status of ours."""
    full_name = f"/{method.containing_service.full_name}/{method.name}"

    async def serve(request: Any, context: grpc.aio.ServicerContext) -> Any:
        held = OpenCall(_shown(context))
        guard.calls.add(held)
        who = f"somebody at {context.peer()}"
        try:
            caller, certificate = guard.admit(full_name, context)
            who = caller.uri
            call = replace(_call(method, request, caller, context), certificate=certificate)
            return await _within(certificate.ends - time.time(), behaviour(call), caller, held)
        except FederationError as error:
            log.info("%s refused to %s: %s %s", full_name, who, error.code, printable_line(str(error)))
            await abort(context, error)
        except OSError as error:
            full = no_room(error)
            if full is None:
                log.exception("%s failed", full_name)
            else:
                log.warning("%s: %s", full_name, full)
            await abort(context, full or InternalError(full_name))
        except (ValueError, DecodeError) as error:
            log.info("%s: malformed message of %s", full_name, who, exc_info=True)
            await abort(context, UsageError(f"the message is malformed: {error}"))
        except (asyncio.CancelledError, grpc.aio.AbortError, grpc.aio.UsageError):
            raise
        except Exception:
            log.exception("%s failed", full_name)
            await abort(context, InternalError(full_name))
        finally:
            guard.calls.discard(held)

    return serve


def _handler(method: MethodDescriptor, serve: Serve) -> grpc.RpcMethodHandler:
    deserialiser = _codec(method.input_type)[0]
    serialiser = _codec(method.output_type)[1]

    async def converse(_requests: Any, context: grpc.aio.ServicerContext) -> None:
        await serve(None, context)

    async def answer(request: Any, context: grpc.aio.ServicerContext) -> None:
        await serve(request, context)

    if method.client_streaming:
        return grpc.stream_stream_rpc_method_handler(converse, deserialiser, serialiser)
    if method.server_streaming:
        return grpc.unary_stream_rpc_method_handler(answer, deserialiser, serialiser)
    return grpc.unary_unary_rpc_method_handler(serve, deserialiser, serialiser)


def _call(method: MethodDescriptor, request: Any, caller: Identity, context: grpc.aio.ServicerContext) -> Call:
    async def receive() -> Any:
        if not method.client_streaming:
            return request
        message = await context.read()
        return None if message is grpc.aio.EOF else message

    return Call(caller, receive, context.write)


async def _within(valid_s: float, work: Awaitable[Any], caller: Identity, held: OpenCall | None = None) -> Any:
    """End a long stream when the peer's certificate expires or is revoked: a live channel outlives it otherwise."""
    held = held or OpenCall(b"")
    try:
        async with asyncio.timeout(valid_s) as limit:
            held.limit = limit
            return await work
    except TimeoutError:
        if held.refusal is not None:
            raise held.refusal from None
        if limit.expired():
            raise CertificateExpiredError(f"the certificate of {caller.uri} expired during the call") from None
        raise
    finally:
        held.limit = None


def service_handler(service: ServiceDescriptor, servicer: object, guard: Guard) -> grpc.GenericRpcHandler:
    """Tie every method of a service to the servicer's coroutine of the same name in snake_case."""
    methods = {
        method.name: _handler(method, _guarded(method, getattr(servicer, _snake(method.name)), guard))
        for method in service.methods
    }
    return grpc.method_handlers_generic_handler(service.full_name, methods)


def _configuration(credentials: Credentials) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(credentials.key, credentials.chain)], credentials.trust.root)


class Server:
    """A gRPC server over mTLS on one address, as an async context manager.

    Args:
        address: ``host:port``; port 0 takes a free one.
        credentials: Certificate and key of this side.
        handlers: From `service_handler`.

    Raises:
        ConflictError: If the address is taken.
    """

    def __init__(self, address: str, credentials: Credentials, handlers: tuple[grpc.GenericRpcHandler, ...]) -> None:
        options = (
            *KEEPALIVE,
            *FRAMES,
            ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", MESSAGE_LIMIT),
            ("grpc.max_send_message_length", MESSAGE_LIMIT),
        )
        self._server = grpc.aio.server(options=options, maximum_concurrent_rpcs=_CONCURRENT_CALLS)
        self._server.add_generic_rpc_handlers((*handlers, FormerProtocol()))
        self._changes: deque[grpc.ServerCertificateConfiguration] = deque(maxlen=1)
        shown = _configuration(credentials)
        tls = grpc.dynamic_ssl_server_credentials(shown, self._changed, require_client_authentication=True)
        try:
            self.port = self._server.add_secure_port(address, tls)
        except RuntimeError as error:
            raise ConflictError(
                f"cannot listen on {address}", cure="another process has the port, or the host is not of this machine"
            ) from error

    def renew(self, credentials: Credentials) -> None:
        """Show another certificate from the next connection on; those that are open go on."""
        self._changes.append(_configuration(credentials))

    def _changed(self) -> grpc.ServerCertificateConfiguration | None:
        """Return another certificate once, and None as long as nothing has changed.

        gRPC asks at every handshake, in threads of its own, and exchanges what it is given; if that happens again and
        again while handshakes are under way, it crashes.
        """
        try:
            return self._changes.popleft()
        except IndexError:
            return None

    async def __aenter__(self) -> "Server":
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await stop(self._server)


async def stop(server: grpc.aio.Server, within_s: float = STOPPING_S) -> None:
    """Stop a server; one that does not stop in time ends with the process, which it must not hold up."""
    try:
        async with asyncio.timeout(within_s):
            await server.stop(grace=GRACE_S)
    except TimeoutError:
        log.warning("the server has not stopped within %g s; it ends with the process", within_s)
