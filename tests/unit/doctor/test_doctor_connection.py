"""What a server's certificate and clock say, without a network; the steps before them have process tests."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from openfl_like.doctor import connection
from openfl_like.doctor.checks import Check, Deferred, run_checks
from openfl_like.doctor.connection import Line, judge_clock
from openfl_like.doctor.finding import Finding, Verdict
from openfl_like.pki.authority import Authority, enrolment_name
from openfl_like.pki.roles import Role
from openfl_like.testing.certificates import DAY, ThrowAwayFederation

WHERE = "director.example.org:50050"


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> ThrowAwayFederation:
    return ThrowAwayFederation(tmp_path_factory.mktemp("federation"), "hospitals", datetime.now(UTC) - 30 * DAY)


def judged(pem: bytes, federation: ThrowAwayFederation) -> Finding:
    return connection._judged(pem, federation.trust, WHERE)


def test_the_director_is_known(federation: ThrowAwayFederation) -> None:
    found = judged(federation.credentials(Role.DIRECTOR, "central").chain, federation)
    assert (found.verdict, found.seen) == (Verdict.OK, "fx://hospitals/director/central")


def test_a_director_of_another_federation_is_none(federation: ThrowAwayFederation, tmp_path: Path) -> None:
    found = judged(ThrowAwayFederation(tmp_path, "banks").credentials(Role.DIRECTOR, "central").chain, federation)
    assert "shows a certificate for fx://banks/director/central" in found.seen
    assert "another federation" in found.cause
    assert "root.pem must be the same" in found.cure


def test_an_aggregator_is_no_director(federation: ThrowAwayFederation) -> None:
    found = judged(federation.credentials(Role.AGGREGATOR, "digits-1").chain, federation)
    assert "no Director" in found.seen
    assert "director.yaml" in found.cure


def test_an_expired_director_is_told(federation: ThrowAwayFederation) -> None:
    old = federation.credentials(Role.DIRECTOR, "central", now=datetime.now(UTC) - 3 * DAY)
    found = judged(old.chain, federation)
    assert "E204" in found.seen
    assert "this machine's clock" in found.cause
    assert "fx pki renew" in found.cure


def test_the_authoritys_server_is_no_director(federation: ThrowAwayFederation) -> None:
    office = Authority.load(federation.certs / "site-ca").serving(datetime.now(UTC))
    found = judged(office[0], federation)
    assert enrolment_name("hospitals") in found.seen
    assert "fx pki serve" in found.cause


@pytest.mark.parametrize(
    ("ahead_s", "verdict", "words"),
    [
        (0.2, Verdict.OK, "0.2 s ahead of"),
        (-290.0, Verdict.OK, "290.0 s behind"),
        (400.0, Verdict.WARN, "renewed certificates bear 5 min"),
        (-90_000.0, Verdict.FAIL, "certificates of experiments bear 24 h"),
    ],
)
def test_clocks_are_judged_by_what_certificates_bear(ahead_s: float, verdict: Verdict, words: str) -> None:
    found = judge_clock(ahead_s, 0.05)
    assert found.verdict is verdict
    assert words in found.seen
    assert verdict is Verdict.OK or "timedatectl" in found.cure


async def test_what_is_no_address_is_told_and_the_rest_is_skipped(federation: ThrowAwayFederation) -> None:
    async def none() -> None:
        raise AssertionError

    way = Line("director", federation.certs, Deferred("certificates", none))  # type: ignore[arg-type] # never asked
    checks: list[Check] = way.checks()
    first, *others = await run_checks(checks)
    assert "is not of the form HOST:PORT" in first.seen
    assert {one.verdict for one in others} == {Verdict.SKIP}
