"""Our errors to gRPC statuses and back.

A server aborts with the status of the error table, the message as details and the stable code as trailing metadata;
a client rebuilds the same error. An error that is not ours leaves the process as E900 without any detail.
"""

import grpc

from openfl_like.errors import (
    MEANINGS,
    FederationError,
    InternalError,
    UnauthenticatedError,
    UnreachableError,
    from_code,
)

CODE_KEY = "fx-error-code"
_DETAILS_LIMIT = 3000  # metadata beyond 8 kB is refused by the peer


async def abort(context: grpc.aio.ServicerContext, error: FederationError) -> None:
    """Ends a call with an error of ours."""
    meaning = MEANINGS.get(type(error), MEANINGS[InternalError])
    text = str(error)[:_DETAILS_LIMIT] if meaning.public else "internal error; see the log of the other side"
    context.set_trailing_metadata(((CODE_KEY, error.code),))
    await context.abort(grpc.StatusCode[meaning.grpc_status], text)


async def failure_of(call: grpc.aio.Call, peer: str) -> FederationError:
    """Gives the error of ours that an ended call stands for.

    Args:
        call: A call that ended with another status than OK.
        peer: ``host:port`` for the message.
    """
    for key, value in await call.trailing_metadata() or ():
        if key == CODE_KEY:
            return from_code(str(value), str(await call.details()))
    details = str(await call.details() or (await call.code()).name)
    if _is_handshake(details):
        return UnauthenticatedError(
            f"the TLS handshake with {peer} failed: {details}",
            cure="check that both sides' certificates come from the same federation and are not expired",
        )
    return UnreachableError(f"{peer} cannot be reached: {details}", cure="check the address and that it is running")


def _is_handshake(details: str) -> bool:
    marks = ("handshake", "SSL_ERROR", "CERTIFICATE", "Peer name", "tls")
    return any(mark.lower() in details.lower() for mark in marks)
