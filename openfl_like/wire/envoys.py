"""The service for single envoys: its client for users, and its servicer."""

from openfl_like.federation.parties import EnvoyDetail, Series
from openfl_like.federation.ports import RosterPort
from openfl_like.pki.files import Credentials
from openfl_like.pki.roles import Identity, Role
from openfl_like.wire import convert
from openfl_like.wire.client import Peer
from openfl_like.wire.protos import federation_pb2 as pb
from openfl_like.wire.server import Call

SERVICE = pb.DESCRIPTOR.services_by_name["Envoys"]


def detail_to(value: EnvoyDetail) -> pb.EnvoyDetail:
    """Gives the message of what there is to tell of an envoy."""
    return pb.EnvoyDetail(record=convert.envoy_to(value.record), history=[_series_to(one) for one in value.history])


def detail_from(message: pb.EnvoyDetail) -> EnvoyDetail:
    """Gives what there is to tell of an envoy."""
    return EnvoyDetail(convert.envoy_from(message.record), tuple(_series_from(one) for one in message.history))


def _series_to(value: Series) -> pb.Series:
    gauges = []
    for name, numbers in value.values.items():
        known = [number if number is not None else 0.0 for number in numbers]
        gauges.append(pb.Gauge(name=name, numbers=known, known=[number is not None for number in numbers]))
    return pb.Series(slot_s=value.slot_s, times=value.times, gauges=gauges)


def _series_from(message: pb.Series) -> Series:
    values = {
        gauge.name: tuple(number if known else None for number, known in zip(gauge.numbers, gauge.known, strict=True))
        for gauge in message.gauges
    }
    return Series(message.slot_s, tuple(message.times), values)


class EnvoysClient:
    """What a user asks the Director about one envoy; an async context manager.

    Args:
        address: ``host:port`` of the Director.
        credentials: The user's certificate and key.
    """

    def __init__(self, address: str, credentials: Credentials) -> None:
        server = Identity(credentials.identity.federation, Role.DIRECTOR, "director")
        self._peer = Peer(SERVICE, address, server.server_name, credentials)

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
