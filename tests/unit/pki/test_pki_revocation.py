import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openfl_like.errors import CredentialError, RevokedError, UnauthenticatedError
from openfl_like.pki.administration import issue_credentials, published, revoke
from openfl_like.pki.authority import Authority, create_authorities, load_trust, new_key_and_csr
from openfl_like.pki.certificate import AuthorityKind, list_number, parse_certificate
from openfl_like.pki.files import Credentials, Trust
from openfl_like.pki.ledger import Ledger
from openfl_like.pki.peer import PeerVerifier
from openfl_like.pki.revocation import Entry, Facts, RevocationList, Revocations
from openfl_like.pki.roles import Identity, Role
from openfl_like.pki.signing import verify_signature

ONE = Identity("hospitals", Role.ENVOY, "one")
ENTRY = Entry(1, ONE.uri, ("ff",), ("ee",), "2030-01-01", "lost")


@pytest.fixture
def own(tmp_path: Path, now: datetime) -> Path:
    create_authorities(tmp_path, "hospitals", now)
    return tmp_path


def make(own: Path, identity: Identity, now: datetime) -> Credentials:
    return issue_credentials(own, identity, lifetime=timedelta(days=1), now=now)


def verifier(own: Path) -> PeerVerifier:
    trust, revocations = load_trust(own), Revocations()
    revocations.take(published(own, trust.site_ca))
    return PeerVerifier(trust, revocations)


def test_a_revoked_name_is_refused_and_a_new_key_of_it_is_not(own: Path, now: datetime) -> None:
    former, other = make(own, ONE, now), make(own, Identity("hospitals", Role.ENVOY, "two"), now)
    assert verifier(own).identify(former.chain, now) == ONE
    revoke(own, ONE, "lost", now)
    fresh = make(own, ONE, now)
    with pytest.raises(RevokedError, match="fx://hospitals/envoy/one was revoked"):
        verifier(own).identify(former.chain, now)
    assert verifier(own).identify(fresh.chain, now) == ONE
    assert verifier(own).identify(other.chain, now) == other.identity


def test_a_collaborators_certificate_falls_with_its_name_and_with_its_sites(own: Path, now: datetime) -> None:
    at_work, revocations = Identity("hospitals", Role.COLLABORATOR, "one", "exp-1"), Revocations()
    trust = load_trust(own)
    assert not revocations.falls_with(at_work, 0)
    revoke(own, ONE, "lost", now)
    revocations.take(published(own, trust.site_ca))
    assert revocations.falls_with(at_work, 0)
    assert not revocations.falls_with(at_work, 1)  # issued since then
    assert not revocations.falls_with(replace(at_work, name="two"), 0)
    revoke(own, at_work, "lost", now)
    revocations.take(published(own, trust.site_ca))
    assert [revocations.falls_with(at_work, number) for number in (0, 1, 2)] == [True, True, False]
    assert not revocations.falls_with(ONE, 1)


def test_again_and_again(own: Path, now: datetime) -> None:
    lives = []
    for number in range(1, 4):
        lives.append(make(own, ONE, now))
        assert revoke(own, ONE, "", now).number == number
    for former in lives:
        with pytest.raises(RevokedError):
            verifier(own).identify(former.chain, now)


def test_a_sites_collaborators_fall_with_it(own: Path, now: datetime) -> None:
    ours = make(own, Identity("hospitals", Role.COLLABORATOR, "one", "digits"), now)
    theirs = make(own, Identity("hospitals", Role.COLLABORATOR, "two", "digits"), now)
    revoke(own, ONE, "", now)
    with pytest.raises(RevokedError):
        verifier(own).identify(ours.chain, now)
    verifier(own).identify(theirs.chain, now)
    later = make(own, ours.identity, now)
    assert verifier(own).identify(later.chain, now) == later.identity


