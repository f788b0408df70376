"""Authorities: the root, the site CA and the experiment CA, and the certificates that the two issue.

From a certificate request only the public key is taken (and the proof that the requester has the private one). Names,
usage and lifetime are what the authority is told to certify, so that a request can ask for nothing it should not get.
"""

import hashlib
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from openfl_like.errors import CredentialError, NotAllowedError, UsageError
from openfl_like.pki.certificate import (
    MALFORMED,
    AuthorityKind,
    authority_uri,
    certificate_pem,
    is_p256,
    issuer_of,
    list_extension,
    parse_certificate,
    read_authority,
)
from openfl_like.pki.files import Trust, make_private_dir, read_file, read_private, write_new
from openfl_like.pki.roles import SERVER_ROLES, Identity, check_federation

CA_CERTIFICATE_FILE = "ca.crt"
CA_KEY_FILE = "ca.key"
ROOT_LIFETIME = timedelta(days=3650)
CA_LIFETIME = timedelta(days=1825)
BACKDATE = timedelta(minutes=5)  # clocks of two sites differ; a fresh certificate must work at once
EXPERIMENT_BACKDATE = timedelta(hours=24)
"""Of a certificate for one experiment, which nobody has set the clocks for: its key was made a moment ago, for it."""
MAX_CSR_BYTES = 16 * 1024
SERVING_LIFETIME = timedelta(days=7)
AUTHORITY_DOMAIN = b"openfl-like authority v1\0"  # keeps such a signature from meaning anything elsewhere

_HOST = re.compile(r"(?!.*\.\.)[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")


