from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from openfl_like.errors import CertificateExpiredError, CredentialError, UnauthenticatedError
from openfl_like.pki.administration import issue_credentials
from openfl_like.pki.authority import create_authorities
from openfl_like.pki.files import Credentials, Trust
from openfl_like.pki.roles import Identity, Role
from openfl_like.pki.signing import sign, verify_signature


def test_the_signer_is_named(issued: Callable[..., Credentials], trust: Trust, now: datetime) -> None:
    user = issued(Role.USER)
    assert verify_signature(b"digest", sign(b"digest", user), user.chain, trust, now) == user.identity


def test_one_other_byte_is_noticed(issued: Callable[..., Credentials], trust: Trust, now: datetime) -> None:
    user = issued(Role.USER)
    with pytest.raises(UnauthenticatedError, match="not one of fx://hospitals/user/one"):
        verify_signature(b"digesT", sign(b"digest", user), user.chain, trust, now)


@pytest.mark.parametrize("signature", [b"", b"nonsense", b"\x30\x06\x02\x01\x00\x02\x01\x00", b"\0" * 72])
def test_garbage_is_no_signature(
    issued: Callable[..., Credentials], trust: Trust, now: datetime, signature: bytes
) -> None:
    with pytest.raises(UnauthenticatedError):
        verify_signature(b"digest", signature, issued(Role.USER).chain, trust, now)


def test_a_signature_of_somebody_else_is_noticed(
    issued: Callable[..., Credentials], trust: Trust, now: datetime
) -> None:
    with pytest.raises(UnauthenticatedError):
        verify_signature(b"digest", sign(b"digest", issued(Role.USER)), issued(Role.USER).chain, trust, now)


def test_a_signature_for_another_purpose_does_not_count(
    issued: Callable[..., Credentials], trust: Trust, now: datetime
) -> None:
    user = issued(Role.USER)
    key = serialization.load_pem_private_key(user.key, password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    bare = key.sign(b"digest", ec.ECDSA(hashes.SHA256()))
    with pytest.raises(UnauthenticatedError):
        verify_signature(b"digest", bare, user.chain, trust, now)


def test_the_signer_must_be_of_this_federation(tmp_path: Path, trust: Trust, now: datetime) -> None:
    create_authorities(tmp_path, "hospitals", now)
    stranger = issue_credentials(tmp_path, Identity("hospitals", Role.USER, "one"), now=now)
    with pytest.raises(UnauthenticatedError, match="has not issued"):
        verify_signature(b"digest", sign(b"digest", stranger), stranger.chain, trust, now)


def test_an_expired_signer_does_not_count(issued: Callable[..., Credentials], trust: Trust, now: datetime) -> None:
    user = issued(Role.USER, days=1)
    with pytest.raises(CertificateExpiredError):
        verify_signature(b"digest", sign(b"digest", user), user.chain, trust, now + timedelta(days=2))


@pytest.mark.parametrize("key", [b"", b"nonsense"])
def test_an_unusable_key_is_a_clear_error(issued: Callable[..., Credentials], key: bytes) -> None:
    with pytest.raises(CredentialError, match="fx://hospitals/user/one"):
        sign(b"digest", replace(issued(Role.USER), key=key))


def test_a_key_of_another_kind_is_a_clear_error(issued: Callable[..., Credentials]) -> None:
    pem = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(CredentialError, match="P-256"):
        sign(b"digest", replace(issued(Role.USER), key=pem))
