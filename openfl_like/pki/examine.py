"""Looking at a holder's folder file by file, so that every mistake is found, not only the first one.

`openfl_like.pki.files.load_credentials` decides whether the folder can be used; what it does in one go is cut into
steps here, by the same functions.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from openfl_like.errors import CredentialError
from openfl_like.pki.authority import Authority
from openfl_like.pki.certificate import (
    AuthorityKind,
    describe,
    key_digest,
    parse_authorities,
    parse_certificate,
    read_identity,
    verify_leaf,
)
from openfl_like.pki.files import (
    EXPERIMENT_CA_FILE,
    KEY_FILE,
    ROOT_FILE,
    SITE_CA_FILE,
    certificate_path,
    private_key_digest,
    read_file,
    read_private,
    read_trust,
)
from openfl_like.pki.revocation import Facts, RevocationList, Revocations
from openfl_like.pki.roles import SERVER_ROLES, Identity, Role

_TIME = "%Y-%m-%d %H:%M UTC"


def steps(directory: Path, roles: frozenset[Role], name: str, now: datetime) -> Mapping[str, Callable[[], str]]:
    """Return the steps by name; each says what was seen, or raises a `FederationError`.

    Args:
        directory: The folder.
        roles: Those that the holder may have.
        name: The name that it must have; empty: any.
        now: The time at which it must be valid, with a time zone.
    """
    return {
        "key file": lambda: key_file(directory),
        "key": lambda: pair(directory),
        "chain": lambda: chain(directory),
        "role": lambda: holder(directory, roles, name),
        "validity": lambda: validity(directory, now),
    }


def key_file(directory: Path) -> str:
    """Look at the key's mode and owner."""
    path = directory / KEY_FILE
    read_private(path)
    return f"{path}: mode {path.stat().st_mode & 0o777:04o}, this user's"


def pair(directory: Path) -> str:
    """Look whether key and certificate belong together."""
    path = certificate_path(directory)
    leaf = parse_certificate(read_file(path), str(path))
    # whoever may read it is looked at by itself
    if private_key_digest(read_file(directory / KEY_FILE)) != key_digest(leaf):
        raise CredentialError(
            "the key does not belong to the certificate beside it",
            place=str(directory / KEY_FILE),
            cure="put both files of one issue there",
        )
    return "the key is that of the certificate"


def chain(directory: Path) -> str:
    """Look whether an authority below this root has issued the certificate, the right one for its role."""
    path = certificate_path(directory)
    trust = read_trust(directory)
    authorities = parse_authorities(trust.root, trust.site_ca, trust.experiment_ca)
    identity = verify_leaf(parse_certificate(read_file(path), str(path)), authorities)
    return f"{identity.uri}, issued below the root of '{authorities.federation}'"


def holder(directory: Path, roles: frozenset[Role], name: str) -> str:
    """Look whose certificate it is."""
    path = certificate_path(directory)
    pem = read_file(path)
    found = read_identity(parse_certificate(pem, str(path)))
    wanted = " or ".join(sorted(roles))
    if found.role not in roles:
        cure = f"name the folder of the {wanted} with --certificates, or make one: fx pki issue {min(roles)} NAME"
        raise CredentialError(f"the certificate is for the role {found.role}, not {wanted}", place=str(path), cure=cure)
    if name and found.name != name:
        cure = f"give -n {found.name}, or name another folder with --certificates"
        raise CredentialError(f"the certificate is for '{found.name}', not for '{name}'", place=str(path), cure=cure)
    if found.role in SERVER_ROLES and found.server_name not in describe(pem, str(path)).names:
        cure = f"issue it again: fx pki issue {found.role} {found.name} --replace"
        message = f"the certificate does not carry the name {found.server_name}, which clients expect"
        raise CredentialError(message, place=str(path), cure=cure)
    return found.uri


def validity(directory: Path, now: datetime) -> str:
    """Look at the times of the certificate and of the authorities above it."""
    path = certificate_path(directory)
    ends = []
    for place in (path, directory / SITE_CA_FILE, directory / EXPERIMENT_CA_FILE, directory / ROOT_FILE):
        certificate = parse_certificate(read_file(place), str(place))
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if now > end:
            cure = "renew it (fx pki renew), with a new token (fx pki enroll), or fx pki issue --replace"
            raise CredentialError(f"the certificate expired on {end:{_TIME}}", place=str(place), cure=cure)
        if now < begin:
            cure = f"set this machine's clock; it says {now.astimezone(UTC):{_TIME}}"
            raise CredentialError(f"the certificate is not valid before {begin:{_TIME}}", place=str(place), cure=cure)
        ends.append(end)
    return f"until {ends[0]:{_TIME}}"


def standing(directory: Path, lists: Mapping[str, bytes]) -> str:
    """Look whether revocation lists name the holder.

    Args:
        directory: The folder.
        lists: Where it is from -> a signed list.

    Raises:
        CredentialError: If a list is not the site CA's.
        RevokedError: If the certificate was revoked.
    """
    path = certificate_path(directory)
    leaf = parse_certificate(read_file(path), str(path))
    facts = Facts.of(leaf, read_identity(leaf))
    site_ca = read_trust(directory).site_ca
    numbers = []
    for place, data in lists.items():
        try:
            found = RevocationList.read(data, site_ca)
        except CredentialError as error:
            raise CredentialError(error.message, place=place, cure="put the right one there") from error
        known = Revocations()
        known.take(found)
        known.check(facts)
        many = len(found.entries)
        numbers.append(f"number {found.number}, with {many} {'entry' if many == 1 else 'entries'}")
    told = "; ".join(dict.fromkeys(numbers))  # the Director's own copy and its source say the same, as a rule
    return f"not revoked by the list {told}" if told else "there is no revocation list yet"


def experiment_authority(directory: Path, holder_directory: Path, now: datetime) -> str:
    """Look at the experiment CA that a Director has: readable, of its own federation, in time."""
    found = Authority.load(directory)
    if found.kind is not AuthorityKind.EXPERIMENT:
        cure = "name the folder of the experiment CA as experiment_ca; keep the other authorities' keys elsewhere"
        raise CredentialError(f"this is the {found.kind}, not the experiment CA", place=str(directory), cure=cure)
    if found.pem != _first(read_trust(holder_directory).experiment_ca):
        cure = "copy the experiment CA and the Director's folder from one federation"
        raise CredentialError(
            f"this is not the experiment CA that {holder_directory} knows: sites would refuse what it issues",
            place=str(directory),
            cure=cure,
        )
    end = found.certificate.not_valid_after_utc
    if now > end:
        message = f"the experiment CA expired on {end:{_TIME}}"
        raise CredentialError(message, place=str(directory), cure="the federation needs a new one")
    return f"of '{found.federation}', until {end:{_TIME}}"


def _first(pem: bytes) -> bytes:
    end = b"-----END CERTIFICATE-----\n"
    return pem.partition(end)[0] + end


def identity_of(directory: Path) -> Identity:
    """Read whose certificate is in a folder; nothing is verified."""
    path = certificate_path(directory)
    return read_identity(parse_certificate(read_file(path), str(path)))
