"""The Director's reception: what somebody asks before a session, over the same port."""

from collections.abc import Callable

from openfl_like.federation.parties import Greeting
from openfl_like.pki.files import Credentials
from openfl_like.wire import convert
from openfl_like.wire.client import director_peer
from openfl_like.wire.protos import federation_pb2 as pb
from openfl_like.wire.server import Call

SERVICE = pb.DESCRIPTOR.services_by_name["Reception"]


async def greet(address: str, credentials: Credentials, timeout_s: float) -> Greeting:
    """Asks a Director what it wants of shards and what time it is there.

    Args:
        address: ``host:port``.
        credentials: Of an envoy, or of anybody who may read.
        timeout_s: How long to wait for the answer.
    """
    async with director_peer(SERVICE, address, credentials) as peer:
        return convert.greeting_from(await peer.unary("Greet", pb.GreetRequest(), timeout_s))


class ReceptionServicer:
    """Answers with what is so now.

    Args:
        greeting: Gives it.
    """

    def __init__(self, greeting: Callable[[], Greeting]) -> None:
        self._greeting = greeting

    async def greet(self, _call: Call) -> pb.Greeting:
        """Says what the federation asks of a shard, and what time it is here."""
        return convert.greeting_to(self._greeting())
