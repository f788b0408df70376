"""What the site CA has given out: tokens that are open or used, certificates, and the list of what it has revoked.

Folders and files below the site CA's own, next to its key, private like it. A token is one file; using it up is one
rename, which succeeds once, whoever tries at the same time, and is on disk before anything is signed.
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from openfl_like.errors import CredentialError, NotAllowedError, UsageError
from openfl_like.pki.certificate import key_digest, parse_certificate, read_identity
from openfl_like.pki.files import make_private_dir, read_file, sync_directory, write_whole
from openfl_like.pki.roles import Identity

LONGEST_OFFER = timedelta(hours=24)
LIST_FILE = "revoked.json"


@dataclass(frozen=True, slots=True)
class Offer:
    """An open token as the authority knows it.

    Attributes:
        digest: Of its secret.
        uri: Whom it lets be certified.
        hosts: DNS names and addresses, for server roles.
        lifetime_s: Of the certificate, and of those that renew it.
        expires: End of the token, ISO 8601.
        under: Number of the revocation list when it was made; its certificate falls with every later revocation.
    """

    digest: str
    uri: str
    hosts: tuple[str, ...]
    lifetime_s: float
    expires: str
    under: int = 0


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate that was issued.

    Attributes:
        serial: Its number, hexadecimal.
        key: SHA-256 of its public key, hexadecimal.
        uri: Whose it is.
        hosts: As it was asked for; a renewed one gets the same.
        lifetime_s: As above.
        not_before: Begin of its validity, ISO 8601.
        not_after: End of its validity, ISO 8601.
        by: How it came about: ``issue``, ``token`` or ``renewal``.
    """

    serial: str
    key: str
    uri: str
    hosts: tuple[str, ...]
    lifetime_s: float
    not_before: str
    not_after: str
    by: str


class Ledger:
    """The records of a site CA.

    Args:
        authority: The site CA's folder.
    """

    def __init__(self, authority: Path) -> None:
        self._open, self._used, self._issued = (authority / "ledger" / name for name in ("open", "used", "issued"))
        self._lock = authority / "ledger" / "lock"
        self.revocations = authority / LIST_FILE

    def prepare(self) -> None:
        """Make the folders; raises CredentialError."""
        for folder in (self._open, self._used, self._issued):
            make_private_dir(folder)

    def offer(self, offer: Offer) -> None:
        """Keep a token; raises CredentialError if it cannot be written."""
        self.prepare()
        write_whole(self._open / f"{offer.digest}.json", _bytes(asdict(offer)))

    def burn(self, digest: str, now: datetime) -> Offer:
        """Use a token up, on disk, and return what it was good for; of many that try at once one succeeds.

        Args:
            digest: Of the secret that was shown.
            now: Present time, with a time zone.

        Raises:
            NotAllowedError: If it is unknown, used or expired; the answer is the same, so that it tells nothing.
        """
        refused = NotAllowedError(
            "the token is unknown, was used before, or is over",
            cure="ask the administrator of the authority for a new one",
        )
        path = self._open / f"{digest}.json"
        try:
            offer = _offer(path)
            if now >= datetime.fromisoformat(offer.expires):
                raise refused
            path.rename(self._used / path.name)
        except (FileNotFoundError, CredentialError) as error:
            raise refused from error
        sync_directory(self._used)
        sync_directory(self._open)
        return offer

    def offers(self) -> list[Offer]:
        """List the tokens that were not used, those that are over too."""
        return sorted((_offer(path) for path in self._open.glob("*.json")), key=lambda offer: offer.expires)

    def record(self, chain: bytes, *, by: str, hosts: Sequence[str] = (), lifetime: timedelta) -> Issued:
        """Keep what was issued.

        Args:
            chain: The certificate, PEM.
            by: How it came about.
            hosts: As they were asked for.
            lifetime: As it was asked for.
        """
        self.prepare()
        leaf = parse_certificate(chain, "issued")
        issued = Issued(
            serial=f"{leaf.serial_number:x}",
            key=key_digest(leaf),
            uri=read_identity(leaf).uri,
            hosts=tuple(hosts),
            lifetime_s=lifetime.total_seconds(),
            not_before=leaf.not_valid_before_utc.isoformat(),
            not_after=leaf.not_valid_after_utc.isoformat(),
            by=by,
        )
        write_whole(self._issued / f"{issued.serial}.json", _bytes(asdict(issued)))
        return issued

    def issued(self, serial: str = "*") -> list[Issued]:
        """List what was issued, oldest first; one certificate if its number is named."""
        found = [_issued(path) for path in self._issued.glob(f"{serial}.json")]
        return sorted(found, key=lambda issued: (issued.not_before, issued.uri))

    def find(self, name: str, role: str = "") -> list[Identity]:
        """Return who of this name has a certificate, in one role or in any."""
        known = {issued.uri for issued in self.issued()}
        found = [Identity.parse(uri) for uri in sorted(known)]
        return [identity for identity in found if identity.name == name and role in {"", identity.role.value}]

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes from changing the revocation list within the block."""
        self.prepare()
        with self._lock.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def publish(self, signed: bytes) -> None:
        """Replace the revocation list, on disk when it returns."""
        write_whole(self.revocations, signed)


def expiry(now: datetime, lifetime: timedelta) -> str:
    """Return the end of a token, ISO 8601.

    Raises:
        UsageError: If it is longer than a day, or no time at all.
    """
    if not timedelta(0) < lifetime <= LONGEST_OFFER:
        raise UsageError("a token must be used within 24 hours", cure="make it when it is needed")
    return (now + lifetime).astimezone(UTC).isoformat()


def _bytes(value: dict[str, object]) -> bytes:
    return (json.dumps(value, indent=1) + os.linesep).encode("utf-8")


def _fields(path: Path) -> dict[str, object]:
    try:
        found = json.loads(read_file(path))
        if isinstance(found, dict):
            return {**found, "hosts": tuple(found["hosts"])}
    except (ValueError, KeyError, TypeError):
        pass
    raise CredentialError("this record of the authority is damaged", place=str(path), cure="put it back from a backup")


def _offer(path: Path) -> Offer:
    try:
        return Offer(**_fields(path))  # type: ignore[arg-type] # as it was written; other fields are a TypeError
    except TypeError as error:
        raise CredentialError("this record of the authority is damaged", place=str(path)) from error


def _issued(path: Path) -> Issued:
    try:
        return Issued(**_fields(path))  # type: ignore[arg-type] # as above
    except TypeError as error:
        raise CredentialError("this record of the authority is damaged", place=str(path)) from error
