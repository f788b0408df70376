"""Serving: every call passes one guard that knows the peer, the role table and the clock.

The methods of a service come from its descriptor in the protocol file; a servicer has one coroutine per method,
named in snake_case, that takes a `Call`. A method without a coroutine fails at start, one without a row in the role
table is
refused.
"""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
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
from openfl_like.pki.files import Credentials
from openfl_like.pki.peer import PeerVerifier
from openfl_like.pki.roles import Identity, authorise
from openfl_like.wire.channel import FRAMES, KEEPALIVE, MESSAGE_LIMIT
from openfl_like.wire.protos import federation_pb2 as pb
from openfl_like.wire.status import abort

log = logging.getLogger(__name__)
_CONCURRENT_CALLS = 4096


@dataclass(frozen=True, slots=True)
class Call:
    """One call as a servicer sees it.

    Attributes:
        caller: The peer, from its certificate.
        receive: Gives the next message of the peer, or None when it has no more.
        send: Sends a message to the peer.
    """

    caller: Identity
    receive: Callable[[], Awaitable[Any]]
    send: Callable[[Any], Awaitable[None]]

    async def messages(self) -> AsyncIterator[Any]:
        """Gives the peer's messages until it has no more."""
        while (message := await self.receive()) is not None:
            yield message


ObjectRule = Callable[[Identity], None]


@dataclass(frozen=True, slots=True)
class Guard:
    """Decides whether a peer may make a call.

    Attributes:
        verifier: Establishes the peer's identity from its certificate.
        object_rule: Raises NotAllowedError where the role is right but the object is not (another experiment).
    """

    verifier: PeerVerifier
    object_rule: ObjectRule = lambda _: None

    def admit(self, method: str, context: grpc.aio.ServicerContext) -> tuple[Identity, float]:
        """Gives the caller and the seconds its certificate stays valid."""
        pem = context.auth_context().get("x509_pem_cert", [b""])[0]
        if not pem:
            raise UnauthenticatedError("no client certificate was shown")
        now = datetime.now(UTC)
        identity = self.verifier.identify(pem, now)
        authorise(method, identity)
        self.object_rule(identity)
        return identity, (self.verifier.expires(pem) - now).total_seconds()


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _codec(message: Any) -> tuple[Any, Any]:  # the generated classes have no useful common type
    """Gives (deserialiser, serialiser); None is gRPC's identity, for raw frames."""
    if message.name == pb.RawFrame.DESCRIPTOR.name:
        return None, None
    kind = getattr(pb, message.name)
    return kind.FromString, kind.SerializeToString


Serve = Callable[[Any, grpc.aio.ServicerContext], Awaitable[Any]]


def _guarded(method: MethodDescriptor, behaviour: Callable[[Call], Awaitable[Any]], guard: Guard) -> Serve:
    """Wraps a coroutine: the guard comes before it, and every error leaves as a status of ours."""
    full_name = f"/{method.containing_service.full_name}/{method.name}"

    async def serve(request: Any, context: grpc.aio.ServicerContext) -> Any:
        try:
            caller, valid_s = guard.admit(full_name, context)
            call = _call(method, request, caller, context)
            return await _within(valid_s, behaviour(call), caller)
        except FederationError as error:
            log.info("%s refused: %s %s", full_name, error.code, error)
            await abort(context, error)
        except OSError as error:
            full = no_room(error)
            if full is None:
                log.exception("%s failed", full_name)
            else:
                log.warning("%s: %s", full_name, full)
            await abort(context, full or InternalError(full_name))
        except (ValueError, DecodeError) as error:
            log.info("%s: malformed message", full_name, exc_info=True)
            await abort(context, UsageError(f"the message is malformed: {error}"))
        except (asyncio.CancelledError, grpc.aio.AbortError, grpc.aio.UsageError):
            raise
        except Exception:
            log.exception("%s failed", full_name)
            await abort(context, InternalError(full_name))

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


async def _within(valid_s: float, work: Awaitable[Any], caller: Identity) -> Any:
    """Ends a long stream when the peer's certificate expires: a live channel outlives it otherwise."""
    try:
        async with asyncio.timeout(valid_s) as limit:
            return await work
    except TimeoutError:
        if limit.expired():
            raise CertificateExpiredError(f"the certificate of {caller.uri} expired during the call") from None
        raise


def service_handler(service: ServiceDescriptor, servicer: object, guard: Guard) -> grpc.GenericRpcHandler:
    """Ties every method of a service to the servicer's coroutine of the same name in snake_case."""
    methods = {
        method.name: _handler(method, _guarded(method, getattr(servicer, _snake(method.name)), guard))
        for method in service.methods
    }
    return grpc.method_handlers_generic_handler(service.full_name, methods)


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
        self._server.add_generic_rpc_handlers(handlers)
        tls = grpc.ssl_server_credentials(
            [(credentials.key, credentials.chain)], root_certificates=credentials.trust.root, require_client_auth=True
        )
        try:
            self.port = self._server.add_secure_port(address, tls)
        except RuntimeError as error:
            raise ConflictError(
                f"cannot listen on {address}", cure="another process has the port, or the host is not of this machine"
            ) from error

    async def __aenter__(self) -> "Server":
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(grace=1.0)
