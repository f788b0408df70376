"""Enrolment tokens: what an administrator hands to somebody who shall make a key of its own and have it certified.

A token is ``fx1/FEDERATION/ROLE/NAME/HOST:PORT/SECRET``. The last part is 64 bytes in base64url: the fingerprint of
the site CA, by which its server is known before any certificate of the federation is there, and a secret that is good
once. The authority keeps only the secret's digest.
"""

import base64
import hashlib
import re
import secrets
from dataclasses import dataclass, field
from typing import Self

from openfl_like.errors import UnauthenticatedError, UsageError
from openfl_like.pki.certificate import fingerprint, parse_certificate
from openfl_like.pki.roles import EXPERIMENT_ROLES, Identity, Role
from openfl_like.plan.address import checked_address

SECRET_BYTES = 32
PIN_BYTES = 32
AUTHORITY_PORT = 50049
_VERSION = "fx1"
_ADDRESS = re.compile(r"([A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):[0-9]{1,5}")
_TOKEN = re.compile(r"fx1/([^/]{1,63})/([a-z]{1,20})/([^/]{1,63})/([^/]{1,260})/([A-Za-z0-9_-]{86})")
_START = f"{_VERSION}/"
_QUOTES = "\"'`>\u201d\u2019\u00bb"
_INVISIBLE = re.compile(r"[\ufeff\u200b-\u200d\u2060\u00ad]")
_DIGEST = re.compile(r"[0-9a-f]{64}")


def check_address(address: str) -> str:
    """Return an address if it is ``host:port``; raises UsageError."""
    try:
        checked_address(address, port=AUTHORITY_PORT)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if not _ADDRESS.fullmatch(address):
        cure = "letters, digits, '-' and '.' alone can stand in a token; for example ca.example.org:50049"
        raise UsageError(f"'{address[:100]}' is not of the form HOST:PORT", cure=cure)
    return address


def secret_digest(secret: str) -> str:
    """Return what is kept of a secret in hexadecimal digits; of one that is none, the digest of nothing.

    The secret has 256 random bits, so a plain hash is enough: there is nothing to guess.
    """
    return hashlib.sha256(bytes.fromhex(secret) if _DIGEST.fullmatch(secret) else b"").hexdigest()


@dataclass(frozen=True, slots=True)
class Token:
    """What is in a token.

    Attributes:
        identity: Whom it lets be certified.
        address: ``host:port`` of the authority's server.
        pin: SHA-256 of the site CA's certificate, which must have issued that server's.
        secret: Good once; never printed but as part of `text`.

    Raises:
        UsageError: If the role is one of an experiment, or the address is none.
    """

    identity: Identity
    address: str
    pin: bytes
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if self.identity.role in EXPERIMENT_ROLES:
            raise UsageError(
                f"there are no tokens for the role {self.identity.role}",
                cure="a Director has such certificates made itself; by hand, use 'fx pki issue'",
            )
        check_address(self.address)

    @classmethod
    def fresh(cls, identity: Identity, address: str, site_ca: bytes) -> Self:
        """Make a token with a new secret.

        Args:
            identity: Whom to certify.
            address: ``host:port`` of the authority's server.
            site_ca: The site CA's certificate, PEM.
        """
        return cls(
            identity, address, fingerprint(parse_certificate(site_ca, "site CA")), secrets.token_bytes(SECRET_BYTES)
        )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a token, as it comes by mail: wrapped, in quotes, with a word or a byte order mark before it.

        Raises:
            UsageError: If it is none.
        """
        whole = "".join(_INVISIBLE.sub("", text).split()).rstrip(_QUOTES)
        found = _TOKEN.fullmatch(whole, max(whole.find(_START), 0))
        try:
            federation, role, name, address, code = found.groups() if found else ("",) * 5
            data = base64.b64decode(f"{code}==", altchars=b"-_", validate=True)
            return cls(Identity(federation, Role(role), name), address, data[:PIN_BYTES], data[PIN_BYTES:])
        except (ValueError, UsageError) as error:
            cure = "copy all of it, from 'fx1/' to the end of the line"
            raise UsageError("this is not a valid enrolment token", cure=cure) from error

    @property
    def text(self) -> str:
        """The token as it is handed over."""
        code = base64.urlsafe_b64encode(self.pin + self.secret).rstrip(b"=").decode("ascii")
        who = self.identity
        return "/".join((_VERSION, who.federation, who.role.value, who.name, self.address, code))

    @property
    def digest(self) -> str:
        """What the authority keeps of the secret."""
        return secret_digest(self.secret.hex())

    def check_authority(self, site_ca: bytes) -> None:
        """Look whether a certificate is that of the authority which gave the token out.

        Raises:
            UnauthenticatedError: If it is another one.
        """
        if not secrets.compare_digest(fingerprint(parse_certificate(site_ca, self.address)), self.pin):
            raise UnauthenticatedError(
                f"at {self.address} is another authority than the one that gave out the token",
                cure="nothing was sent to it; ask the administrator whether address and token are the right ones",
            )
