"""Our errors to gRPC statuses and back.

A server aborts with the status of the error table, the message as details and the stable code as trailing metadata;
a client rebuilds the same error. An error that is not ours leaves the process as E900 without any detail.
"""

from bisect import bisect_right

import grpc

from openfl_like import __version__
from openfl_like.error_meanings import MEANINGS, from_code
from openfl_like.errors import FederationError, InternalError, UnauthenticatedError, UnreachableError, VersionError

CODE_KEY = "fx-error-code"
_DETAILS_LIMIT_BYTES = 6000  # a peer may refuse metadata beyond 8 kB, and then the call seems to have broken

# Words by which the releases of grpcio say why a connection was not made; it has no codes for them.
_ANOTHER_SERVER = ("hostname verification", "peer name")
_BROKEN_OFF = (  # says nothing about keys
    "handshake read failed", "handshake write failed", "handshaker shutdown",
    "connection reset", "socket closed", "broken pipe",
)  # fmt: skip
_NO_TLS = ("wrong_version_number", "http_request")
_UNREACHABLE = (
    ("connection refused", "Connection refused, nothing listens on this port there"),
    ("no route to host", "no way leads to this host"),
    ("network is unreachable", "no way leads to this host"),
    ("dns resolution failed", "this machine knows no host of this name"),
    ("address lookup failed", "this machine knows no host of this name"),
)
_REACH = "check the address and that it is running"
_HANDSHAKE = ("handshake", "ssl_error", "certificate", "tls")


async def abort(context: grpc.aio.ServicerContext, error: FederationError) -> None:
    """End a call with an error of ours."""
    meaning = MEANINGS.get(type(error), MEANINGS[InternalError])
    context.set_trailing_metadata(((CODE_KEY, error.code),))
    await context.abort(grpc.StatusCode[meaning.grpc_status], public_message(error))


def public_message(error: FederationError) -> str:
    """Return what a peer is told of an error."""
    meaning = MEANINGS.get(type(error), MEANINGS[InternalError])
    return _cut(str(error)) if meaning.public else "internal error; see the log of the other side"


def _cut(text: str) -> str:
    """Shorten a message to what gRPC may carry: it writes all but printable ASCII as three bytes each."""
    if _encoded_bytes(text) <= _DETAILS_LIMIT_BYTES:
        return text
    lengths = range(min(len(text), _DETAILS_LIMIT_BYTES) + 1)
    fits = bisect_right(lengths, _DETAILS_LIMIT_BYTES, key=lambda length: _encoded_bytes(text[:length]))
    return f"{text[: fits - 1]}…"


def _encoded_bytes(text: str) -> int:
    data = text.encode()
    return len(data) + 2 * sum(not 0x20 <= byte <= 0x7E or byte == 0x25 for byte in data)


async def failure_of(call: grpc.aio.Call, peer: str, expected: str) -> FederationError:
    """Return the error of ours that an ended call stands for.

    Args:
        call: A call that ended with another status than OK.
        peer: ``host:port`` for the message.
        expected: The role name that the server's certificate must carry.
    """
    for key, value in await call.trailing_metadata() or ():
        if key == CODE_KEY:
            return from_code(str(value), str(await call.details()))
    if await call.code() is grpc.StatusCode.UNIMPLEMENTED:
        message = f"{peer} does not speak the protocol of openfl_like {__version__!r}, which this side has"
        return VersionError(f"{message}; it has another one, such as '0.1.0'", cure="install the same on both sides")
    details = str(await call.details() or (await call.code()).name)
    if _has(details, _ANOTHER_SERVER):
        return UnauthenticatedError(
            f"the server at {peer} is not '{expected}': its certificate does not carry this name",
            cure="check the address; the port may have passed to another server",
        )
    if _has(details, _NO_TLS):
        return UnauthenticatedError(
            f"what answers at {peer} is another program: it speaks no TLS; a web server or SSH, perhaps",
            cure="check the port; 'listen' in director.yaml has the Director's",
        )
    if _has(details, _HANDSHAKE) and not _has(details, _BROKEN_OFF):
        return UnauthenticatedError(
            f"the TLS handshake with {peer} failed: {details}",
            cure="check that both sides' certificates come from the same federation and are not expired",
        )
    known = (said for mark, said in _UNREACHABLE if mark in details.lower())
    return UnreachableError(f"{peer} cannot be reached: {next(known, details)}", cure=_REACH)


def _has(details: str, marks: tuple[str, ...]) -> bool:
    return any(mark in details.lower() for mark in marks)
