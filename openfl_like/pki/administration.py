"""A new member in one step, where authorities and member share a directory: key, request, certificate."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from openfl_like.errors import CredentialError, UsageError
from openfl_like.pki.authority import Authority, check_hosts, load_trust, new_key_and_csr
from openfl_like.pki.certificate import AuthorityKind, issuer_of, parse_authorities, parse_certificate, read_identity
from openfl_like.pki.files import MAX_FILE_BYTES, Credentials, read_file
from openfl_like.pki.ledger import LONGEST_OFFER, Ledger, Offer, expiry
from openfl_like.pki.revocation import Entry, Facts, RevocationList, Revocations
from openfl_like.pki.roles import EXPERIMENT_ROLES, Identity, Role
from openfl_like.pki.token import Token

SITE_LIFETIME = timedelta(days=365)
EXPERIMENT_LIFETIME = timedelta(days=30)
MOST_REASON = 200


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
    """Make a key and have the authority in ``certs`` certify it; nothing is written.

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
    trust = load_trust(certs)
    number = published(certs, trust.site_ca).number
    authority = Authority.load(certs / issuer_of(identity.role).value).under(number)
    key, request = new_key_and_csr()
    chain = authority.issue(
        identity,
        request,
        lifetime=default_lifetime(identity.role) if lifetime is None else lifetime,
        hosts=hosts,
        now=now or datetime.now(UTC),
    )
    return Credentials(identity, chain, key, trust)


def make_token(
    certs: Path,
    identity: Identity,
    server: str,
    *,
    hosts: Sequence[str] = (),
    lifetime: timedelta = SITE_LIFETIME,
    good_for: timedelta = LONGEST_OFFER,
) -> Token:
    """Make a token, and have the authority in ``certs`` keep what must be kept of it.

    Args:
        certs: Where the authorities are.
        identity: Whom it lets be certified.
        server: ``host:port`` of the authority's server.
        hosts: DNS names and addresses, for server roles only.
        lifetime: Of the certificate, and of those that renew it.
        good_for: Until it must be used.

    Raises:
        CredentialError: If an authority's file is missing, unusable or cannot be written.
        UsageError: If a host, the address or a time cannot be used.
    """
    check_hosts(identity, hosts)
    trust = load_trust(certs)
    token = Token.fresh(identity, server, trust.site_ca)
    ends = expiry(datetime.now(UTC), good_for)
    under = published(certs, trust.site_ca).number
    offer = Offer(token.digest, identity.uri, tuple(hosts), lifetime.total_seconds(), ends, under)
    Ledger(certs / AuthorityKind.SITE.value).offer(offer)
    return token


def published(certs: Path, site_ca: bytes) -> RevocationList:
    """Return the newest revocation list of the authority in ``certs``; an empty one if nothing was ever revoked.

    Raises:
        CredentialError: If it is damaged.
    """
    path = Ledger(certs / AuthorityKind.SITE.value).revocations
    return RevocationList.read(read_file(path), site_ca) if path.exists() else RevocationList()


def revoke(certs: Path, identity: Identity, reason: str, now: datetime) -> RevocationList:
    """Revoke all certificates that an identity has until now; the new list is on disk when this returns.

    Args:
        certs: Where the authorities are.
        identity: Whose; of a site, its Collaborators' with it.
        reason: For people.
        now: Present time, with a time zone.

    Raises:
        CredentialError: If the site CA's files are missing or unusable, or the list has no room for another entry.
        UsageError: If the reason is too long.
    """
    if len(reason) > MOST_REASON:
        raise UsageError(f"the reason has {len(reason)} characters, {MOST_REASON} are the most", cure="shorten it")
    authority = Authority.load(certs / AuthorityKind.SITE.value)
    ledger = Ledger(certs / AuthorityKind.SITE.value)
    with ledger.alone():
        former = published(certs, authority.pem)
        live = [issued for issued in ledger.issued() if datetime.fromisoformat(issued.not_after) > now]
        known = [issued for issued in live if issued.uri == identity.uri]
        serials, keys = tuple(one.serial for one in known), tuple(one.key for one in known)
        entry = Entry(former.number + 1, identity.uri, serials, keys, now.astimezone(UTC).isoformat(), reason)
        found = former.plus(entry)
        signed = found.signed(authority)
        if len(signed) > MAX_FILE_BYTES:
            raise CredentialError(
                f"the revocation list would have {len(signed):,} bytes, the limit is {MAX_FILE_BYTES:,}",
                cure="found the federation's authorities anew ('fx pki init') and enrol its members again",
            )
        ledger.publish(signed)
    return found


def check_not_revoked(found: RevocationList, chain: bytes) -> None:
    """Let a certificate pass that is not on a list; raises RevokedError."""
    leaf = parse_certificate(chain, "certificate")
    revocations = Revocations()
    revocations.take(found)
    revocations.check(Facts.of(leaf, read_identity(leaf)))
