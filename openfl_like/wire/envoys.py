"""The service for envoys: its client for users, and its servicer."""

from openfl_like.federation.parties import EnvoyDetail, EnvoyRecord
from openfl_like.federation.ports import EnvoysPort
from openfl_like.wire.client import Peer
from openfl_like.wire.convert.envoys import detail_from, detail_to, envoy_from, envoy_to
from openfl_like.wire.protos import federation_pb2 as pb
from openfl_like.wire.server import Call

SERVICE = pb.DESCRIPTOR.services_by_name["Envoys"]


class EnvoysClient:
    """What a user asks the Director about envoys.

    Args:
        peer: The Director.
    """

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def envoys(self) -> list[EnvoyRecord]:
        """List the roster."""
        reply = await self._peer.unary("ListEnvoys", pb.ListEnvoysRequest())
        return [envoy_from(envoy) for envoy in reply.envoys]

    async def envoy(self, name: str) -> EnvoyDetail:
        """Return everything the Director tells of one envoy; raises NotFoundError."""
        return detail_from(await self._peer.unary("GetEnvoy", pb.EnvoyRequest(name=name)))


class EnvoysServicer:
    """Carries the calls of the wire to the roster.

    Args:
        roster: Answers them.
    """

    def __init__(self, roster: EnvoysPort) -> None:
        self._roster = roster

    async def list_envoys(self, _call: Call) -> pb.ListEnvoysReply:
        """List the roster."""
        return pb.ListEnvoysReply(envoys=[envoy_to(envoy) for envoy in await self._roster.envoys()])

    async def get_envoy(self, call: Call) -> pb.EnvoyDetail:
        """Return everything about one envoy."""
        request = await call.receive()
        return detail_to(await self._roster.envoy(request.name))