def test_another_role_of_the_same_name_is_another_holder(own: Path, now: datetime) -> None:
    user = make(own, Identity("hospitals", Role.USER, "one"), now)
    revoke(own, ONE, "", now)
    assert verifier(own).identify(user.chain, now) == user.identity


def test_serials_and_keys_of_the_records_are_in_the_list_those_that_are_over_are_not(own: Path, now: datetime) -> None:
    ledger = Ledger(own / "site-ca")
    later = now + timedelta(days=3)
    kept = ledger.record(make(own, ONE, later).chain, by="issue", lifetime=timedelta(days=1))
    ledger.record(make(own, ONE, now).chain, by="issue", lifetime=timedelta(days=1))
    (entry,) = revoke(own, ONE, "lost", later).entries
    assert (entry.serials, entry.keys, entry.reason) == ((kept.serial,), (kept.key,), "lost")


def test_serial_and_key_count_whatever_the_name_and_number() -> None:
    revocations = Revocations()
    revocations.take(RevocationList(1, (ENTRY,)))
    user = Identity("hospitals", Role.USER, "ada")
    revocations.check(Facts(user, "1", "2", 0))
    for facts in (Facts(user, "ff", "2", 9), Facts(user, "1", "ee", 9), Facts(ONE, "1", "2", 0)):
        with pytest.raises(RevokedError):
            revocations.check(facts)
    revocations.check(Facts(ONE, "1", "2", 1))


def test_an_older_list_never_takes_the_place_of_a_newer_one() -> None:
    revocations = Revocations()
    assert revocations.take(RevocationList(1, (ENTRY,)))
    assert not revocations.take(RevocationList(1, ()))
    assert not revocations.take(RevocationList(0, ()))
    with pytest.raises(RevokedError):
        revocations.check(Facts(ONE, "ff", "", 9))


def test_a_certificate_says_under_which_list_it_was_issued(own: Path, now: datetime) -> None:
    authority = Authority.load(own / "site-ca")
    request = issue_request()
    for number in (0, 1, 127, 128, 255, 256, 1 << 40):
        chain = authority.under(number).issue(ONE, request, lifetime=timedelta(days=1), now=now)
        assert list_number(parse_certificate(chain, "test")) == number
    assert list_number(authority.certificate) == 0


def issue_request() -> bytes:
    return new_key_and_csr()[1]


def test_a_signed_list_is_read_as_it_was(certs: Path) -> None:
    authority = Authority.load(certs / "site-ca")
    found = RevocationList().plus(ENTRY).plus(replace(ENTRY, number=2, serials=()))
    assert RevocationList.read(found.signed(authority), authority.pem) == found


def test_one_that_another_authority_signed_or_that_was_changed_is_refused(certs: Path) -> None:
    authority = Authority.load(certs / "site-ca")
    signed = RevocationList(1, (ENTRY,)).signed(authority)
    envelope = json.loads(signed)
    changed = json.dumps({**envelope, "list": envelope["list"].replace("one", "two")}).encode()
    for kind in (AuthorityKind.EXPERIMENT, AuthorityKind.ROOT):
        with pytest.raises(CredentialError, match="not a revocation list"):
            RevocationList.read(RevocationList(9).signed(Authority.load(certs / kind.value)), authority.pem)
    for data in (changed, b"", b"{}", b"[]", b"null", signed[:-9], b"x" * (1 << 20), b"[" * 100_000):
        with pytest.raises(CredentialError, match="not a revocation list"):
            RevocationList.read(data, authority.pem)


@given(st.binary(max_size=200))
def test_no_bytes_whatever_do_anything_else(certs: Path, data: bytes) -> None:
    with pytest.raises(CredentialError):
        RevocationList.read(data, load_trust(certs).site_ca)


def test_a_lists_signature_stands_under_nothing_else(certs: Path, trust: Trust, now: datetime) -> None:
    authority = Authority.load(certs / "site-ca")
    with pytest.raises(UnauthenticatedError):
        verify_signature(b"x", authority.sign(b"x"), authority.pem, trust, now)