def new_key_and_csr() -> tuple[bytes, bytes]:
    """Make a P-256 key and a certificate request that proves its possession; the key stays with the caller.

    Returns:
        Private key (PKCS #8) and request, both PEM.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return _key_pem(key), request.public_bytes(serialization.Encoding.PEM)


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority with its key.

    Attributes:
        kind: Root, site CA or experiment CA.
        federation: Name of the federation.
        certificate: Its own certificate.
        number: Of the newest revocation list it knows; stands in what it issues.
    """

    kind: AuthorityKind
    federation: str
    certificate: x509.Certificate
    _key: ec.EllipticCurvePrivateKey = field(repr=False)
    number: int = 0

    @classmethod
    def load(cls, directory: Path) -> "Authority":
        """Read an authority from its folder.

        Raises:
            CredentialError: If a file is missing, malformed, of another pair, or the key is readable by others.
        """
        certificate_path, key_path = directory / CA_CERTIFICATE_FILE, directory / CA_KEY_FILE
        certificate = parse_certificate(read_file(certificate_path), str(certificate_path))
        federation, kind = read_authority(certificate, str(certificate_path))
        try:
            key = serialization.load_pem_private_key(read_private(key_path), password=None)
        except MALFORMED as error:
            raise CredentialError("this is not an unencrypted private key in PEM form", place=str(key_path)) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise CredentialError("the key does not belong to the certificate beside it", place=str(key_path))
        return cls(kind, federation, certificate, key)

    @property
    def pem(self) -> bytes:
        """The authority's own certificate."""
        return certificate_pem(self.certificate)

    def under(self, number: int) -> "Authority":
        """Return the same authority with the number of the newest revocation list."""
        return replace(self, number=number)

    def sign(self, payload: bytes) -> bytes:
        """Sign a document of the authority's own, such as its revocation list (ECDSA over SHA-256, DER)."""
        return self._key.sign(AUTHORITY_DOMAIN + payload, ec.ECDSA(hashes.SHA256()))

    def issue(
        self,
        identity: Identity,
        csr_pem: bytes,
        *,
        lifetime: timedelta,
        now: datetime,
        hosts: Sequence[str] = (),
    ) -> bytes:
        """Certify that the key of a request belongs to an identity.

        Args:
            identity: Who the key belongs to.
            csr_pem: The request; everything in it but the public key is ignored.
            lifetime: From ``now``; cut to the authority's own end.
            now: Present time, with a time zone.
            hosts: Further DNS names and addresses, for server roles only.

        Returns:
            The certificate and the authority's own one, PEM.

        Raises:
            NotAllowedError: If this authority may not certify the role or the federation.
            CredentialError: If the request is malformed, unproven or of another curve, or the authority is expired.
            UsageError: If a host or the lifetime cannot be used.
        """
        if identity.federation != self.federation or issuer_of(identity.role) is not self.kind:
            cure = f"ask the {issuer_of(identity.role)} of '{identity.federation}'"
            raise NotAllowedError(f"the {self.kind} of '{self.federation}' may not certify {identity.uri}", cure=cure)
        key = _proven_key(csr_pem)
        start = (
            (now - (BACKDATE if self.kind is AuthorityKind.SITE else EXPERIMENT_BACKDATE))
            .astimezone(UTC)
            .replace(microsecond=0)
        )
        end = min((now + lifetime).astimezone(UTC).replace(microsecond=0), self.certificate.not_valid_after_utc)
        if lifetime <= timedelta(0):
            raise UsageError("the lifetime of a certificate must be positive")
        if not self.certificate.not_valid_before_utc - BACKDATE <= now < self.certificate.not_valid_after_utc:
            raise CredentialError(f"the {self.kind} of '{self.federation}' is itself not valid at this time")
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if identity.role in SERVER_ROLES:
            usages.insert(0, ExtendedKeyUsageOID.SERVER_AUTH)
        builder = _builder(_name(self.federation, f"{identity.role} {identity.name}"[:64]), key, (start, end))
        builder = (
            builder.issuer_name(self.certificate.subject)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=True)
            .add_extension(_key_usage(ca=False), critical=True)
            .add_extension(x509.SubjectAlternativeName(_alternative_names(identity, hosts)), critical=False)
            .add_extension(_issuer_key(self._key), critical=False)
            .add_extension(list_extension(self.number), critical=False)
        )
        return certificate_pem(builder.sign(self._key, hashes.SHA256())) + self.pem

    def serving(self, now: datetime) -> tuple[bytes, bytes]:
        """Make a certificate for the authority's own server. It carries no identity, so it is no member's.

        Args:
            now: Present time, with a time zone.

        Returns:
            Certificate with the authority's own one, and key, PEM.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        end = min(now.astimezone(UTC).replace(microsecond=0) + SERVING_LIFETIME, self.certificate.not_valid_after_utc)
        start = now.astimezone(UTC).replace(microsecond=0) - EXPERIMENT_BACKDATE  # clocks of new sites may be wrong
        server = x509.DNSName(enrolment_name(self.federation))
        builder = (
            _builder(_name(self.federation, "enrolment"), key.public_key(), (start, end))
            .issuer_name(self.certificate.subject)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=True)
            .add_extension(_key_usage(ca=False), critical=True)
            .add_extension(x509.SubjectAlternativeName([server]), critical=False)
            .add_extension(_issuer_key(self._key), critical=False)
        )
        return certificate_pem(builder.sign(self._key, hashes.SHA256())) + self.pem, _key_pem(key)


def enrolment_name(federation: str) -> str:
    """The DNS name that the site CA's own server carries; nobody else can be given it."""
    return f"enrolment.{federation}.fx"


def check_hosts(identity: Identity, hosts: Sequence[str]) -> None:
    """Check the hosts that a certificate is to name; raises UsageError."""
    _alternative_names(identity, hosts)


def check_request(csr_pem: bytes) -> str:
    """Check that a certificate request can be used, and return the digest of its key.

    Raises:
        CredentialError: If it is malformed, unproven or of another curve.
    """
    public = _proven_key(csr_pem).public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(public).hexdigest()


