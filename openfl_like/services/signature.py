"""Who submitted a bundle: checked by the Director when it comes, and by every site again."""

from datetime import UTC, datetime

from openfl_like.errors import NotAllowedError
from openfl_like.pki.files import Credentials, Trust
from openfl_like.pki.roles import Identity, Role
from openfl_like.pki.signing import sign, verify_signature


def sign_bundle(digest: str, credentials: Credentials) -> bytes:
    """Signs a bundle's digest with the user's key."""
    return sign(digest.encode(), credentials)


def verify_submitter(digest: str, signature: bytes, certificates: bytes, trust: Trust) -> Identity:
    """Gives the user who signed a bundle's digest.

    Raises:
        UnauthenticatedError: If the signature is not of a member of this federation.
        NotAllowedError: If the signer's role may not submit.
    """
    identity = verify_signature(digest.encode(), signature, certificates, trust, datetime.now(UTC))
    if identity.role not in {Role.USER, Role.ADMIN}:
        raise NotAllowedError(f"the bundle is signed by {identity.uri}, whose role may not submit")
    return identity
