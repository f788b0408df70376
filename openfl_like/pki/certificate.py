"""Reading certificates: what they say, and whether the right authority said it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from openfl_like.errors import CredentialError, UnauthenticatedError, UsageError
from openfl_like.pki.roles import EXPERIMENT_ROLES, Identity, Role, check_federation

# What cryptography raises for bytes that are no certificate, for unreadable extensions and for unknown keys.
MALFORMED = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)

LIST_NUMBER = x509.ObjectIdentifier("2.25.213479643215507513022592097134991515623")
"""An identifier of ours (ITU-T X.667): see `list_extension`."""


class AuthorityKind(StrEnum):
    """The three authorities of a federation; the value is also the name of their folder."""

    ROOT = "root"
    SITE = "site-ca"
    EXPERIMENT = "experiment-ca"


def issuer_of(role: Role) -> AuthorityKind:
    """The only authority whose certificates count for a role, so that a stolen experiment CA can mint no site."""
    return AuthorityKind.EXPERIMENT if role in EXPERIMENT_ROLES else AuthorityKind.SITE


@dataclass(frozen=True, slots=True)
class Authorities:
    """The parsed authority certificates of one federation."""

    federation: str
    certificates: Mapping[AuthorityKind, x509.Certificate]


def parse_certificate(pem: bytes, place: str) -> x509.Certificate:
    """Read the first certificate of a PEM text.

    Raises:
        CredentialError: If there is none; ``place`` is named in the message.
    """
    try:
        return x509.load_pem_x509_certificate(pem)
    except MALFORMED as error:
        raise CredentialError("this is not a certificate in PEM form", place=place) from error


def certificate_pem(certificate: x509.Certificate) -> bytes:
    """The certificate as PEM text."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def fingerprint(certificate: x509.Certificate) -> bytes:
    """SHA-256 of a certificate."""
    return certificate.fingerprint(hashes.SHA256())


def key_digest(certificate: x509.Certificate) -> str:
    """SHA-256 of a certificate's public key, in hexadecimal digits."""
    public = certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(public).hexdigest()


def list_extension(number: int) -> x509.UnrecognizedExtension:
    """Say in a certificate which revocation list its authority knew when it issued it (DER integer)."""
    size = number.bit_length() // 8 + 1
    return x509.UnrecognizedExtension(LIST_NUMBER, bytes((2, size)) + number.to_bytes(size, "big"))


def list_number(certificate: x509.Certificate) -> int:
    """Number of the revocation list under which a certificate was issued; 0 if it does not say."""
    try:
        found = certificate.extensions.get_extension_for_oid(LIST_NUMBER).value
    except MALFORMED:
        return 0
    return int.from_bytes(found.value[2:], "big") if isinstance(found, x509.UnrecognizedExtension) else 0


def authority_uri(federation: str, kind: AuthorityKind) -> str:
    """The URI SAN of an authority; by it a file with a certificate says which authority it belongs to."""
    return f"fx://{federation}/{kind}"


def read_authority(certificate: x509.Certificate, place: str) -> tuple[str, AuthorityKind]:
    """Read federation and kind of an authority's certificate.

    Raises:
        CredentialError: If it is not an authority of this platform.
    """
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        (uri,) = names.get_values_for_type(x509.UniformResourceIdentifier)
        federation, _, kind = uri.removeprefix("fx://").partition("/")
        check_federation(federation)
        found = AuthorityKind(kind)
        if not constraints.ca or uri != authority_uri(federation, found):
            raise CredentialError("this is not an authority's certificate", place=place)
    except (*MALFORMED, UsageError) as error:
        raise CredentialError("this is not an authority's certificate", place=place) from error
    return federation, found


def parse_authorities(root: bytes, site_ca: bytes, experiment_ca: bytes) -> Authorities:
    """Read the three authorities and check that they belong together.

    Raises:
        CredentialError: If one is malformed, another one's, of another federation, or not issued by the root.
    """
    pems = {AuthorityKind.ROOT: root, AuthorityKind.SITE: site_ca, AuthorityKind.EXPERIMENT: experiment_ca}
    found = {kind: parse_certificate(pem, kind.value) for kind, pem in pems.items()}
    federations = set()
    for kind, certificate in found.items():
        federation, actual = read_authority(certificate, kind.value)
        federations.add(federation)
        if actual is not kind:
            raise CredentialError(f"this is the certificate of the {actual}, not of the {kind}", place=kind.value)
        if not is_issued_by(certificate, found[AuthorityKind.ROOT]):
            raise CredentialError("the root of the federation has not issued this certificate", place=kind.value)
    if len(federations) != 1:
        raise CredentialError(f"the authorities are of different federations: {', '.join(sorted(federations))}")
    return Authorities(federations.pop(), MappingProxyType(found))


