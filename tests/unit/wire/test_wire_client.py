"""Why a call broke: the server's word, our own certificate, or nobody there."""

from datetime import UTC, datetime, timedelta

import grpc
import pytest

from openfl_like.errors import (
    CertificateExpiredError,
    NotFoundError,
    TransferError,
    UnauthenticatedError,
    UnreachableError,
)
from openfl_like.pki.files import Credentials
from openfl_like.pki.roles import Role
from openfl_like.testing.certificates import ThrowAwayFederation
from openfl_like.wire.client import Endpoint, Stream
from openfl_like.wire.status import CODE_KEY

CLOSED = "failed to connect to all addresses; last error: UNAVAILABLE: ipv4:127.0.0.1:1: Socket closed"


class Call:
    """A stream that a server has ended."""

    def __init__(self, details: str = CLOSED, code: str = "", *, messages: int = 0) -> None:
        self._details = details
        self._metadata = ((CODE_KEY, code),) if code else ()
        self._messages = messages
        self.ok = False

    async def read(self) -> object:
        self._messages -= 1
        return "message" if self._messages >= 0 else grpc.aio.EOF

    async def wait_for_connection(self) -> None:
        pass

    @property
    def _cython_call(self) -> "Call":
        return self

    async def send_serialized_message(self, data: bytes) -> None:
        assert data == b"message"
        raise grpc.aio.InternalError

    async def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.OK if self.ok else grpc.StatusCode.UNAVAILABLE

    async def details(self) -> str:
        return self._details

    async def trailing_metadata(self) -> tuple[tuple[str, str], ...]:
        return self._metadata


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> ThrowAwayFederation:
    return ThrowAwayFederation(tmp_path_factory.mktemp("pki"), now=datetime.now(UTC) - timedelta(days=30))


@pytest.fixture(scope="module")
def good(federation: ThrowAwayFederation) -> Credentials:
    return federation.credentials(Role.USER, "alice")


def link(credentials: Credentials) -> Endpoint:
    return Endpoint("director:50050", "director.test.fx", credentials)


async def test_with_a_good_certificate_a_closed_connection_is_an_unreachable_server(good: Credentials) -> None:
    assert isinstance(await link(good).failure(Call()), UnreachableError)


async def test_an_expired_certificate_of_ours_is_told_before_the_address_is_blamed(
    federation: ThrowAwayFederation,
) -> None:
    old = federation.credentials(Role.USER, "alice", now=datetime.now(UTC) - timedelta(days=3))
    found = await link(old).failure(Call())
    assert isinstance(found, CertificateExpiredError)
    assert found.cure == "renew it"


async def test_a_certificate_of_another_federation_is_told(
    good: Credentials, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = ThrowAwayFederation(tmp_path_factory.mktemp("other")).credentials(Role.USER, "alice")
    mixed = Credentials(other.identity, other.chain, other.key, good.trust)
    assert isinstance(await link(mixed).failure(Call()), UnauthenticatedError)


async def test_what_the_server_says_comes_first(federation: ThrowAwayFederation) -> None:
    old = federation.credentials(Role.USER, "alice", now=datetime.now(UTC) - timedelta(days=3))
    assert isinstance(await link(old).failure(Call("no experiment", "E301")), NotFoundError)


async def test_a_stream_gives_its_messages_and_then_its_error(good: Credentials) -> None:
    stream = Stream(Call("no experiment", "E301", messages=2), link(good))
    assert [await stream.read(), await stream.expect()] == ["message", "message"]
    for ask in (stream.read, stream.expect):
        with pytest.raises(NotFoundError):
            await ask()


async def test_a_stream_that_ended_well_has_no_more(good: Credentials) -> None:
    call = Call()
    call.ok = True
    stream = Stream(call, link(good))
    assert await stream.read() is None
    with pytest.raises(TransferError, match="director:50050 ended the transfer early"):
        await stream.expect()


async def test_writing_to_a_broken_stream_gives_its_error(good: Credentials) -> None:
    stream = Stream(Call("no experiment", "E301"), link(good))
    with pytest.raises(NotFoundError):
        await stream.write(b"message")
