import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from openfl_like.errors import CredentialError, NotAllowedError, UsageError
from openfl_like.pki.authority import Authority, create_authorities, new_key_and_csr
from openfl_like.pki.certificate import AuthorityKind, parse_authorities
from openfl_like.pki.files import Credentials
from openfl_like.pki.roles import EXPERIMENT_ROLES, SERVER_ROLES, Identity, Role

ENVOY = Identity("hospitals", Role.ENVOY, "one")
DAY = timedelta(days=1)


def leaf_of(chain: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificates(chain)[0]


def names_of(leaf: x509.Certificate) -> list[x509.GeneralName]:
    return list(leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)


def test_founding_makes_three_authorities_under_one_root(certs: Path) -> None:
    root, site, experiment = (Authority.load(certs / kind.value) for kind in AuthorityKind)
    lengths = []
    for authority in (root, site, experiment):
        constraints = authority.certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        assert constraints.critical
        assert constraints.value.ca
        lengths.append(constraints.value.path_length)
        authority.certificate.verify_directly_issued_by(root.certificate)
    assert lengths == [1, 0, 0]
    assert {authority.federation for authority in (root, site, experiment)} == {"hospitals"}


def test_keys_and_folders_are_private(certs: Path) -> None:
    for kind in AuthorityKind:
        assert stat.S_IMODE((certs / kind.value).stat().st_mode) == 0o700
        assert stat.S_IMODE((certs / kind.value / "ca.key").stat().st_mode) == 0o600


def test_founding_overwrites_nothing(tmp_path: Path, now: datetime) -> None:
    create_authorities(tmp_path, "hospitals", now)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(CredentialError, match="already"):
        create_authorities(tmp_path, "banks", now)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_founding_leaves_nothing_half_done_beside_a_lone_authority(tmp_path: Path, now: datetime) -> None:
    (tmp_path / "experiment-ca").mkdir()
    with pytest.raises(CredentialError):
        create_authorities(tmp_path, "hospitals", now)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["experiment-ca"]


@pytest.mark.parametrize("name", ["", "Hospitals", "a_b", "-a", "a.b", "a/b", "..", "a" * 64, "a\n"])
def test_a_federation_is_named_like_a_dns_label(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError):
        create_authorities(tmp_path / "certs", name)
    assert not (tmp_path / "certs").exists()


@pytest.mark.parametrize("role", list(Role))
def test_a_certificate_says_role_use_and_time(
    issued: Callable[..., Credentials], certs: Path, now: datetime, role: Role
) -> None:
    credentials = issued(role, days=3)
    leaf = leaf_of(credentials.chain)
    identity = credentials.identity
    usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert usages.critical
    wanted = {ExtendedKeyUsageOID.CLIENT_AUTH}
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(identity.uri)]
    if role in SERVER_ROLES:
        wanted.add(ExtendedKeyUsageOID.SERVER_AUTH)
        names.append(x509.DNSName(identity.server_name))
    assert set(usages.value) == wanted
    assert names_of(leaf) == names
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    early = timedelta(hours=24) if role in EXPERIMENT_ROLES else timedelta(minutes=5)
    assert leaf.not_valid_before_utc == now - early
    assert leaf.not_valid_after_utc == now + timedelta(days=3)
    issuer = Authority.load(certs / ("experiment-ca" if role in EXPERIMENT_ROLES else "site-ca"))
    leaf.verify_directly_issued_by(issuer.certificate)
    assert credentials.chain.endswith(issuer.pem)


@pytest.mark.parametrize("role", sorted(SERVER_ROLES))
def test_servers_name_their_hosts(issued: Callable[..., Credentials], role: Role) -> None:
    names = names_of(leaf_of(issued(role, hosts=["example.org", "192.0.2.1", "::1", "example.org"]).chain))
    assert [str(name.value) for name in names[2:]] == ["example.org", "192.0.2.1", "::1"]


@pytest.mark.parametrize("role", sorted(set(Role) - SERVER_ROLES))
def test_clients_name_no_host(issued: Callable[..., Credentials], role: Role) -> None:
    with pytest.raises(UsageError, match="does not serve"):
        issued(role, hosts=["example.org"])


@pytest.mark.parametrize(
    "host",
    ["", "*.example.org", "example.org:50050", "director.hospitals.fx", "x.fx", "a..b", "-a", "a b", "Ä", "A.org"],
)
def test_odd_hosts_and_role_names_are_refused(issued: Callable[..., Credentials], host: str) -> None:
    with pytest.raises(UsageError):
        issued(Role.DIRECTOR, hosts=[host])


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("kind", list(AuthorityKind))
def test_each_authority_certifies_its_own_roles_only(
    certs: Path, now: datetime, role: Role, kind: AuthorityKind
) -> None:
    experiment = "digits" if role in EXPERIMENT_ROLES else ""
    identity = Identity("hospitals", role, "digits" if role is Role.AGGREGATOR else "one", experiment)
    authority, request = Authority.load(certs / kind.value), new_key_and_csr()[1]
    right = AuthorityKind.EXPERIMENT if role in EXPERIMENT_ROLES else AuthorityKind.SITE
    if kind is right:
        assert authority.issue(identity, request, lifetime=DAY, now=now)
    else:
        with pytest.raises(NotAllowedError):
            authority.issue(identity, request, lifetime=DAY, now=now)


def test_another_federation_is_not_certified(certs: Path, now: datetime) -> None:
    with pytest.raises(NotAllowedError):
        Authority.load(certs / "site-ca").issue(
            Identity("banks", Role.ENVOY, "one"), new_key_and_csr()[1], lifetime=DAY, now=now
        )