def is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether the issuer's name and key are those of the certificate's signature."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (*MALFORMED, InvalidSignature):
        return False
    return True


def read_identity(leaf: x509.Certificate) -> Identity:
    """Read the one identity URI; the common name is display text and counts for nothing.

    Raises:
        UnauthenticatedError: If there is not exactly one URI, or it is no identity.
    """
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except MALFORMED as error:
        raise UnauthenticatedError("the certificate carries no identity") from error
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != 1:
        raise UnauthenticatedError(f"the certificate must carry exactly one identity, not {len(uris)}")
    return Identity.parse(uris[0])


def verify_leaf(leaf: x509.Certificate, authorities: Authorities) -> Identity:
    """Establish who a leaf certificate belongs to; its validity in time is for the caller to check.

    Raises:
        UnauthenticatedError: If it is not a leaf that the right authority of this federation issued for its role.
    """
    identity = read_identity(leaf)
    if identity.federation != authorities.federation:
        raise UnauthenticatedError(f"{identity.uri} is not of the federation '{authorities.federation}'")
    kind = issuer_of(identity.role)
    if not is_issued_by(leaf, authorities.certificates[kind]):
        raise UnauthenticatedError(f"the {kind} of '{authorities.federation}' has not issued {identity.uri}")
    try:
        usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        constraints = leaf.extensions.get_extension_for_class(x509.BasicConstraints).value
        key = leaf.public_key()
    except MALFORMED as error:
        raise UnauthenticatedError(f"the certificate of {identity.uri} does not say what it is for") from error
    if ExtendedKeyUsageOID.CLIENT_AUTH not in usages or constraints.ca:
        raise UnauthenticatedError(f"the certificate of {identity.uri} is not for connecting to a server")
    if not is_p256(key):
        raise UnauthenticatedError(f"the key of {identity.uri} is not of the curve P-256")
    return identity


def is_p256(key: object) -> bool:
    """Whether a public or private key is an elliptic-curve key of the one curve that is used here."""
    kinds = (ec.EllipticCurvePublicKey, ec.EllipticCurvePrivateKey)
    return isinstance(key, kinds) and isinstance(key.curve, ec.SECP256R1)


@dataclass(frozen=True, slots=True)
class Description:
    """What a certificate says, for people to read; nothing is verified.

    Attributes:
        identity: Its URIs; one for every certificate of this platform.
        role: The role, or the kind of authority; empty if there is none.
        issuer: Distinguished name of the issuer.
        not_before: Begin of validity, UTC.
        not_after: End of validity, UTC.
        names: DNS names and addresses.
        usages: Extended key usages.
        serial: Serial number, hex.
    """

    identity: tuple[str, ...]
    role: str
    issuer: str
    not_before: datetime
    not_after: datetime
    names: tuple[str, ...]
    usages: tuple[str, ...]
    serial: str


def describe(pem: bytes, place: str) -> Description:
    """Say what is in the first certificate of a PEM text.

    Raises:
        CredentialError: If it cannot be read.
    """
    certificate = parse_certificate(pem, place)
    try:
        uris, names = _names(certificate)
        usages = _usages(certificate)
    except MALFORMED as error:
        raise CredentialError("the certificate's extensions cannot be read", place=place) from error
    parts = uris[0].split("/") if uris else []
    return Description(
        identity=tuple(uris),
        role=parts[3] if len(parts) > 3 and parts[0] == "fx:" else "",
        issuer=certificate.issuer.rfc4514_string(),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        names=tuple(names),
        usages=tuple(usages),
        serial=f"{certificate.serial_number:x}",
    )


def _names(certificate: x509.Certificate) -> tuple[list[str], list[str]]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return [], []
    addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    return names.get_values_for_type(x509.UniformResourceIdentifier), [
        *names.get_values_for_type(x509.DNSName),
        *addresses,
    ]


def _usages(certificate: x509.Certificate) -> list[str]:
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return []
    known = {ExtendedKeyUsageOID.CLIENT_AUTH: "clientAuth", ExtendedKeyUsageOID.SERVER_AUTH: "serverAuth"}
    return [known.get(usage, usage.dotted_string) for usage in usages]
