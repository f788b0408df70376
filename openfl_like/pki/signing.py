"""Signatures of workspace bundles: which user stands behind submitted code (ECDSA over SHA-256, FIPS 186-5)."""

from datetime import UTC, datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from openfl_like.errors import CredentialError, NotAllowedError, UnauthenticatedError
from openfl_like.pki.certificate import MALFORMED, parse_certificate
from openfl_like.pki.files import Credentials, Trust
from openfl_like.pki.peer import verify_peer
from openfl_like.pki.roles import Identity, Role

DOMAIN = b"openfl-like bundle v1\0"  # keeps such a signature from meaning anything elsewhere, in TLS for one
_ALGORITHM = ec.ECDSA(hashes.SHA256())


def sign(payload: bytes, credentials: Credentials) -> bytes:
    """Sign a payload, usually the digest of a bundle.

    Returns:
        The signature, DER.

    Raises:
        CredentialError: If the key cannot sign.
    """
    try:
        key = serialization.load_pem_private_key(credentials.key, password=None)
    except MALFORMED as error:
        raise CredentialError(f"the key of {credentials.identity.uri} cannot be read") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise CredentialError(f"the key of {credentials.identity.uri} is not of the curve P-256")
    return key.sign(DOMAIN + payload, _ALGORITHM)


def verify_signature(payload: bytes, signature: bytes, chain_pem: bytes, trust: Trust, now: datetime) -> Identity:
    """Say who signed a payload; whether that role may sign it is for the caller to decide.

    Args:
        payload: The same bytes that were signed.
        signature: What `sign` gave.
        chain_pem: The signer's certificate chain; its first certificate counts.
        trust: The federation's authorities.
        now: Present time, with a time zone.

    Raises:
        UnauthenticatedError: If the signer is not of this federation or the signature is not of this payload.
        CertificateExpiredError: If the signer's certificate is not valid now.
    """
    identity = verify_peer(chain_pem, trust, now)
    key = parse_certificate(chain_pem, identity.uri).public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):  # verify_peer has refused it; this tells the type checker
        raise UnauthenticatedError(f"the key of {identity.uri} is not of the curve P-256")
    try:
        key.verify(signature, DOMAIN + payload, _ALGORITHM)
    except InvalidSignature as error:
        raise UnauthenticatedError(f"the signature is not one of {identity.uri} for these bytes") from error
    return identity


def sign_bundle(digest: str, credentials: Credentials) -> bytes:
    """Sign a bundle's digest with the user's key."""
    return sign(digest.encode(), credentials)


def verify_submitter(digest: str, signature: bytes, certificates: bytes, trust: Trust) -> Identity:
    """Return the user who signed a bundle's digest.

    Raises:
        UnauthenticatedError: If the signature is not of a member of this federation.
        NotAllowedError: If the signer's role may not submit.
    """
    identity = verify_signature(digest.encode(), signature, certificates, trust, datetime.now(UTC))
    if identity.role not in {Role.USER, Role.ADMIN}:
        raise NotAllowedError(f"the bundle is signed by {identity.uri}, whose role may not submit")
    return identity
