"""The guard in front of every call: who, what, and until when."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from openfl_like.errors import (
    CertificateExpiredError,
    ConflictError,
    NotAllowedError,
    RevokedError,
    UnauthenticatedError,
)
from openfl_like.pki.administration import revoke
from openfl_like.pki.files import Credentials
from openfl_like.pki.peer import PeerVerifier
from openfl_like.pki.revocation import Revocations
from openfl_like.pki.roles import RPC_ROLES, Identity, Role
from openfl_like.testing.certificates import ThrowAwayFederation
from openfl_like.wire.aggregator import AggregatorServicer
from openfl_like.wire.attendance import AttendanceServicer
from openfl_like.wire.director import DirectorServicer
from openfl_like.wire.envoys import EnvoysServicer
from openfl_like.wire.experiments import ExperimentsServicer
from openfl_like.wire.protos import federation_pb2 as pb
from openfl_like.wire.server import Call, Guard, _guarded, _within, service_handler, stop
from openfl_like.wire.status import CODE_KEY
from openfl_like.wire.version import METADATA, VERSION_KEY

LIST = "/openfl_like.v1.Experiments/ListExperiments"
SERVICES = pb.DESCRIPTOR.services_by_name


@dataclass
class Context:
    """A call as grpc shows it to a server."""

    pem: bytes
    incoming: list[Any] = field(default_factory=list)
    written: list[Any] = field(default_factory=list)
    code: str = ""
    details: str = ""
    version: str | None = None

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return METADATA if self.version is None else ((VERSION_KEY, self.version),)

    def auth_context(self) -> dict[str, list[bytes]]:
        return {"x509_pem_cert": [self.pem]} if self.pem else {}

    def peer(self) -> str:
        return "ipv4:192.0.2.7:50000"

    async def read(self) -> object:
        return self.incoming.pop(0) if self.incoming else grpc.aio.EOF

    async def write(self, message: object) -> None:
        self.written.append(message)

    def set_trailing_metadata(self, metadata: tuple[tuple[str, str], ...]) -> None:
        self.code = dict(metadata)[CODE_KEY]

    async def abort(self, _: grpc.StatusCode, details: str) -> None:
        self.details = details
        raise grpc.aio.AbortError


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> ThrowAwayFederation:
    ago = datetime.now(UTC) - timedelta(days=30)
    return ThrowAwayFederation(tmp_path_factory.mktemp("pki"), now=ago)


@pytest.fixture(scope="module")
def guard(federation: ThrowAwayFederation) -> Guard:
    return Guard(PeerVerifier(federation.trust))


def shown(credentials: Credentials) -> Context:
    return Context(credentials.chain)


def test_a_peer_of_the_right_role_is_admitted(federation: ThrowAwayFederation, guard: Guard) -> None:
    user = federation.credentials(Role.USER, "alice", lifetime=timedelta(hours=1))
    identity, certificate = guard.admit(LIST, shown(user))
    assert identity == user.identity
    assert 3600 <= certificate.ends - certificate.begins < 7200  # with the minutes before it was made


def test_no_certificate(guard: Guard) -> None:
    with pytest.raises(UnauthenticatedError, match="no client certificate was shown"):
        guard.admit(LIST, Context(b""))


def test_no_readable_certificate(guard: Guard) -> None:
    with pytest.raises(UnauthenticatedError, match="no readable certificate"):
        guard.admit(LIST, Context(b"-----BEGIN CERTIFICATE-----"))


def test_another_role(federation: ThrowAwayFederation, guard: Guard) -> None:
    with pytest.raises(NotAllowedError, match=r"fx://test/envoy/site may not call .*allowed: admin, gateway, user"):
        guard.admit(LIST, shown(federation.credentials(Role.ENVOY, "site")))


def test_another_federation_of_the_same_name(tmp_path: Path, guard: Guard) -> None:
    stranger = ThrowAwayFederation(tmp_path).credentials(Role.USER, "alice")
    with pytest.raises(UnauthenticatedError, match="the site-ca of 'test' has not issued fx://test/user/alice"):
        guard.admit(LIST, shown(stranger))


def test_an_expired_certificate(federation: ThrowAwayFederation, guard: Guard) -> None:
    old = federation.credentials(Role.USER, "alice", now=datetime.now(UTC) - timedelta(days=3))
    with pytest.raises(CertificateExpiredError, match=r"expired on .* \(renew it\)"):
        guard.admit(LIST, shown(old))


def test_a_certificate_is_checked_again_at_every_call(federation: ThrowAwayFederation, guard: Guard) -> None:
    brief = federation.credentials(Role.USER, "alice")
    guard.admit(LIST, shown(brief))
    guard.verifier.identify(brief.chain, datetime.now(UTC))
    with pytest.raises(CertificateExpiredError):
        guard.verifier.identify(brief.chain, datetime.now(UTC) + timedelta(days=2))


def test_a_method_without_a_row_is_denied_to_everybody(federation: ThrowAwayFederation, guard: Guard) -> None:
    admin = shown(federation.credentials(Role.ADMIN, "root"))
    for method in (
        "/openfl_like.v1.Experiments/Reboot",
        "/openfl_like.v1.Aggregator/ListExperiments",
        "",
        "ListExperiments",
    ):
        with pytest.raises(NotAllowedError, match="in no row of the role table"):
            guard.admit(method, admin)


def test_the_right_role_for_the_wrong_object(federation: ThrowAwayFederation) -> None:
    def only_alice(caller: Identity) -> None:
        if caller.name != "alice":
            raise NotAllowedError("not alice")

    guard = Guard(PeerVerifier(federation.trust), only_alice)
    guard.admit(LIST, shown(federation.credentials(Role.USER, "alice")))
    with pytest.raises(NotAllowedError, match="not alice"):
        guard.admit(LIST, shown(federation.credentials(Role.USER, "bob")))


def test_the_role_table_has_a_row_for_every_method_and_no_other() -> None:
    served = {f"/{service.full_name}/{m.name}" for service in SERVICES.values() for m in service.methods}
    assert served == set(RPC_ROLES)
    assert all(RPC_ROLES.values())


@pytest.mark.parametrize(
    ("service", "servicer"),
    [
        ("Director", DirectorServicer),
        ("Experiments", ExperimentsServicer),
        ("Attendance", AttendanceServicer),
        ("Aggregator", AggregatorServicer),
        ("Envoys", EnvoysServicer),
    ],
    ids=str,
)
def test_a_servicer_has_a_coroutine_for_every_method_and_no_other(service: str, servicer: type, guard: Guard) -> None:
    arguments = (None,) * {"Experiments": 5, "Envoys": 2, "Aggregator": 2}.get(service, 1)
    service_handler(SERVICES[service], servicer(*arguments), guard)
    coroutines = {name for name in vars(servicer) if not name.startswith("_")}
    assert len(coroutines) == len(SERVICES[service].methods)


def test_a_method_without_a_coroutine_fails_when_the_server_is_made(guard: Guard) -> None:
    with pytest.raises(AttributeError, match="get_server_info"):
        service_handler(SERVICES["Director"], object(), guard)


# ---- around a call ------------------------------------------------------------------------------------------------


async def serve(
    guard: Guard, context: Context, behaviour: Callable[[Call], Awaitable[Any]], method: str = "ListExperiments"
) -> object:
    service = SERVICES["Attendance" if method == "Attend" else "Experiments"]
    return await _guarded(service.methods_by_name[method], behaviour, guard)("request", context)


async def test_a_call_knows_its_caller_and_its_message(federation: ThrowAwayFederation, guard: Guard) -> None:
    async def behaviour(call: Call) -> str:
        return f"{call.caller.name}: {await call.receive()}"

    context = shown(federation.credentials(Role.USER, "alice"))
    assert await serve(guard, context, behaviour) == "alice: request"


async def test_a_stream_gives_its_messages_until_their_end(federation: ThrowAwayFederation, guard: Guard) -> None:
    async def behaviour(call: Call) -> None:
        async for message in call.messages():
            await call.send(message.upper())

    context = shown(federation.credentials(Role.ENVOY, "site"))
    context.incoming = ["a", "b"]
    await serve(guard, context, behaviour, "Attend")
    assert context.written == ["A", "B"]


@pytest.mark.parametrize(
    ("error", "code", "details"),
    [
        (ConflictError("taken", cure="wait"), "E302", "taken (wait)"),
        (ValueError("bad phase"), "E100", "the message is malformed: bad phase"),
        (RuntimeError("secret path /home"), "E900", "internal error; see the log of the other side"),
        (KeyError("secret"), "E900", "internal error; see the log of the other side"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_every_error_leaves_with_a_code_of_ours(
    federation: ThrowAwayFederation, guard: Guard, error: Exception, code: str, details: str
) -> None:
    async def behaviour(_: Call) -> None:
        raise error

    context = shown(federation.credentials(Role.USER, "alice"))
    with pytest.raises(grpc.aio.AbortError):
        await serve(guard, context, behaviour)
    assert (context.code, context.details) == (code, details)


async def test_a_refused_call_does_not_reach_the_servicer(
    federation: ThrowAwayFederation, guard: Guard, caplog: pytest.LogCaptureFixture
) -> None:
    async def behaviour(_: Call) -> None:
        pytest.fail("the servicer was called")

    context = shown(federation.credentials(Role.ENVOY, "site"))
    with pytest.raises(grpc.aio.AbortError), caplog.at_level("INFO"):
        await serve(guard, context, behaviour)
    assert context.code == "E203"
    assert (
        "ListExperiments refused to somebody at ipv4:192.0.2.7:50000: E203 fx://test/envoy/site may not" in caplog.text
    )


async def test_a_cancelled_call_is_no_error(federation: ThrowAwayFederation, guard: Guard) -> None:
    async def behaviour(_: Call) -> None:
        raise asyncio.CancelledError

    context = shown(federation.credentials(Role.USER, "alice"))
    with pytest.raises(asyncio.CancelledError):
        await serve(guard, context, behaviour)
    assert context.code == ""


async def _forever() -> None:
    await asyncio.get_running_loop().create_future()


async def test_a_call_ends_when_the_certificate_does() -> None:
    caller = Identity("test", Role.ENVOY, "site")
    with pytest.raises(CertificateExpiredError, match="fx://test/envoy/site expired during the call"):
        await _within(0.0, _forever(), caller)


async def test_a_timeout_of_the_servicer_is_not_taken_for_an_expiry() -> None:
    async def late() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        await _within(3600.0, late(), Identity("test", Role.ENVOY, "site"))


async def test_a_call_that_goes_on_ends_when_its_callers_certificate_is_revoked(tmp_path: Path) -> None:
    federation, revocations = ThrowAwayFederation(tmp_path), Revocations()
    guard = Guard(PeerVerifier(federation.trust, revocations))
    begun = asyncio.Event()

    async def forever(_: Call) -> None:
        begun.set()
        await _forever()

    serve = _guarded(SERVICES["Attendance"].methods_by_name["Attend"], forever, guard)
    contexts = [shown(federation.credentials(Role.ENVOY, name)) for name in ("one", "two")]
    calls: list[asyncio.Task[Any]] = []
    for context in contexts:
        calls.append(asyncio.create_task(serve(None, context)))  # type: ignore[arg-type] # all of a context that is used
        await begun.wait()
        begun.clear()
    revocations.take(revoke(federation.certs, Identity("test", Role.ENVOY, "one"), "", datetime.now(UTC)))
    guard.recheck()
    with pytest.raises(grpc.aio.AbortError):
        await calls[0]
    assert contexts[0].code == "E205"
    assert [call.pem for call in guard.calls] == [contexts[1].pem]
    with pytest.raises(RevokedError):
        guard.admit("/openfl_like.v1.Attendance/Attend", contexts[0])
    calls[1].cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert guard.calls == set()


class _NeverStops:
    """A server that has calls which do not end."""

    async def stop(self, grace: float) -> None:
        assert grace > 0
        await asyncio.Event().wait()


async def test_a_server_that_does_not_stop_holds_nobody_up(caplog: pytest.LogCaptureFixture) -> None:
    async with asyncio.timeout(10):
        await stop(_NeverStops(), within_s=0.01)
    assert "the server has not stopped within 0.01 s" in caplog.text
