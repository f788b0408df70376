"""Every call x every role x every state of a certificate: only the cells of the role table pass."""

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import grpc
import pytest

from openfl_like.errors import CertificateExpiredError, FederationError, NotAllowedError, UnauthenticatedError
from openfl_like.pki.files import Credentials
from openfl_like.pki.peer import PeerVerifier
from openfl_like.pki.roles import RPC_ROLES, Role
from openfl_like.testing.certificates import ThrowAwayFederation
from openfl_like.wire.client import Peer
from openfl_like.wire.protos import federation_pb2 as pb
from openfl_like.wire.server import Call, Guard, Server, _snake, service_handler

pytestmark = pytest.mark.process

EXPERIMENT = "digits-1"
SERVERS = {
    "Director": (Role.DIRECTOR, "director"),
    "Experiments": (Role.DIRECTOR, "director"),
    "Envoys": (Role.DIRECTOR, "director"),
    "Attendance": (Role.DIRECTOR, "director"),
    "Aggregator": (Role.AGGREGATOR, EXPERIMENT),
}
SERVICES = pb.DESCRIPTOR.services_by_name
REFUSALS: dict[str, type[FederationError] | None] = {
    "good": None,
    "another authority": UnauthenticatedError,
    "expired": CertificateExpiredError,
}


class Stub(SimpleNamespace):
    """A servicer that answers every call with nothing, and remembers who came through."""

    def __init__(self, service: str) -> None:
        super().__init__(passed=[])
        for method in SERVICES[service].methods:
            setattr(self, _snake(method.name), self._answer(method))

    def _answer(self, method: object) -> object:
        async def answer(call: Call) -> object:
            self.passed.append((method.name, call.caller.role))  # type: ignore[attr-defined] # a descriptor
            return getattr(pb, method.output_type.name)()  # type: ignore[attr-defined] # as above

        return answer


def holders(
    certificates: ThrowAwayFederation, strangers: ThrowAwayFederation, state: str
) -> Iterable[tuple[Role, Credentials]]:
    """Everybody there could be, with a certificate in this state."""
    issuer = strangers if state == "another authority" else certificates
    issued = datetime.now(UTC) - timedelta(days=3 if state == "expired" else 0)
    for role in Role:
        name = EXPERIMENT if role is Role.AGGREGATOR else "director" if role is Role.DIRECTOR else "bern"
        experiment = EXPERIMENT if role is Role.COLLABORATOR else ""
        found = issuer.credentials(role, name, experiment, now=issued)
        yield role, Credentials(found.identity, found.chain, found.key, certificates.trust)


async def call(peer: Peer, service: str, name: str) -> None:
    """Makes a call of any kind and reads it to its end."""
    method = SERVICES[service].methods_by_name[name]
    async with asyncio.timeout(20):
        if method.client_streaming:
            async with peer.session(name) as stream:
                while await stream.read() is not None:
                    pass
        elif method.server_streaming:
            async for _ in peer.answers(name, getattr(pb, method.input_type.name)()):
                pass
        else:
            await peer.unary(name, getattr(pb, method.input_type.name)())


async def outcome(peer: Peer, service: str, name: str) -> type[FederationError] | None:
    try:
        await call(peer, service, name)
    except FederationError as error:
        return type(error)
    return None


@pytest.mark.parametrize("state", REFUSALS)
@pytest.mark.parametrize("service", SERVERS)
async def test_only_the_cells_of_the_role_table_pass(
    service: str, state: str, certificates: ThrowAwayFederation, strangers: ThrowAwayFederation
) -> None:
    stub = Stub(service)
    server_credentials = certificates.credentials(*SERVERS[service])
    handler = service_handler(SERVICES[service], stub, Guard(PeerVerifier(certificates.trust)))
    wrong: dict[str, object] = {}
    allowed = []
    async with Server("localhost:0", server_credentials, (handler,)) as server:
        for role, credentials in holders(certificates, strangers, state):
            name = server_credentials.identity.server_name
            async with Peer((SERVICES[service],), f"localhost:{server.port}", name, credentials) as peer:
                for method in SERVICES[service].methods:
                    may = role in RPC_ROLES[f"/openfl_like.v1.{service}/{method.name}"]
                    expected = REFUSALS[state] or (None if may else NotAllowedError)
                    found = await outcome(peer, service, method.name)
                    if found is not expected:
                        wrong[f"{role} {method.name}"] = found
                    if expected is None:
                        allowed.append((method.name, role))
    assert wrong == {}
    assert stub.passed == allowed
    assert bool(allowed) is (state == "good")


@pytest.mark.parametrize("service", SERVERS)
async def test_without_a_certificate_no_call_passes(service: str, certificates: ThrowAwayFederation) -> None:
    stub = Stub(service)
    credentials = certificates.credentials(*SERVERS[service])
    handler = service_handler(SERVICES[service], stub, Guard(PeerVerifier(certificates.trust)))
    tls = grpc.ssl_channel_credentials(root_certificates=certificates.trust.root)
    options = [("grpc.ssl_target_name_override", credentials.identity.server_name)]
    async with Server("localhost:0", credentials, (handler,)) as server:
        async with grpc.aio.secure_channel(f"localhost:{server.port}", tls, options=options) as channel:
            for method in SERVICES[service].methods:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await channel.unary_unary(f"/openfl_like.v1.{service}/{method.name}")(b"", timeout=10)
                assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        async with grpc.aio.insecure_channel(f"localhost:{server.port}") as channel:
            with pytest.raises(grpc.aio.AioRpcError):
                await channel.unary_unary(f"/openfl_like.v1.{service}/Cancel")(b"", timeout=10)
    assert stub.passed == []
