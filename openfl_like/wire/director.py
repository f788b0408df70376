"""The service for the Director itself: its client, and its servicer."""

from openfl_like.federation.parties import DirectorStatus, ServerInfo
from openfl_like.federation.ports import DirectorPort
from openfl_like.wire.channel import UNARY_DEADLINE_S
from openfl_like.wire.client import Peer
from openfl_like.wire.convert.experiments import server_info_from, server_info_to, status_from, status_to
from openfl_like.wire.protos import federation_pb2 as pb
from openfl_like.wire.server import Call

SERVICE = pb.DESCRIPTOR.services_by_name["Director"]


class DirectorClient:
    """What anybody may ask the Director about itself.

    Args:
        peer: The Director.
    """

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def server_info(self, timeout_s: float = UNARY_DEADLINE_S) -> ServerInfo:
        """Ask what the federation wants of shards, and what time it is there."""
        return server_info_from(await self._peer.unary("GetServerInfo", pb.GetServerInfoRequest(), timeout_s))

    async def status(self) -> DirectorStatus:
        """Ask how the Director is."""
        return status_from(await self._peer.unary("GetStatus", pb.GetStatusRequest()))


class DirectorServicer:
    """Carries the calls of the wire to the Director.

    Args:
        director: Answers them.
    """

    def __init__(self, director: DirectorPort) -> None:
        self._director = director

    async def get_server_info(self, _call: Call) -> pb.ServerInfo:
        """Return what the federation asks of a shard, and what time it is here."""
        return server_info_to(self._director.server_info())

    async def get_status(self, _call: Call) -> pb.DirectorStatus:
        """Return how the Director is."""
        return status_to(await self._director.status())
