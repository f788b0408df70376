"""The authority's answers, without a socket."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from openfl_like.errors import CredentialError, NotAllowedError, RevokedError, UnauthenticatedError, UsageError
from openfl_like.pki.administration import check_not_revoked, make_token, published, revoke
from openfl_like.pki.authority import new_key_and_csr
from openfl_like.pki.certificate import describe
from openfl_like.pki.files import Credentials, Trust
from openfl_like.pki.ledger import Ledger
from openfl_like.pki.lifetime import ValidityPeriod
from openfl_like.pki.peer import verify_peer
from openfl_like.pki.roles import Identity, Role
from openfl_like.pki.token import Token
from openfl_like.services.identity.enrolment_server import MOST_FAILURES, EnrolmentService, Throttle
from openfl_like.testing.certificates import ThrowAwayFederation
from openfl_like.wire.enrolment import Question

HOUR = timedelta(hours=1)


@pytest.fixture
def federation(tmp_path: Path) -> ThrowAwayFederation:
    return ThrowAwayFederation(tmp_path)


@pytest.fixture
def office(federation: ThrowAwayFederation) -> EnrolmentService:
    return EnrolmentService(federation.certs)


def offered(federation: ThrowAwayFederation, role: Role = Role.ENVOY, hosts: tuple[str, ...] = ()) -> Token:
    return make_token(federation.certs, Identity("test", role, "one"), "localhost:1", hosts=hosts, lifetime=HOUR)


def question(certificate: bytes = b"", host: str = "10.0.0.1", **fields: str) -> Question:
    return Question(host, certificate, fields)


def wish(token: Token, csr: bytes | None = None) -> Question:
    request = csr or new_key_and_csr()[1]
    return question(ask="enrol", secret=token.secret.hex(), csr=request.decode())


def trust_of(answer: Mapping[str, str]) -> Trust:
    return Trust(*(answer[name].encode() for name in ("root", "site_ca", "experiment_ca")))


async def test_a_token_gives_a_certificate_for_whom_it_names(
    federation: ThrowAwayFederation, office: EnrolmentService
) -> None:
    answer = await office.answer(wish(offered(federation)))
    chain = answer["chain"].encode()
    assert verify_peer(chain, trust_of(answer), datetime.now(UTC)).uri == "fx://test/envoy/one"
    assert trust_of(answer) == federation.trust
    assert ValidityPeriod.of(chain).length == HOUR
    (issued,) = Ledger(federation.certs / "site-ca").issued()
    assert (issued.by, issued.serial) == ("token", describe(chain, "test").serial)


async def test_the_hosts_are_those_of_the_token(federation: ThrowAwayFederation, office: EnrolmentService) -> None:
    answer = await office.answer(wish(offered(federation, Role.DIRECTOR, ("d.example.org",))))
    assert describe(answer["chain"].encode(), "test").names == ("director.test.fx", "d.example.org")


async def test_it_is_good_once_also_at_another_office(
    federation: ThrowAwayFederation, office: EnrolmentService
) -> None:
    token = offered(federation)
    await office.answer(wish(token))
    for again in (office, EnrolmentService(federation.certs)):
        with pytest.raises(NotAllowedError, match="used before"):
            await again.answer(wish(token))


async def test_a_request_that_cannot_be_certified_does_not_use_it_up(
    federation: ThrowAwayFederation, office: EnrolmentService
) -> None:
    token = offered(federation)
    for csr in (b"nonsense", new_key_and_csr()[1][:-40]):
        with pytest.raises(CredentialError):
            await office.answer(wish(token, csr))
    await office.answer(wish(token))


async def test_a_key_is_certified_once(federation: ThrowAwayFederation, office: EnrolmentService) -> None:
    csr = new_key_and_csr()[1]
    await office.answer(wish(offered(federation), csr))
    with pytest.raises(CredentialError, match="certified before"):
        await office.answer(wish(offered(federation), csr))


def renewing(credentials: Credentials) -> Question:
    return question(credentials.chain, ask="renew", csr=new_key_and_csr()[1].decode())


async def test_a_valid_certificate_is_renewed_with_the_same_hosts_and_length(
    federation: ThrowAwayFederation, office: EnrolmentService
) -> None:
    first = await office.answer(wish(offered(federation, Role.DIRECTOR, ("d.example.org",))))
    present = question(first["chain"].encode(), ask="renew", csr=new_key_and_csr()[1].decode())
    second = (await office.answer(present))["chain"].encode()
    assert describe(second, "test").names == ("director.test.fx", "d.example.org")
    assert ValidityPeriod.of(second).length == HOUR
    assert [issued.by for issued in Ledger(federation.certs / "site-ca").issued()].count("renewal") == 1


async def test_without_a_certificate_or_with_one_of_an_experiment_nothing_is_renewed(
    federation: ThrowAwayFederation, office: EnrolmentService
) -> None:
    with pytest.raises(UnauthenticatedError, match="no certificate was shown"):
        await office.answer(question(ask="renew", csr=""))
    with pytest.raises(NotAllowedError, match="its Director certifies it"):
        await office.answer(renewing(federation.credentials(Role.COLLABORATOR, "one", "digits")))


async def test_a_revoked_one_is_neither_renewed_nor_told_anything_and_its_key_is_worth_nothing(
    federation: ThrowAwayFederation, office: EnrolmentService
) -> None:
    csr = new_key_and_csr()[1]
    answer = await office.answer(wish(offered(federation), csr))
    revoke(federation.certs, Identity("test", Role.ENVOY, "one"), "", datetime.now(UTC))
    chain = answer["chain"].encode()
    for asked in (
        question(chain, ask="renew", csr=new_key_and_csr()[1].decode()),
        question(chain, ask="revocations", known="0"),
    ):
        with pytest.raises(RevokedError):
            await office.answer(asked)
    with pytest.raises(CredentialError, match="certified before"):
        await office.answer(wish(offered(federation), csr))
    fresh = await office.answer(wish(offered(federation)))
    await office.answer(question(fresh["chain"].encode(), ask="revocations", known="0"))


async def test_a_token_that_is_older_than_a_revocation_of_its_name_is_worth_nothing(
    federation: ThrowAwayFederation, office: EnrolmentService
) -> None:
    token = offered(federation)
    revoke(federation.certs, Identity("test", Role.ENVOY, "one"), "a token was stolen", datetime.now(UTC))
    with pytest.raises(NotAllowedError, match="made before fx://test/envoy/one was revoked"):
        await office.answer(wish(token))
    with pytest.raises(NotAllowedError, match="was used before"):
        await office.answer(wish(token))


class Hurried(EnrolmentService):
    """An authority whose administrator revokes somebody just while that certificate is renewed."""

    def _check_key(self, request: bytes) -> None:
        revoke(self.certs, Identity("test", Role.ENVOY, "one"), "stolen", datetime.now(UTC))
        super()._check_key(request)


async def test_a_renewal_that_overlaps_a_revocation_falls_with_it(federation: ThrowAwayFederation) -> None:
    first = await EnrolmentService(federation.certs).answer(wish(offered(federation)))
    renewed = await Hurried(federation.certs).answer(
        question(first["chain"].encode(), ask="renew", csr=new_key_and_csr()[1].decode())
    )
    with pytest.raises(RevokedError):
        check_not_revoked(published(federation.certs, federation.trust.site_ca), renewed["chain"].encode())


async def test_the_list_is_sent_to_who_does_not_know_it(
    federation: ThrowAwayFederation, office: EnrolmentService
) -> None:
    director = federation.credentials(Role.DIRECTOR, "director").chain
    assert await office.answer(question(director, ask="revocations", known="0")) == {"number": "0"}
    revoke(federation.certs, Identity("test", Role.ENVOY, "gone"), "", datetime.now(UTC))
    answer = await office.answer(question(director, ask="revocations", known="0"))
    assert (answer["number"], "gone" in answer["list"]) == ("1", True)
    assert await office.answer(question(director, ask="revocations", known="1")) == {"number": "1"}


async def test_who_fails_too_often_has_to_wait_and_others_do_not(
    federation: ThrowAwayFederation, office: EnrolmentService
) -> None:
    for _ in range(MOST_FAILURES):
        with pytest.raises(NotAllowedError, match="unknown"):
            await office.answer(question(ask="enrol", secret="00" * 32, csr=new_key_and_csr()[1].decode()))
    with pytest.raises(NotAllowedError, match="failed tries"):
        await office.answer(question(ask="authority"))
    assert await office.answer(question(host="10.0.0.2", ask="authority"))
    member = federation.credentials(Role.ENVOY, "two")
    assert await office.answer(question(member.chain, ask="revocations", known="0"))


@pytest.mark.parametrize("word", ["", "sign", "_enrol"])
async def test_there_is_no_other_question(office: EnrolmentService, word: str) -> None:
    with pytest.raises(UsageError, match="does not know"):
        await office.answer(question(ask=word))


def test_failures_are_forgotten_after_a_minute() -> None:
    time_s = [0.0]
    throttle = Throttle(lambda: time_s[0])
    for _ in range(MOST_FAILURES):
        throttle.check("one")
        throttle.failed("one")
    with pytest.raises(NotAllowedError):
        throttle.check("one")
    time_s[0] = 60.0
    throttle.check("one")


async def test_the_servers_own_certificate_is_no_members(
    federation: ThrowAwayFederation, office: EnrolmentService
) -> None:
    chain, _ = office.authority.serving(datetime.now(UTC))
    with pytest.raises(UnauthenticatedError, match="exactly one identity"):
        verify_peer(chain, federation.trust, datetime.now(UTC))
    assert describe(chain, "test").usages == ("serverAuth",)
