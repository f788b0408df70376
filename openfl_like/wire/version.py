"""Which version a peer is of: every call says so, and one of another minor version is refused before all else."""

from collections.abc import Iterable

import grpc

from openfl_like import __version__
from openfl_like.errors import FederationError, UsageError, VersionError
from openfl_like.wire.status import abort

VERSION_KEY = "fx-version"
METADATA = ((VERSION_KEY, __version__),)
BEFORE = "0.1.0"
"""The version whose calls say nothing: it speaks the protocol before ``openfl_like.v1``."""
_FORMER = "/openfl_like."
_CURRENT = "/openfl_like.v1."
_LONGEST = 40


def version_of(metadata: Iterable[tuple[str, str | bytes]] | None) -> str:
    """Return the version that a caller named; the one before this was said if it named none."""
    named = next((str(value) for key, value in metadata or () if key == VERSION_KEY), BEFORE)
    return named[:_LONGEST]


def check_version(theirs: str) -> None:
    """Compare the peer's version with ours: the third number may differ.

    Raises:
        VersionError: If the first two numbers do not agree.
    """
    if theirs.split(".")[:2] != __version__.split(".")[:2]:
        raise VersionError(_message(theirs), cure="install the same version on both sides")


def _message(theirs: str) -> str:
    return f"the peer has openfl_like {theirs!r}, this side {__version__!r}"


class FormerProtocol(grpc.GenericRpcHandler):  # type: ignore[misc] # grpc has no types
    """Answers every call of the protocol before ``v1``: its peers are told both versions, in words they know."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """Return a refusal for a call of the former protocol, and None for any other."""
        method = handler_call_details.method
        if not method.startswith(_FORMER) or method.startswith(_CURRENT):
            return None
        theirs = version_of(handler_call_details.invocation_metadata)
        refusal: FederationError = UsageError(_message(theirs), cure="install the same version on both sides")

        async def refuse(_: object, context: grpc.aio.ServicerContext) -> None:
            await abort(context, refusal)

        return grpc.stream_stream_rpc_method_handler(refuse)
