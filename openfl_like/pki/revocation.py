"""The list of what the site CA has revoked: signed, numbered, and checked on every call.

An entry revokes the certificates of one identity that were issued before it: by serial, by key, and by name. A
certificate says under which list it was issued (`openfl_like.pki.certificate.list_extension`), so that "before" needs
no clock: one that was issued under an older list than the entry's is revoked, one that was issued after it is not. The
certificates of a site's Collaborators fall with the site's own.
"""

import base64
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from openfl_like.errors import CredentialError, RevokedError
from openfl_like.peer_json import read_peer_json
from openfl_like.pki.authority import AUTHORITY_DOMAIN, Authority
from openfl_like.pki.certificate import key_digest, list_number, parse_certificate
from openfl_like.pki.files import MAX_FILE_BYTES
from openfl_like.pki.roles import Identity, Role


@dataclass(frozen=True, slots=True)
class Entry:
    """One revocation.

    Attributes:
        number: Of the list that it came with.
        uri: Whose certificates.
        serials: Of those that the authority had a record of.
        keys: SHA-256 of their public keys.
        at: When, ISO 8601; for people.
        reason: Why, in the administrator's words; for people.
    """

    number: int
    uri: str
    serials: tuple[str, ...]
    keys: tuple[str, ...]
    at: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RevocationList:
    """All revocations of a federation; a newer list holds all entries of the older ones.

    Attributes:
        number: Grows with every entry.
        entries: Oldest first.
    """

    number: int = 0
    entries: tuple[Entry, ...] = ()

    def plus(self, entry: Entry) -> "RevocationList":
        """Return the next list."""
        return RevocationList(entry.number, (*self.entries, entry))

    def signed(self, authority: Authority) -> bytes:
        """Return the list as it is handed on."""
        text = json.dumps({"number": self.number, "entries": [asdict(entry) for entry in self.entries]})
        signature = base64.b64encode(authority.sign(text.encode("utf-8"))).decode("ascii")
        return (json.dumps({"list": text, "signature": signature}) + "\n").encode("utf-8")

    @classmethod
    def read(cls, data: bytes, site_ca: bytes) -> "RevocationList":
        """Read a signed list.

        Args:
            data: From `signed`.
            site_ca: The site CA's certificate, PEM.

        Raises:
            CredentialError: If it is malformed, or the site CA has not signed it.
        """
        key = parse_certificate(site_ca, "site CA").public_key()
        try:
            if not isinstance(key, ec.EllipticCurvePublicKey):
                raise ValueError  # noqa: TRY004, TRY301 (one message for whatever is wrong with it)
            envelope = read_peer_json(data, MAX_FILE_BYTES)
            text = str(envelope["list"]).encode("utf-8")
            signature = base64.b64decode(str(envelope["signature"]), validate=True)
            key.verify(signature, AUTHORITY_DOMAIN + text, ec.ECDSA(hashes.SHA256()))
            found = read_peer_json(text, MAX_FILE_BYTES)
            return cls(int(found["number"]), tuple(_entry(item) for item in found["entries"]))
        except (ValueError, KeyError, TypeError, InvalidSignature) as error:
            raise CredentialError("this is not a revocation list signed by the site CA") from error


def _entry(item: dict[str, Any]) -> Entry:
    return Entry(**{**item, "serials": tuple(item["serials"]), "keys": tuple(item["keys"])})


@dataclass(frozen=True, slots=True)
class Facts:
    """What of a certificate a list is compared with."""

    identity: Identity
    serial: str
    key: str
    number: int

    @classmethod
    def of(cls, leaf: x509.Certificate, identity: Identity) -> "Facts":
        """Read them from a verified certificate."""
        return cls(identity, f"{leaf.serial_number:x}", key_digest(leaf), list_number(leaf))


@dataclass(slots=True)
class Revocations:
    """The newest list that a process knows, ready to be asked on every call."""

    number: int = 0
    _serials: frozenset[str] = frozenset()
    _keys: frozenset[str] = frozenset()
    _names: dict[str, int] = field(default_factory=dict)

    def take(self, found: RevocationList) -> bool:
        """Replace the list by a newer one, and say whether it is newer."""
        if found.number <= self.number:
            return False
        self._serials = frozenset(_all(entry.serials for entry in found.entries))
        self._keys = frozenset(_all(entry.keys for entry in found.entries))
        self._names = {entry.uri: entry.number for entry in found.entries}  # the newest of a name comes last
        self.number = found.number
        return True

    def falls(self, uri: str, number: int) -> bool:
        """Whether the certificates of an identity that were issued under a list of this number are revoked by name."""
        return number < self._names.get(uri, 0)

    def falls_with(self, who: Identity, number: int) -> bool:
        """As `falls`; a Collaborator's certificate falls with its site, too."""
        site = Identity(who.federation, Role.ENVOY, who.name).uri if who.role is Role.COLLABORATOR else who.uri
        return self.falls(who.uri, number) or self.falls(site, number)

    def revokes(self, facts: Facts) -> bool:
        """Whether a certificate was revoked."""
        by_name = self.falls_with(facts.identity, facts.number)
        return by_name or facts.serial in self._serials or facts.key in self._keys

    def check(self, facts: Facts) -> None:
        """Let a certificate pass that is not revoked.

        Raises:
            RevokedError: If it is.
        """
        if self.revokes(facts):
            raise RevokedError(
                f"the certificate of {facts.identity.uri} was revoked",
                cure="ask the administrator of the authority; a new token makes a new one",
            )


def _all(groups: Iterable[tuple[str, ...]]) -> set[str]:
    return {item for group in groups for item in group}
