"""Who is at the other end: the identity of a peer from its certificate, on every call.

A live channel outlives the certificate it was opened with, so the time is checked at each call; all else about a
certificate cannot change and is remembered.
"""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta

from openfl_like.errors import CertificateExpiredError, CredentialError, UnauthenticatedError
from openfl_like.pki.certificate import AuthorityKind, issuer_of, parse_authorities, parse_certificate, verify_leaf
from openfl_like.pki.files import Trust
from openfl_like.pki.revocation import Facts, Revocations
from openfl_like.pki.roles import Identity

CLOCK_TOLERANCE = timedelta(minutes=5)
REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class _Seen:
    identity: Identity
    facts: Facts
    not_before: datetime
    not_after: datetime


class PeerVerifier:
    """Establishes peers of one federation; made once per server.

    Args:
        trust: The federation's authorities.
        revocations: What is asked at every call whether the certificate was revoked; None: nothing is.
        most_remembered: Certificates that are not looked at again.

    Raises:
        CredentialError: If the authorities are malformed or do not belong together.
    """

    def __init__(self, trust: Trust, revocations: Revocations | None = None, most_remembered: int = REMEMBERED) -> None:
        self._most_remembered = most_remembered
        self._revocations = revocations or Revocations()
        self._authorities = parse_authorities(trust.root, trust.site_ca, trust.experiment_ca)
        self._seen: OrderedDict[bytes, _Seen] = OrderedDict()

    @property
    def federation(self) -> str:
        """Name of the federation."""
        return self._authorities.federation

    def serial(self, leaf_pem: bytes) -> str:
        """Return the number of a certificate that `identify` has accepted, in hexadecimal digits."""
        return (self._seen.get(leaf_pem) or self._examine(leaf_pem)).facts.serial

    def list_number(self, leaf_pem: bytes) -> int:
        """Return the revocation list under which a certificate was issued that `identify` has accepted."""
        return (self._seen.get(leaf_pem) or self._examine(leaf_pem)).facts.number

    def validity(self, leaf_pem: bytes) -> tuple[datetime, datetime]:
        """Say from when to when a certificate that `identify` has accepted is valid, with its issuer."""
        seen = self._seen.get(leaf_pem) or self._examine(leaf_pem)  # the memory of peers is bounded
        return seen.not_before, seen.not_after

    def identify(self, leaf_pem: bytes, now: datetime) -> Identity:
        """Say who a certificate belongs to.

        Args:
            leaf_pem: The certificate that the peer showed; only the first one of the text is looked at.
            now: Present time, with a time zone.

        Raises:
            UnauthenticatedError: If it is not a certificate of this federation.
            CertificateExpiredError: If it, or the authority that issued it, is not valid now.
            RevokedError: If it was revoked.
        """
        seen = self._seen.get(leaf_pem)
        if seen is None:
            seen = self._examine(leaf_pem)
            self._seen[leaf_pem] = seen
            if len(self._seen) > self._most_remembered:
                self._seen.popitem(last=False)
        if now > seen.not_after:
            message = f"the certificate of {seen.identity.uri} expired on {seen.not_after:%Y-%m-%d %H:%M} UTC"
            raise CertificateExpiredError(message, cure="renew it")
        if now < seen.not_before - CLOCK_TOLERANCE:
            message = f"the certificate of {seen.identity.uri} is not valid before {seen.not_before:%Y-%m-%d %H:%M} UTC"
            raise CertificateExpiredError(message, cure="compare the clocks of both machines")
        self._revocations.check(seen.facts)
        return seen.identity

    def _examine(self, leaf_pem: bytes) -> _Seen:
        try:
            leaf = parse_certificate(leaf_pem, "peer")
        except CredentialError as error:
            raise UnauthenticatedError("the peer showed no readable certificate") from error
        identity = verify_leaf(leaf, self._authorities)
        issuers = [self._authorities.certificates[kind] for kind in (AuthorityKind.ROOT, issuer_of(identity.role))]
        return _Seen(
            identity,
            Facts.of(leaf, identity),
            max(certificate.not_valid_before_utc for certificate in (leaf, *issuers)),
            min(certificate.not_valid_after_utc for certificate in (leaf, *issuers)),
        )


def verify_peer(leaf_pem: bytes, trust: Trust, now: datetime) -> Identity:
    """Say who a certificate belongs to, once; `PeerVerifier` is for many calls.

    Raises:
        UnauthenticatedError: If it is not a certificate of this federation.
        CertificateExpiredError: If it is not valid now.
        CredentialError: If the authorities are malformed or do not belong together.
    """
    return PeerVerifier(trust).identify(leaf_pem, now)