def create_authorities(directory: Path, federation: str, now: datetime | None = None) -> Trust:
    """Found a federation: root, site CA and experiment CA, each in a folder of its own below the directory.

    Args:
        directory: Usually ``certs``.
        federation: Name of the federation.
        now: Begin of validity, with a time zone; None: the present.

    Raises:
        UsageError: If the name cannot be used.
        CredentialError: If an authority is there already; nothing is overwritten.
    """
    check_federation(federation)
    for kind in AuthorityKind:
        if (directory / kind.value).exists():
            cure = "keep it, or name another directory; a new root makes every certificate of the old one worthless"
            raise CredentialError("there is an authority already", place=str(directory / kind.value), cure=cure)
    start = (now or datetime.now(UTC)).astimezone(UTC).replace(microsecond=0)
    root = _found(AuthorityKind.ROOT, federation, start, None)
    site = _found(AuthorityKind.SITE, federation, start, root)
    experiment = _found(AuthorityKind.EXPERIMENT, federation, start, root)
    for authority in (root, site, experiment):
        _save(authority, directory / authority.kind.value)
    return Trust(root.pem, site.pem, experiment.pem)


def load_trust(directory: Path) -> Trust:
    """Read the three authority certificates (not the keys) below ``certs``.

    Raises:
        CredentialError: If one is missing.
    """
    return Trust(*(read_file(directory / kind.value / CA_CERTIFICATE_FILE) for kind in AuthorityKind))


def _found(kind: AuthorityKind, federation: str, start: datetime, root: Authority | None) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(federation, kind.value)
    signer = root._key if root else key  # noqa: SLF001 - the root signs here and nowhere else
    end = start + (CA_LIFETIME if root else ROOT_LIFETIME)
    builder = (
        _builder(name, key.public_key(), (start - BACKDATE, end))
        .issuer_name(root.certificate.subject if root else name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0 if root else 1), critical=True)
        .add_extension(_key_usage(ca=True), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(authority_uri(federation, kind))]),
            critical=False,
        )
        .add_extension(_issuer_key(signer), critical=False)
    )
    return Authority(kind, federation, builder.sign(signer, hashes.SHA256()), key)


def _save(authority: Authority, directory: Path) -> None:
    make_private_dir(directory)
    write_new(directory / CA_KEY_FILE, _key_pem(authority._key), private=True)  # noqa: SLF001 - this module owns the key
    write_new(directory / CA_CERTIFICATE_FILE, authority.pem, private=False)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _proven_key(csr_pem: bytes) -> ec.EllipticCurvePublicKey:
    if len(csr_pem) > MAX_CSR_BYTES:
        raise CredentialError(f"the certificate request is larger than {MAX_CSR_BYTES} bytes")
    try:
        request = x509.load_pem_x509_csr(csr_pem)
        proven = request.is_signature_valid
        key = request.public_key()
    except MALFORMED as error:
        raise CredentialError("this is not a certificate request in PEM form") from error
    if not proven:
        raise CredentialError("the certificate request does not prove that its sender has the key")
    if not isinstance(key, ec.EllipticCurvePublicKey) or not is_p256(key):
        raise CredentialError("the key of a certificate request must be of the curve P-256")
    return key


def _alternative_names(identity: Identity, hosts: Sequence[str]) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(identity.uri)]
    if identity.role in SERVER_ROLES:
        names.append(x509.DNSName(identity.server_name))
    elif hosts:
        raise UsageError(f"the role {identity.role} does not serve, so its certificate cannot name a host")
    return [*names, *(_host_name(host) for host in dict.fromkeys(hosts))]


def _host_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    if not _HOST.fullmatch(host):
        raise UsageError(
            f"'{host[:100]}' is not a valid host name or address", cure="write it in lower case and without a port"
        )
    if host.endswith(".fx"):  # such names say a server's role, and clients rely on them
        raise UsageError(f"'{host}' ends in .fx, which is kept for the roles of servers")
    return x509.DNSName(host)


def _builder(
    subject: x509.Name, key: ec.EllipticCurvePublicKey, validity: tuple[datetime, datetime]
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(validity[0])
        .not_valid_after(validity[1])
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(federation: str, common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, federation),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _issuer_key(key: ec.EllipticCurvePrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )
