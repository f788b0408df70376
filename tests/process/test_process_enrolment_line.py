"""The line to the authority: who is told what, and what strangers can do to it."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from openfl_like.errors import CertificateExpiredError, UnauthenticatedError, UnreachableError
from openfl_like.pki.administration import make_token
from openfl_like.pki.authority import Authority, enrolment_name
from openfl_like.pki.roles import Identity, Role
from openfl_like.pki.token import Token
from openfl_like.services.identity.enrolment_client import enrol, fetch_revocations, renew
from openfl_like.services.identity.enrolment_server import EnrolmentService
from openfl_like.testing.certificates import ThrowAwayFederation
from openfl_like.wire import enrolment
from openfl_like.wire.enrolment import EnrolmentServer, Question, ask
from openfl_like.wire.tls import load_chain, office_context, pinned_context, stranger_context

pytestmark = pytest.mark.process


@dataclass
class Rogue:
    """Takes the place of an authority and notes what it is told."""

    site_ca: bytes
    asked: list[Mapping[str, str]] = field(default_factory=list)

    async def answer(self, question: Question) -> Mapping[str, str]:
        self.asked.append(question.fields)
        return {"site_ca": self.site_ca.decode()}


@asynccontextmanager
async def serving(root: bytes, chain: tuple[bytes, bytes], answering: enrolment.Answering) -> AsyncIterator[str]:
    context = office_context(root)
    load_chain(context, *chain)
    async with EnrolmentServer("localhost:0", context, answering) as server:
        yield f"localhost:{server.port}"


@asynccontextmanager
async def office(federation: ThrowAwayFederation) -> AsyncIterator[str]:
    found = EnrolmentService(federation.certs)
    async with serving(federation.trust.root, found.authority.serving(datetime.now(UTC)), found.answer) as address:
        yield address


def offered(federation: ThrowAwayFederation, address: str) -> Token:
    return make_token(federation.certs, Identity("hospitals", Role.ENVOY, "new"), address)


async def test_another_authority_is_told_nothing(
    certificates: ThrowAwayFederation, strangers: ThrowAwayFederation
) -> None:
    rogue = Rogue(strangers.trust.site_ca)
    chain = Authority.load(strangers.certs / "site-ca").serving(datetime.now(UTC))
    async with serving(strangers.trust.root, chain, rogue.answer) as address:
        with pytest.raises(UnauthenticatedError, match="another authority"):
            await enrol(offered(certificates, address))
    assert rogue.asked == [{"ask": "authority"}]


@pytest.mark.parametrize("key", ["experiment-ca", "root", "member"])
async def test_nor_is_one_that_shows_the_right_certificate_and_has_another_key(
    certificates: ThrowAwayFederation, key: str
) -> None:
    """A Director that was broken into has the experiment CA's key, and its own."""
    rogue, trust = Rogue(certificates.trust.site_ca), certificates.trust
    if key == "member":
        director = certificates.credentials(Role.DIRECTOR, "director")
        chain = director.chain, director.key
    else:
        chain = Authority.load(certificates.certs / key).serving(datetime.now(UTC))
    async with serving(trust.root, chain, rogue.answer) as address:
        token = offered(certificates, address)
        with pytest.raises(UnauthenticatedError, match="not this federation's authority"):
            await enrol(token)
        envoy = replace(certificates.credentials(Role.ENVOY, "one"), enrolment=address)
        with pytest.raises(UnauthenticatedError, match="not this federation's authority"):
            await renew(envoy)
    assert rogue.asked == [{"ask": "authority"}]


async def test_a_member_renews_and_is_told_the_list(certificates: ThrowAwayFederation) -> None:
    async with office(certificates) as address:
        joined = await enrol(offered(certificates, address))
        fresh = await renew(joined)
        assert (fresh.identity, fresh.enrolment) == (joined.identity, address)
        assert fresh.key != joined.key
        assert await fetch_revocations(fresh, 0) is None


async def test_one_whose_certificate_is_over_hears_that_and_not_that_nobody_is_there(
    certificates: ThrowAwayFederation,
) -> None:
    old = certificates.credentials(Role.ENVOY, "one", now=datetime.now(UTC) - timedelta(days=9))
    async with office(certificates) as address:
        with pytest.raises(CertificateExpiredError):
            await renew(old, address)


async def test_a_stranger_with_a_certificate_of_its_own_is_not_let_in(
    certificates: ThrowAwayFederation, strangers: ThrowAwayFederation
) -> None:
    stranger = strangers.credentials(Role.ENVOY, "one")
    async with office(certificates) as address:
        context = pinned_context(certificates.trust.site_ca, stranger)
        with pytest.raises(UnreachableError):
            await ask(address, context, enrolment_name("hospitals"), {"ask": "revocations", "known": "0"})


async def test_nonsense_is_answered_or_cut_and_others_are_served(
    certificates: ThrowAwayFederation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enrolment, "PATIENCE_S", 1.0)
    lines = [
        b"\n",
        b"{}\n",
        b"[1]\n",
        b'{"ask": 3}\n',
        b"\xff\n",
        b"x" * 100_000 + b"\n",
        b"no end",
        b"[" * 9_000 + b"\n",
    ]
    async with office(certificates) as address:
        port = int(address.rpartition(":")[2])
        silent = await asyncio.open_connection("localhost", port)
        for line in lines:
            reader, writer = await asyncio.open_connection("localhost", port, ssl=stranger_context())
            writer.write(line)
            answer = b""
            with contextlib.suppress(ConnectionError, ssl.SSLError):  # cut, before all of it was read
                answer = await reader.read()
            assert not answer or "code" in json.loads(answer), line[:20]
            writer.close()
        assert (await ask(address, stranger_context(), "x", {"ask": "authority"}))["site_ca"]
        silent[1].close()


@pytest.mark.parametrize(
    "answer",
    [
        b"[" * 200_000 + b"]" * 200_000,
        b'{"answer": ' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"answer":' * 40_000 + b"1" + b"}" * 40_000,
        b'{"answer": {"site_ca": ' + b"9" * 5_000 + b"}}",
        b'{"answer": 3}',
        b"[]",
        b"\xff",
        b" " * 600_000,
    ],
    ids=["lists", "lists in an answer", "objects", "a number", "a number as answer", "a list", "no text", "too long"],
)
async def test_an_authority_that_answers_nonsense_is_none(certificates: ThrowAwayFederation, answer: bytes) -> None:
    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        with contextlib.suppress(ConnectionError):
            writer.write(answer + b"\n")
            await writer.drain()
            writer.close()

    context = office_context(certificates.trust.root)
    load_chain(context, *EnrolmentService(certificates.certs).authority.serving(datetime.now(UTC)))
    async with await asyncio.start_server(nonsense, "localhost", 0, ssl=context) as server:
        address = f"localhost:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(UnreachableError, match=f"what answers at {address} is not an authority of this platform"):
            await enrol(offered(certificates, address))


async def test_there_is_no_more_room_than_for_so_many_connections(
    certificates: ThrowAwayFederation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enrolment, "MOST_CONNECTIONS", 2)
    async with office(certificates) as address:
        port = int(address.rpartition(":")[2])
        held = [await asyncio.open_connection("localhost", port, ssl=stranger_context()) for _ in range(2)]
        with pytest.raises(UnreachableError):
            await ask(address, stranger_context(), "x", {"ask": "authority"})
        for _, writer in held:
            writer.close()


async def test_nobody_is_there(tmp_path: Path, certificates: ThrowAwayFederation) -> None:
    with pytest.raises(UnreachableError, match="fx pki serve"):
        await enrol(offered(certificates, "localhost:1"))
