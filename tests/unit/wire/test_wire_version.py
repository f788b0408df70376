"""Peers of another version are told so, with both versions; the third number may differ."""

from dataclasses import dataclass, field

import grpc
import pytest

from openfl_like import __version__
from openfl_like.errors import VersionError
from openfl_like.wire.version import BEFORE, METADATA, VERSION_KEY, FormerProtocol, check_version, version_of

MAJOR, MINOR, _ = __version__.split(".")


@pytest.mark.parametrize("theirs", [__version__, f"{MAJOR}.{MINOR}.99", f"{MAJOR}.{MINOR}.1.dev3"])
def test_the_third_number_may_differ(theirs: str) -> None:
    check_version(theirs)


@pytest.mark.parametrize("theirs", [BEFORE, f"{MAJOR}.99.0", f"99.{MINOR}.0", "", "x" * 40])
def test_another_version_is_refused_with_both_named(theirs: str) -> None:
    with pytest.raises(VersionError) as caught:
        check_version(theirs)
    assert repr(theirs) in caught.value.message
    assert repr(__version__) in caught.value.message


def test_a_call_names_its_version_and_one_that_does_not_is_of_the_version_before() -> None:
    assert version_of(METADATA) == __version__
    assert version_of(()) == version_of(None) == BEFORE
    assert len(version_of(((VERSION_KEY, "9" * 5000),))) == 40


@dataclass
class Details:
    method: str
    invocation_metadata: tuple[tuple[str, str], ...] = ()


@dataclass
class Context:
    told: list[object] = field(default_factory=list)

    def set_trailing_metadata(self, metadata: tuple[tuple[str, str], ...]) -> None:
        self.told.append(dict(metadata))

    async def abort(self, code: grpc.StatusCode, details: str) -> None:
        self.told += [code, details]


@pytest.mark.parametrize("method", ["/openfl_like.v1.Attendance/Attend", "/grpc.health.v1.Health/Check"])
def test_calls_of_this_protocol_and_of_others_are_not_its_business(method: str) -> None:
    assert FormerProtocol().service(Details(method)) is None


async def test_a_peer_of_the_version_before_is_told_both_in_an_error_that_it_knows() -> None:
    handler = FormerProtocol().service(Details("/openfl_like.Director/Attend"))
    context = Context()
    assert handler is not None
    await handler.stream_stream(None, context)
    details, code, words = context.told
    assert details == {"fx-error-code": "E100"}
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert BEFORE in str(words)
    assert __version__ in str(words)
