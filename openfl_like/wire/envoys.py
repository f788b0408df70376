"""The service for envoys: its client for users, and its servicer."""

from dataclasses import replace

from openfl_like.federation.parties import EnvoyDetail, EnvoyRecord
from openfl_like.federation.ports import EnvoysPort
from openfl_like.wire.client import Peer
from openfl_like.wire.convert.envoys import detail_from, detail_to, envoy_from, envoy_to
from openfl_like.wire.experiments import AccessPort
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
        access: Knows which experiments the caller may see at a site.
    """

    def __init__(self, roster: EnvoysPort, access: AccessPort) -> None:
        self._roster, self._access = roster, access

    async def list_envoys(self, call: Call) -> pb.ListEnvoysReply:
        """List the roster."""
        envoys = await self._roster.envoys()
        known = self._access.known(call.caller, (experiment for envoy in envoys for experiment in envoy.running))
        return pb.ListEnvoysReply(envoys=[envoy_to(_with_only(known, envoy)) for envoy in envoys])

    async def get_envoy(self, call: Call) -> pb.EnvoyDetail:
        """Return everything about one envoy."""
        request = await call.receive()
        detail = await self._roster.envoy(request.name)
        known = self._access.known(call.caller, detail.record.running)
        return detail_to(replace(detail, record=_with_only(known, detail.record)))


def _with_only(known: frozenset[str], record: EnvoyRecord) -> EnvoyRecord:
    """Return what a caller sees of a site: what it does for others is not there."""
    running = tuple(experiment for experiment in record.running if experiment in known)
    return replace(
        record, running=running, placed={name: record.placed[name] for name in running if name in record.placed}
    )
