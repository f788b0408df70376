"""Every error of ours is the same error at the other end."""

import grpc
import pytest

from openfl_like.error_meanings import MEANINGS
from openfl_like.errors import (
    BundleError,
    FederationError,
    InternalError,
    NotFoundError,
    PlanError,
    UnauthenticatedError,
    UnreachableError,
)
from openfl_like.wire.status import CODE_KEY, abort, failure_of

Metadata = tuple[tuple[str, str], ...] | None
PEER = "director:50050", "director.test.fx"
SOFT_METADATA_LIMIT = 8 << 10  # grpc refuses more at random, twice as much always


class Context:
    """The two things that a server does to end a call."""

    def __init__(self) -> None:
        self.metadata: tuple[tuple[str, str], ...] = ()
        self.status: tuple[grpc.StatusCode, str] | None = None

    def set_trailing_metadata(self, metadata: tuple[tuple[str, str], ...]) -> None:
        self.metadata = metadata

    async def abort(self, code: grpc.StatusCode, details: str) -> None:
        self.status = code, details


class Ended:
    """A call that ended."""

    def __init__(self, code: grpc.StatusCode, details: str | None, metadata: Metadata = None) -> None:
        self._answers = code, details, metadata

    async def code(self) -> grpc.StatusCode:
        return self._answers[0]

    async def details(self) -> str | None:
        return self._answers[1]

    async def trailing_metadata(self) -> Metadata:
        return self._answers[2]


async def there_and_back(error: FederationError) -> tuple[grpc.StatusCode, FederationError]:
    context = Context()
    await abort(context, error)
    assert context.status is not None
    code, details = context.status
    return code, await failure_of(Ended(code, details, context.metadata), *PEER)


@pytest.mark.parametrize("kind", MEANINGS, ids=lambda kind: kind.code)
async def test_an_error_survives(kind: type[FederationError]) -> None:
    code, found = await there_and_back(kind("the cause", place="here", cure="do that"))
    assert type(found) is kind
    assert code.name == MEANINGS[kind].grpc_status
    if MEANINGS[kind].public:
        assert found.message == "here: the cause (do that)"
    else:
        assert "cause" not in str(found)
        assert "do that" not in str(found)


async def test_all_mistakes_of_a_plan_cross_the_wire() -> None:
    _, found = await there_and_back(PlanError("2 mistakes", problems=("line 1: a", "line 2: b")))
    assert "line 1: a" in str(found)
    assert "line 2: b" in str(found)


async def test_a_subclass_that_the_table_does_not_know_tells_nothing() -> None:
    class PrivateError(BundleError):
        code = "E999"

    _, found = await there_and_back(PrivateError("secret"))
    assert isinstance(found, InternalError)
    assert "secret" not in str(found)


@pytest.mark.parametrize("letter", ["x", "é", "界", "🧪", "%", "\n"])
async def test_a_long_message_is_cut_to_what_metadata_may_hold(letter: str) -> None:
    context = Context()
    await abort(context, PlanError(letter * 20_000))
    assert context.status is not None
    details = context.status[1]
    percent_encoded = sum(1 if 0x20 <= byte <= 0x7E and byte != 0x25 else 3 for byte in details.encode())
    assert 500 < percent_encoded < SOFT_METADATA_LIMIT - 1000
    assert set(details) <= {letter, "…"}


async def test_a_failed_handshake_is_told_from_an_absent_server() -> None:
    details = "Ssl handshake failed: SSL_ERROR_SSL: error:1000007d: CERTIFICATE_VERIFY_FAILED"
    found = await failure_of(Ended(grpc.StatusCode.UNAVAILABLE, details), *PEER)
    assert isinstance(found, UnauthenticatedError)
    assert "TLS handshake with director:50050 failed" in found.message
    assert "same federation and are not expired" in found.cure


@pytest.mark.parametrize(
    "end",
    [
        "handshaker shutdown",
        "Handshake read failed (recvmsg:Connection reset by peer (104))",
        "Handshake read failed (Socket closed)",
        "Handshake read failed (Endpoint closing)",
        "Handshake write failed (Endpoint closing)",
    ],
)
async def test_a_handshake_that_was_broken_off_blames_no_certificate(end: str) -> None:
    details = f"failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:46631: {end}"
    found = await failure_of(Ended(grpc.StatusCode.UNAVAILABLE, details), *PEER)
    assert isinstance(found, UnreachableError)


@pytest.mark.parametrize(
    "details",
    [
        "Peer name director.test.fx is not in peer certificate",
        "Custom verification check failed with error: UNAUTHENTICATED: Hostname Verification Check failed.",
    ],
)
async def test_another_server_at_the_address_is_named(details: str) -> None:
    found = await failure_of(Ended(grpc.StatusCode.UNAVAILABLE, details), *PEER)
    assert isinstance(found, UnauthenticatedError)
    assert found.message == (
        "the server at director:50050 is not 'director.test.fx': its certificate does not carry this name"
    )
    assert "check the address" in found.cure


async def test_an_absent_server_is_unreachable() -> None:
    found = await failure_of(Ended(grpc.StatusCode.UNAVAILABLE, "Connection refused"), *PEER)
    assert isinstance(found, UnreachableError)
    assert str(found) == (
        "director:50050 cannot be reached: Connection refused, nothing listens on this port there "
        "(check the address and that it is running)"
    )


@pytest.mark.parametrize(
    ("details", "told"),
    [
        ("DNS resolution failed for nowhere:1: C-ares status is not ARES_SUCCESS", "knows no host of this name"),
        ("errors resolving x.invalid:1: [field:hostname lookup error:address lookup failed", "knows no host of this"),
        ("ipv4:192.0.2.1:1: No route to host", "no way leads to this host"),
        ("connect: Network is unreachable (101)", "no way leads to this host"),
    ],
)
async def test_why_a_server_is_unreachable_is_told_in_words(details: str, told: str) -> None:
    found = await failure_of(Ended(grpc.StatusCode.UNAVAILABLE, details), *PEER)
    assert isinstance(found, UnreachableError)
    assert told in found.message


@pytest.mark.parametrize("mark", ["WRONG_VERSION_NUMBER", "HTTP_REQUEST"])
async def test_a_program_without_tls_at_the_port_is_called_another_one(mark: str) -> None:
    details = f"Tls handshake failed (TSI_PROTOCOL_FAILURE): SSL_ERROR_SSL: error:1: OPENSSL_internal:{mark}"
    found = await failure_of(Ended(grpc.StatusCode.UNAVAILABLE, details), *PEER)
    assert isinstance(found, UnauthenticatedError)
    assert found.message == (
        "what answers at director:50050 is another program: it speaks no TLS; a web server or SSH, perhaps"
    )
    assert "'listen' in director.yaml" in found.cure


async def test_without_details_the_status_is_named() -> None:
    found = await failure_of(Ended(grpc.StatusCode.DEADLINE_EXCEEDED, None), *PEER)
    assert "DEADLINE_EXCEEDED" in found.message


async def test_an_unknown_code_of_a_newer_peer_is_internal() -> None:
    found = await failure_of(Ended(grpc.StatusCode.ABORTED, "what", ((CODE_KEY, "E777"),)), *PEER)
    assert isinstance(found, InternalError)


async def test_other_metadata_is_passed_over() -> None:
    metadata = (("x-proxy", "E203"), (CODE_KEY, NotFoundError.code))
    found = await failure_of(Ended(grpc.StatusCode.NOT_FOUND, "no", metadata), *PEER)
    assert isinstance(found, NotFoundError)
