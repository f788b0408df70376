"""The service for single envoys: its client for users, and its servicer."""

from openfl_like.federation.parties import EnvoyDetail
from openfl_like.federation.ports import RosterPort
from openfl_like.pki.files import Credentials
from openfl_like.wire.client import director_peer
from openfl_like.wire.convert.envoys import detail_from, detail_to
from openfl_like.wire.protos import federation_pb2 as pb
from openfl_like.wire.server import Call

SERVICE = pb.DESCRIPTOR.services_by_name["Envoys"]


class EnvoysClient:
    """What a user asks the Director about one envoy; an async context manager.

    Args:
        address: ``host:port`` of the Director.
        credentials: The user's certificate and key.
    """

    def __init__(self, address: str, credentials: Credentials) -> None:
        self._peer = director_peer(SERVICE, address, credentials)

    async def __aenter__(self) -> "EnvoysClient":
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._peer.__aexit__(*exception)

    async def envoy(self, name: str) -> EnvoyDetail:
        """Gives everything the Director tells of one envoy; raises NotFoundError."""
        return detail_from(await self._peer.unary("GetEnvoy", pb.EnvoyRequest(name=name)))


class EnvoysServicer:
    """Carries the calls of the wire to the roster."""

    def __init__(self, roster: RosterPort) -> None:
        self._roster = roster

    async def get_envoy(self, call: Call) -> pb.EnvoyDetail:
        """Tells of one envoy."""
        request = await call.receive()
        return detail_to(await self._roster.envoy(request.name))
