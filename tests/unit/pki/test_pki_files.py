import os
import stat
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from openfl_like.errors import CredentialError
from openfl_like.pki.authority import create_authorities
from openfl_like.pki.files import (
    Credentials,
    credentials_dir,
    load_credentials,
    make_private_dir,
    save_credentials,
    write_new,
    write_whole,
)
from openfl_like.pki.roles import Role

FILES = ["cert.pem", "experiment-ca.pem", "key.pem", "root.pem", "site-ca.pem"]


@pytest.fixture
def saved(tmp_path: Path, issued: Callable[..., Credentials]) -> Path:
    directory = tmp_path / "certs" / "envoy" / "one"
    save_credentials(directory, issued(Role.ENVOY))
    return directory


def test_what_was_saved_is_loaded(tmp_path: Path, issued: Callable[..., Credentials], now: datetime) -> None:
    for role in Role:
        credentials = issued(role)
        directory = credentials_dir(tmp_path, credentials.identity)
        assert directory == tmp_path / role.value / credentials.identity.name
        save_credentials(directory, credentials)
        assert load_credentials(directory, now) == credentials
        assert sorted(path.name for path in directory.iterdir()) == FILES


def test_folder_and_key_are_private(saved: Path) -> None:
    assert stat.S_IMODE(saved.stat().st_mode) == 0o700
    assert stat.S_IMODE((saved / "key.pem").stat().st_mode) == 0o600


def test_a_private_file_is_private_from_its_creation_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[int] = []
    plain_fsync = os.fsync
    old = os.umask(0)

    def looking_fsync(descriptor: int) -> None:
        modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        plain_fsync(descriptor)

    monkeypatch.setattr(os, "fsync", looking_fsync)
    try:
        write_new(tmp_path / "key", b"secret", private=True)
    finally:
        os.umask(old)
    assert modes == [0o600]


def test_writing_follows_no_link_and_overwrites_nothing(tmp_path: Path) -> None:
    target = tmp_path / "target"
    (tmp_path / "link").symlink_to(target)
    with pytest.raises(CredentialError, match="exists"):
        write_new(tmp_path / "link", b"secret", private=True)
    assert not target.exists()


def test_missing_parents_are_private_and_existing_ones_left(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    make_private_dir(tmp_path / "a" / "b")
    assert [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path, tmp_path / "a", tmp_path / "a" / "b")] == [
        0o755,
        0o700,
        0o700,
    ]


def test_a_file_in_the_way_of_a_folder_is_a_clear_error(tmp_path: Path, issued: Callable[..., Credentials]) -> None:
    (tmp_path / "certs").write_text("")
    with pytest.raises(CredentialError, match="cannot be made"):
        save_credentials(tmp_path / "certs" / "one", issued(Role.ENVOY))


def test_saving_refuses_to_overwrite_and_replaces_on_demand(
    saved: Path, issued: Callable[..., Credentials], now: datetime
) -> None:
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    fresh = issued(Role.ENVOY)
    with pytest.raises(CredentialError, match="not overwritten"):
        save_credentials(saved, fresh)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before
    save_credentials(saved, fresh, replace=True)
    assert load_credentials(saved, now) == fresh
    assert stat.S_IMODE((saved / "key.pem").stat().st_mode) == 0o600


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(saved: Path, now: datetime, name: str) -> None:
    (saved / name).unlink()
    with pytest.raises(CredentialError, match="missing") as caught:
        load_credentials(saved, now)
    assert caught.value.place == str(saved / name)
    assert caught.value.cure


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_a_malformed_file_is_refused(saved: Path, now: datetime, name: str, content: bytes) -> None:
    (saved / name).write_bytes(content)
    with pytest.raises(CredentialError):
        load_credentials(saved, now)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o601, 0o660])
def test_a_loose_key_is_refused(saved: Path, now: datetime, mode: int) -> None:
    (saved / "key.pem").chmod(mode)
    with pytest.raises(CredentialError, match=f"{mode:04o}") as caught:
        load_credentials(saved, now)
    assert "chmod 600" in caught.value.cure


def test_a_key_of_another_user_is_refused(saved: Path, now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: (saved / "key.pem").stat().st_uid + 1)
    with pytest.raises(CredentialError, match="belongs to the user"):
        load_credentials(saved, now)


def test_key_and_certificate_must_be_a_pair(saved: Path, issued: Callable[..., Credentials], now: datetime) -> None:
    save_credentials(saved, replace(issued(Role.ENVOY), key=issued(Role.ENVOY).key), replace=True)
    with pytest.raises(CredentialError, match="does not belong"):
        load_credentials(saved, now)


def test_time_is_checked_with_a_cure(saved: Path, now: datetime) -> None:
    load_credentials(saved, now + timedelta(hours=23))
    with pytest.raises(CredentialError, match="expired") as caught:
        load_credentials(saved, now + timedelta(days=1, seconds=1))
    assert caught.value.cure == "issue it again: fx pki issue envoy one --replace"
    with pytest.raises(CredentialError, match="not valid before"):
        load_credentials(saved, now - timedelta(minutes=6))


def test_trust_of_another_federation_is_refused(saved: Path, tmp_path: Path, now: datetime) -> None:
    other = create_authorities(tmp_path / "other", "hospitals", now)
    for name, pem in (("root", other.root), ("site-ca", other.site_ca), ("experiment-ca", other.experiment_ca)):
        (saved / f"{name}.pem").write_bytes(pem)
    with pytest.raises(CredentialError, match="has not issued"):
        load_credentials(saved, now)


def test_a_huge_file_is_refused(saved: Path, now: datetime) -> None:
    (saved / "root.pem").write_bytes(b"x" * 300_000)
    with pytest.raises(CredentialError, match="larger"):
        load_credentials(saved, now)


def test_credentials_never_show_their_key(issued: Callable[..., Credentials]) -> None:
    credentials = issued(Role.ENVOY)
    assert "PRIVATE" not in repr(credentials)


def test_where_it_is_renewed_is_kept(tmp_path: Path, issued: Callable[..., Credentials], now: datetime) -> None:
    enrolled = replace(issued(Role.ENVOY), enrolment="ca.example.org:50049")
    save_credentials(tmp_path / "one", enrolled)
    assert load_credentials(tmp_path / "one", now) == enrolled


def test_a_renewal_that_was_killed_between_key_and_certificate_is_completed(
    saved: Path, issued: Callable[..., Credentials], now: datetime
) -> None:
    fresh = issued(Role.ENVOY)
    (saved / "key.pem").write_bytes(fresh.key)
    (saved / ".cert.pem.new").write_bytes(fresh.chain)
    assert load_credentials(saved, now) == fresh
    assert sorted(path.name for path in saved.iterdir()) == FILES


def test_what_it_left_behind_before_that_is_not_used(
    saved: Path, issued: Callable[..., Credentials], now: datetime
) -> None:
    before = load_credentials(saved, now)
    for text in (issued(Role.ENVOY).chain, b"", b"nonsense"):
        (saved / ".cert.pem.new").write_bytes(text)
        assert load_credentials(saved, now) == before


def test_a_file_is_replaced_as_a_whole_and_private(tmp_path: Path) -> None:
    for data in (b"one", b"two"):
        write_whole(tmp_path / "list", data)
        assert (tmp_path / "list").read_bytes() == data
    assert stat.S_IMODE((tmp_path / "list").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["list"]