def test_wishes_of_a_request_are_ignored(certs: Path, now: datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    wishes = x509.SubjectAlternativeName(
        [x509.UniformResourceIdentifier("fx://hospitals/admin/evil"), x509.DNSName("director.hospitals.fx")]
    )
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "evil")]))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), critical=False)
        .add_extension(wishes, critical=True)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    leaf = leaf_of(Authority.load(certs / "site-ca").issue(ENVOY, request, lifetime=DAY, now=now))
    assert names_of(leaf) == [x509.UniformResourceIdentifier(ENVOY.uri)]
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert list(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.CLIENT_AUTH
    ]
    assert "evil" not in leaf.subject.rfc4514_string()
    assert leaf.public_key() == key.public_key()


def test_a_request_must_prove_its_key(certs: Path, now: datetime) -> None:
    request = x509.load_pem_x509_csr(new_key_and_csr()[1])
    der = bytearray(request.public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    forged = x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM)
    with pytest.raises(CredentialError, match="prove"):
        Authority.load(certs / "site-ca").issue(ENVOY, forged, lifetime=DAY, now=now)


def test_other_curves_are_refused(certs: Path, now: datetime) -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    pem = request.public_bytes(serialization.Encoding.PEM)
    with pytest.raises(CredentialError, match="P-256"):
        Authority.load(certs / "site-ca").issue(ENVOY, pem, lifetime=DAY, now=now)


def test_other_kinds_of_key_are_refused(certs: Path, now: datetime) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, None)
    pem = request.public_bytes(serialization.Encoding.PEM)
    with pytest.raises(CredentialError, match="P-256"):
        Authority.load(certs / "site-ca").issue(ENVOY, pem, lifetime=DAY, now=now)


@pytest.mark.parametrize("request_pem", [b"", b"nonsense", b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA", b"x" * 20_000])
def test_garbage_is_no_request(certs: Path, now: datetime, request_pem: bytes) -> None:
    with pytest.raises(CredentialError):
        Authority.load(certs / "site-ca").issue(ENVOY, request_pem, lifetime=DAY, now=now)


def test_no_certificate_outlives_its_authority(certs: Path, now: datetime) -> None:
    authority = Authority.load(certs / "site-ca")
    end = authority.certificate.not_valid_after_utc
    late = leaf_of(authority.issue(ENVOY, new_key_and_csr()[1], lifetime=DAY, now=end - timedelta(hours=1)))
    assert late.not_valid_after_utc == end
    with pytest.raises(CredentialError, match="itself not valid"):
        authority.issue(ENVOY, new_key_and_csr()[1], lifetime=DAY, now=end + timedelta(seconds=1))


@pytest.mark.parametrize("lifetime", [timedelta(0), timedelta(days=-1)])
def test_a_lifetime_is_positive(certs: Path, now: datetime, lifetime: timedelta) -> None:
    with pytest.raises(UsageError):
        Authority.load(certs / "site-ca").issue(ENVOY, new_key_and_csr()[1], lifetime=lifetime, now=now)


def test_serial_numbers_differ(issued: Callable[..., Credentials]) -> None:
    assert len({leaf_of(issued(Role.ENVOY).chain).serial_number for _ in range(5)}) == 5


def test_an_authority_with_a_loose_key_is_not_loaded(tmp_path: Path, now: datetime) -> None:
    create_authorities(tmp_path, "hospitals", now)
    (tmp_path / "site-ca" / "ca.key").chmod(0o644)
    with pytest.raises(CredentialError, match="0644"):
        Authority.load(tmp_path / "site-ca")


def test_an_authority_with_another_key_is_not_loaded(tmp_path: Path, now: datetime) -> None:
    create_authorities(tmp_path, "hospitals", now)
    (tmp_path / "root" / "ca.key").replace(tmp_path / "site-ca" / "ca.key")
    with pytest.raises(CredentialError, match="does not belong"):
        Authority.load(tmp_path / "site-ca")


def test_an_authority_never_shows_its_key(certs: Path) -> None:
    assert "key" not in repr(Authority.load(certs / "root")).lower()


def test_authorities_of_two_federations_do_not_mix(certs: Path, tmp_path: Path, now: datetime) -> None:
    other = create_authorities(tmp_path, "hospitals", now)
    root, site, experiment = (Authority.load(certs / kind.value).pem for kind in AuthorityKind)
    parse_authorities(root, site, experiment)
    for mixed in ((other.root, site, experiment), (root, other.site_ca, experiment), (root, site, other.experiment_ca)):
        with pytest.raises(CredentialError, match="not issued"):
            parse_authorities(*mixed)
    with pytest.raises(CredentialError, match="not of the site-ca"):
        parse_authorities(root, experiment, site)


def test_a_leaf_is_no_authority(issued: Callable[..., Credentials], certs: Path) -> None:
    leaf = issued(Role.ENVOY).chain
    root, site = (Authority.load(certs / name).pem for name in ("root", "site-ca"))
    with pytest.raises(CredentialError, match="not an authority"):
        parse_authorities(root, site, leaf)


def test_times_of_other_zones_are_understood(certs: Path) -> None:
    zone = datetime.fromisoformat("2030-01-01T14:00:00+02:00")
    leaf = leaf_of(Authority.load(certs / "site-ca").issue(ENVOY, new_key_and_csr()[1], lifetime=DAY, now=zone))
    assert leaf.not_valid_after_utc == datetime(2030, 1, 2, 12, tzinfo=UTC)
