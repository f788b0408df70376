"""How revocation lists come to who serves, without a network."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from openfl_like.errors import CredentialError, RevokedError, UnreachableError
from openfl_like.pki.administration import revoke
from openfl_like.pki.authority import Authority
from openfl_like.pki.files import Credentials
from openfl_like.pki.revocation import RevocationList
from openfl_like.pki.roles import Identity, Role
from openfl_like.services.identity import revocation_feed as revoking
from openfl_like.services.identity.revocation_feed import ListFile, RevocationFeed
from openfl_like.testing.certificates import ThrowAwayFederation


@pytest.fixture
def federation(tmp_path: Path) -> ThrowAwayFederation:
    return ThrowAwayFederation(tmp_path / "pki")


def published(federation: ThrowAwayFederation) -> Path:
    revoke(federation.certs, Identity("test", Role.ENVOY, "one"), "", datetime.now(UTC))
    return federation.certs / "site-ca" / "revoked.json"


def enrolled(federation: ThrowAwayFederation) -> Credentials:
    found = federation.credentials(Role.DIRECTOR, "director")
    return Credentials(found.identity, found.chain, found.key, found.trust, "localhost:1")


async def test_a_list_from_a_file_holds_is_kept_and_is_told(federation: ThrowAwayFederation, tmp_path: Path) -> None:
    given, told = published(federation), list[int]()
    director = federation.credentials(Role.DIRECTOR, "director")
    following = RevocationFeed(tmp_path / "own.json", lambda: director, given, lambda: told.append(1))
    await following.look()
    await following.look()
    assert (following.revocations.number, told) == (1, [1])
    published(federation)
    await following.look()
    assert (following.revocations.number, told) == (2, [1, 1])
    again = RevocationFeed(tmp_path / "own.json", lambda: director, None)
    assert again.revocations.number == 2


async def test_a_list_from_the_authority_does_too(
    federation: ThrowAwayFederation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    director, asked = enrolled(federation), list[int]()

    async def fetch(_: Credentials, known: int) -> bytes | None:
        asked.append(known)
        return None if known else published(federation).read_bytes()

    monkeypatch.setattr(revoking, "fetch_revocations", fetch)
    following = RevocationFeed(tmp_path / "own.json", lambda: director, None)
    await following.look()
    await following.look()
    assert (asked, following.revocations.number) == ([0, 1], 1)


async def test_it_holds_although_it_cannot_be_written_and_is_written_later(
    federation: ThrowAwayFederation, tmp_path: Path
) -> None:
    director = federation.credentials(Role.DIRECTOR, "director")
    own = tmp_path / "away" / "own.json"
    following = RevocationFeed(own, lambda: director, published(federation))
    await following.look()
    assert following.revocations.number == 1
    own.parent.mkdir()
    await following.look()
    assert RevocationFeed(own, lambda: director, None).revocations.number == 1


async def test_a_file_that_is_none_does_not_keep_the_authority_from_being_asked(
    federation: ThrowAwayFederation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    director, given = enrolled(federation), tmp_path / "given.json"
    given.write_text("{}")

    async def fetch(_: Credentials, __: int) -> bytes | None:
        return published(federation).read_bytes()

    monkeypatch.setattr(revoking, "fetch_revocations", fetch)
    following = RevocationFeed(tmp_path / "own.json", lambda: director, given)
    await following.look()
    assert following.revocations.number == 1
    assert "given.json" in following.problem


async def test_an_authority_that_is_silent_for_a_minute_is_a_problem_until_it_speaks(
    federation: ThrowAwayFederation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    director = enrolled(federation)

    async def away(_: Credentials, __: int) -> bytes | None:
        raise UnreachableError("nobody is there")

    async def there(_: Credentials, __: int) -> bytes | None:
        return None

    monkeypatch.setattr(revoking, "fetch_revocations", away)
    following = RevocationFeed(tmp_path / "own.json", lambda: director, None)
    await following.look()
    assert following.problem == ""
    following._silent_since -= 60.0
    await following.look()
    assert "nobody is there" in following.problem
    monkeypatch.setattr(revoking, "fetch_revocations", there)
    await following.look()
    assert following.problem == ""


async def test_a_director_that_was_revoked_says_so_at_once(
    federation: ThrowAwayFederation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    director = enrolled(federation)

    async def revoked(_: Credentials, __: int) -> bytes | None:
        raise RevokedError("it was revoked")

    monkeypatch.setattr(revoking, "fetch_revocations", revoked)
    following = RevocationFeed(tmp_path / "own.json", lambda: director, None)
    await following.look()
    assert "it was revoked" in following.problem


def test_a_list_that_the_site_ca_has_not_signed_is_not_read(federation: ThrowAwayFederation, tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    file = ListFile(path, federation.trust.site_ca)
    assert file.changed() is None
    path.write_bytes(RevocationList(9).signed(Authority.load(federation.certs / "experiment-ca")))
    for _ in range(2):
        with pytest.raises(CredentialError, match=r"list\.json"):
            file.changed()
    path.write_bytes(published(federation).read_bytes())
    assert file.changed() is not None
    assert file.changed() is None
