import ssl
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from openfl_like.errors import CertificateExpiredError, CredentialError, UnauthenticatedError
from openfl_like.pki import peer
from openfl_like.pki.administration import issue_credentials
from openfl_like.pki.authority import Authority, create_authorities
from openfl_like.pki.files import Credentials, Trust
from openfl_like.pki.peer import PeerVerifier, verify_peer
from openfl_like.pki.roles import Identity, Role

ENVOY_URI = "fx://hospitals/envoy/one"
CLIENT = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
LEAF = x509.BasicConstraints(ca=False, path_length=None)


def minted(
    authority: Authority, uris: list[str], now: datetime, extensions: tuple[x509.ExtensionType, ...] = (CLIENT, LEAF)
) -> bytes:
    """A certificate that the real authority's key signed, but with whatever a thief of that key likes in it."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
    )
    if uris:
        names = [x509.UniformResourceIdentifier(uri) for uri in uris]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(authority._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize("role", list(Role))
def test_every_role_is_recognised(issued: Callable[..., Credentials], trust: Trust, now: datetime, role: Role) -> None:
    credentials = issued(role)
    assert verify_peer(credentials.chain, trust, now) == credentials.identity


def test_a_minted_certificate_with_nothing_wrong_passes(certs: Path, trust: Trust, now: datetime) -> None:
    pem = minted(Authority.load(certs / "site-ca"), [ENVOY_URI], now)
    assert verify_peer(pem, trust, now) == Identity("hospitals", Role.ENVOY, "one")


@pytest.mark.parametrize(
    "uris",
    [
        [],
        [ENVOY_URI, "fx://hospitals/admin/one"],
        [ENVOY_URI, ENVOY_URI],
        [ENVOY_URI, "https://example.org/"],
        ["https://hospitals/envoy/one"],
        ["fx://hospitals/envoy"],
        ["fx://hospitals/emperor/one"],
        ["fx://banks/envoy/one"],
    ],
)
def test_exactly_one_identity_of_this_federation(certs: Path, trust: Trust, now: datetime, uris: list[str]) -> None:
    with pytest.raises(UnauthenticatedError):
        verify_peer(minted(Authority.load(certs / "site-ca"), uris, now), trust, now)


@pytest.mark.parametrize("name", ["envoy/one", "director/one", "user/one", "admin/one", "gateway/one"])
@pytest.mark.parametrize("authority", ["experiment-ca", "root"])
def test_no_other_authority_mints_site_roles(
    certs: Path, trust: Trust, now: datetime, name: str, authority: str
) -> None:
    with pytest.raises(UnauthenticatedError, match="has not issued"):
        verify_peer(minted(Authority.load(certs / authority), [f"fx://hospitals/{name}"], now), trust, now)


@pytest.mark.parametrize("name", ["aggregator/digits", "collaborator/digits/one"])
@pytest.mark.parametrize("authority", ["site-ca", "root"])
def test_no_other_authority_mints_experiment_roles(
    certs: Path, trust: Trust, now: datetime, name: str, authority: str
) -> None:
    with pytest.raises(UnauthenticatedError, match="has not issued"):
        verify_peer(minted(Authority.load(certs / authority), [f"fx://hospitals/{name}"], now), trust, now)


@pytest.mark.parametrize(
    "extensions",
    [
        (),
        (LEAF,),
        (CLIENT,),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), LEAF),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), LEAF),
        (CLIENT, x509.BasicConstraints(ca=True, path_length=0)),
    ],
)
def test_a_certificate_must_be_a_leaf_for_clients(
    certs: Path, trust: Trust, now: datetime, extensions: tuple[x509.ExtensionType, ...]
) -> None:
    with pytest.raises(UnauthenticatedError):
        verify_peer(minted(Authority.load(certs / "site-ca"), [ENVOY_URI], now, extensions), trust, now)


def test_another_federation_of_the_same_name_is_not_this_one(tmp_path: Path, trust: Trust, now: datetime) -> None:
    create_authorities(tmp_path, "hospitals", now)
    stranger = issue_credentials(tmp_path, Identity("hospitals", Role.ENVOY, "one"), now=now)
    with pytest.raises(UnauthenticatedError, match="has not issued"):
        verify_peer(stranger.chain, trust, now)


def test_authorities_are_no_peers(trust: Trust, now: datetime) -> None:
    for pem in (trust.root, trust.site_ca, trust.experiment_ca):
        with pytest.raises(UnauthenticatedError):
            verify_peer(pem, trust, now)


@pytest.mark.parametrize("pem", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_garbage_is_no_peer(trust: Trust, now: datetime, pem: bytes) -> None:
    with pytest.raises(UnauthenticatedError):
        verify_peer(pem, trust, now)


@pytest.mark.parametrize(
    "offset",
    [timedelta(0), timedelta(minutes=-9), timedelta(hours=23, minutes=59)],  # 5 minutes back, and 5 for this clock
)
def test_a_valid_certificate_passes_again(
    issued: Callable[..., Credentials], trust: Trust, now: datetime, offset: timedelta
) -> None:
    verifier, credentials = PeerVerifier(trust), issued(Role.COLLABORATOR, days=1)
    assert verifier.identify(credentials.chain, now) == credentials.identity
    assert verifier.identify(credentials.chain, now + offset) == credentials.identity


@pytest.mark.parametrize("offset", [timedelta(minutes=-11), timedelta(days=1, seconds=1)])
def test_time_is_checked_on_every_call(
    issued: Callable[..., Credentials], trust: Trust, now: datetime, offset: timedelta
) -> None:
    verifier, credentials = PeerVerifier(trust), issued(Role.COLLABORATOR, days=1)
    assert verifier.identify(credentials.chain, now) == credentials.identity
    with pytest.raises(CertificateExpiredError):
        verifier.identify(credentials.chain, now + offset)


def test_an_expired_authority_vouches_for_nobody(
    issued: Callable[..., Credentials], tmp_path: Path, now: datetime
) -> None:
    trust = create_authorities(tmp_path, "hospitals", now - timedelta(days=1820))
    peer_now = issue_credentials(
        tmp_path, Identity("hospitals", Role.ENVOY, "one"), lifetime=timedelta(days=30), now=now
    )
    verify_peer(peer_now.chain, trust, now + timedelta(days=4))
    with pytest.raises(CertificateExpiredError):
        verify_peer(peer_now.chain, trust, now + timedelta(days=6))


def test_a_known_certificate_is_not_parsed_again(
    issued: Callable[..., Credentials], trust: Trust, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    verifier, credentials = PeerVerifier(trust), issued(Role.ENVOY)
    verifier.identify(credentials.chain, now)
    monkeypatch.delattr(peer, "parse_certificate")
    assert verifier.identify(credentials.chain, now) == credentials.identity


def test_the_memory_of_peers_is_bounded(issued: Callable[..., Credentials], trust: Trust, now: datetime) -> None:
    verifier = PeerVerifier(trust, most_remembered=2)
    for _ in range(5):
        verifier.identify(issued(Role.ENVOY).chain, now)
    assert len(verifier._seen) == 2


def test_a_verifier_knows_its_federation(trust: Trust) -> None:
    assert PeerVerifier(trust).federation == "hospitals"


def test_a_verifier_needs_authorities_that_belong_together(trust: Trust) -> None:
    with pytest.raises(CredentialError):
        PeerVerifier(Trust(trust.root, trust.experiment_ca, trust.site_ca))


@pytest.fixture(scope="session")
def envoy(issued: Callable[..., Credentials]) -> x509.Certificate:
    return x509.load_pem_x509_certificate(issued(Role.ENVOY).chain)


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")  # a changed serial number
@settings(max_examples=400, deadline=None)
@given(position=st.integers(0, 10_000), change=st.integers(1, 255))
def test_a_changed_certificate_never_passes_and_never_crashes(
    envoy: x509.Certificate, trust: Trust, now: datetime, position: int, change: int
) -> None:
    der = bytearray(envoy.public_bytes(serialization.Encoding.DER))
    signed_part = len(envoy.tbs_certificate_bytes)  # stands after 4 bytes; what follows is the signature itself
    der[4 + position % signed_part] ^= change
    with pytest.raises(UnauthenticatedError):
        verify_peer(ssl.DER_cert_to_PEM_cert(bytes(der)).encode(), trust, now)


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=600))
def test_arbitrary_bytes_are_no_peer(trust: Trust, now: datetime, data: bytes) -> None:
    with pytest.raises(UnauthenticatedError):
        verify_peer(ssl.DER_cert_to_PEM_cert(data).encode(), trust, now)
