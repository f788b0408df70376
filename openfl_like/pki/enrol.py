"""A new member in one step, where authorities and member share a directory: key, request, certificate."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from openfl_like.pki.authority import Authority, load_trust, new_key_and_csr
from openfl_like.pki.certificate import issuer_of, parse_authorities
from openfl_like.pki.files import Credentials
from openfl_like.pki.roles import EXPERIMENT_ROLES, Identity, Role

SITE_LIFETIME = timedelta(days=365)
EXPERIMENT_LIFETIME = timedelta(days=30)


def federation_of(certs: Path) -> str:
    """Name of the federation whose authorities are in a directory.

    Raises:
        CredentialError: If there are none, or they do not belong together.
    """
    trust = load_trust(certs)
    return parse_authorities(trust.root, trust.site_ca, trust.experiment_ca).federation


def default_lifetime(role: Role) -> timedelta:
    """How long a certificate of a role is valid if nobody says otherwise."""
    return EXPERIMENT_LIFETIME if role in EXPERIMENT_ROLES else SITE_LIFETIME


def issue_credentials(
    certs: Path,
    identity: Identity,
    *,
    lifetime: timedelta | None = None,
    hosts: Sequence[str] = (),
    now: datetime | None = None,
) -> Credentials:
    """Makes a key and has the authority in ``certs`` certify it; nothing is written.

    Args:
        certs: Where the authorities are.
        identity: Whom to certify.
        lifetime: None: `default_lifetime`.
        hosts: DNS names and addresses, for server roles only.
        now: Present time, with a time zone; None: the clock's.

    Raises:
        CredentialError: If an authority's file is missing or unusable.
        NotAllowedError: If the authorities are of another federation.
        UsageError: If a host or the lifetime cannot be used.
    """
    authority = Authority.load(certs / issuer_of(identity.role).value)
    key, request = new_key_and_csr()
    chain = authority.issue(
        identity,
        request,
        lifetime=default_lifetime(identity.role) if lifetime is None else lifetime,
        hosts=hosts,
        now=now or datetime.now(UTC),
    )
    return Credentials(identity, chain, key, load_trust(certs))
