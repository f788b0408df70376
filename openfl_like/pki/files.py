"""Certificates and keys on disk: private from the moment they exist, and checked whenever they are read.

Layout below ``certs/``: ``root/``, ``site-ca/`` and ``experiment-ca/`` with ``ca.crt`` and ``ca.key``, and for every
holder ``<role>/<name>/`` with the files of `save_credentials`.
"""

import contextlib
import hashlib
import os
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from openfl_like.errors import CredentialError, FederationError
from openfl_like.failpoints import failpoint
from openfl_like.pki.certificate import (
    MALFORMED,
    is_p256,
    key_digest,
    parse_authorities,
    parse_certificate,
    verify_leaf,
)
from openfl_like.pki.roles import Identity

CERTIFICATE_FILE = "cert.pem"
KEY_FILE = "key.pem"
ROOT_FILE = "root.pem"
SITE_CA_FILE = "site-ca.pem"
EXPERIMENT_CA_FILE = "experiment-ca.pem"
ENROLMENT_FILE = "enrolment"
MAX_FILE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Trust:
    """The authorities of a federation, each as PEM text."""

    root: bytes
    site_ca: bytes
    experiment_ca: bytes


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a party needs to prove who it is and to know the others.

    Attributes:
        identity: Who it is.
        chain: Its certificate and the issuing authority's, PEM.
        key: Its private key, PEM; never printed.
        trust: The authorities.
        enrolment: ``host:port`` of the authority's server, where it is renewed; empty if there is none.
    """

    identity: Identity
    chain: bytes
    key: bytes = field(repr=False)
    trust: Trust
    enrolment: str = ""


def credentials_dir(certs: Path, identity: Identity) -> Path:
    """Where the files of an identity are by default: ``<certs>/<role>/<name>``."""
    return certs / identity.role.value / identity.name


def make_private_dir(directory: Path) -> None:
    """Make a directory that only its owner may enter, and the missing ones above it; an existing one is left as it is.

    Raises:
        CredentialError: If it cannot be made.
    """
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    try:
        for path in reversed(missing):
            path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise CredentialError(f"the directory cannot be made: {error.strerror}", place=str(directory)) from error


def write_new(path: Path, data: bytes, *, private: bool) -> None:
    """Write a file that must not exist yet; a private one has mode 0600 from its creation on.

    Raises:
        CredentialError: If it exists or cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600 if private else 0o644)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError:  # a half-written file would be taken for a damaged one
            path.unlink(missing_ok=True)
            raise
    except FileExistsError as error:
        raise CredentialError("the file exists and is not overwritten", place=str(path)) from error
    except OSError as error:
        raise CredentialError(f"the file cannot be written: {error.strerror}", place=str(path)) from error


def write_whole(path: Path, data: bytes) -> None:
    """Replace a private file so that there is always the old one or the new one, on disk when this returns.

    Raises:
        CredentialError: If it cannot be written.
    """
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    write_new(fresh, data, private=True)
    fresh.replace(path)
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Have the names in a directory on disk when it returns."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def save_credentials(directory: Path, credentials: Credentials, *, replace: bool = False) -> None:
    """Write the files of a holder: its certificate chain, its key, the three authorities and where it is renewed.

    Args:
        directory: Made with mode 0700 if it is missing.
        credentials: What to write.
        replace: Whether files that exist are replaced (a renewed certificate) instead of refused.

    Raises:
        CredentialError: If a file exists, or cannot be written; then no file of this call is left behind.
    """
    trust = credentials.trust
    contents = {
        ROOT_FILE: trust.root,
        SITE_CA_FILE: trust.site_ca,
        EXPERIMENT_CA_FILE: trust.experiment_ca,
        KEY_FILE: credentials.key,
        CERTIFICATE_FILE: credentials.chain,
    }
    if credentials.enrolment:
        contents = {ENROLMENT_FILE: credentials.enrolment.encode("ascii") + b"\n", **contents}
    existing = [name for name in contents if (directory / name).exists()]
    if existing and not replace:
        cure = "choose another directory, or replace them on purpose"
        raise CredentialError(f"{', '.join(existing)} exist and are not overwritten", place=str(directory), cure=cure)
    make_private_dir(directory)
    written: list[Path] = []
    try:
        for name, data in contents.items():
            path = directory / f".{name}.new"
            path.unlink(missing_ok=True)
            write_new(path, data, private=name == KEY_FILE)
            written.append(path)
        failpoint("pki.written")
        for path, name in zip(written, contents, strict=True):
            path.replace(directory / name)
        failpoint("pki.replaced")
    except (CredentialError, OSError) as error:
        for path in written:
            path.unlink(missing_ok=True)
        if isinstance(error, CredentialError):
            raise
        raise CredentialError(f"the files cannot be written: {error.strerror}", place=str(directory)) from error


def load_credentials(directory: Path, now: datetime | None = None, *, repair: bool = True) -> Credentials:
    """Read what `save_credentials` wrote and check that it can be used.

    Args:
        directory: The holder's directory.
        now: The time at which it must be valid, with a time zone; None: the present.
        repair: Whether a renewal that was broken off is completed on disk, too.

    Raises:
        CredentialError: If a file is missing, malformed, readable by others or owned by another user, if certificate
            and key are of different pairs, if the right authority has not issued it, or if it is not valid at the time.
    """
    key_path = directory / KEY_FILE
    if not directory.is_dir():
        cure = "make it with 'fx pki issue', or name another one with --certificates"
        raise CredentialError("there is no such folder of certificates", place=str(directory), cure=cure)
    trust = read_trust(directory)
    chain_path = certificate_path(directory)
    if repair and chain_path.name != CERTIFICATE_FILE:
        with contextlib.suppress(OSError):  # a folder that cannot be written to; it is used all the same
            chain_path = chain_path.replace(directory / CERTIFICATE_FILE)
    chain = read_file(chain_path)
    key = read_private(key_path)
    leaf = parse_certificate(chain, str(chain_path))
    try:
        public = serialization.load_pem_private_key(key, password=None).public_key()
    except MALFORMED as error:
        raise CredentialError("this is not an unencrypted private key in PEM form", place=str(key_path)) from error
    if not is_p256(public) or public != leaf.public_key():
        cure = "put both files of one issue there"
        raise CredentialError("the key does not belong to the certificate beside it", place=str(key_path), cure=cure)
    try:
        identity = verify_leaf(leaf, parse_authorities(trust.root, trust.site_ca, trust.experiment_ca))
    except FederationError as error:
        cure = "copy certificate, key and authority files of one federation"
        raise CredentialError(str(error), place=str(chain_path), cure=cure) from error
    moment = now or datetime.now(UTC)
    cure = f"issue it again: fx pki issue {identity.role} {identity.name} --replace"
    if moment > leaf.not_valid_after_utc:
        message = f"the certificate expired on {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
        raise CredentialError(message, place=str(chain_path), cure=cure)
    if moment < leaf.not_valid_before_utc:
        message = f"the certificate is not valid before {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
        raise CredentialError(message, place=str(chain_path), cure="set this machine's clock")
    note = directory / ENROLMENT_FILE
    enrolment = read_file(note).decode("ascii", "replace").strip() if note.exists() else ""
    return Credentials(identity, chain, key, trust, enrolment)


def read_trust(directory: Path) -> Trust:
    """Read the authorities' certificates out of a holder's directory.

    Raises:
        CredentialError: If one is missing or cannot be read.
    """
    return Trust(*(read_file(directory / name) for name in (ROOT_FILE, SITE_CA_FILE, EXPERIMENT_CA_FILE)))


def certificate_path(directory: Path) -> Path:
    """Where the certificate is: a renewed one may not be in its place yet, if whoever replaced the key was killed."""
    fresh, key_path = directory / f".{CERTIFICATE_FILE}.new", directory / KEY_FILE
    if fresh.exists():
        with contextlib.suppress(CredentialError):
            leaf = parse_certificate(read_file(fresh), str(fresh))
            if private_key_digest(read_private(key_path)) == key_digest(leaf):
                return fresh
    return directory / CERTIFICATE_FILE


def private_key_digest(key_pem: bytes) -> str:
    """SHA-256 of the public key that belongs to a private one, in hexadecimal digits.

    Raises:
        CredentialError: If it cannot be read.
    """
    try:
        public = serialization.load_pem_private_key(key_pem, password=None).public_key()
    except MALFORMED as error:
        raise CredentialError("this is not an unencrypted private key in PEM form") from error
    kind, form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(public.public_bytes(kind, form)).hexdigest()


def belongs(chain_pem: bytes, key_pem: bytes) -> bool:
    """Whether a certificate was made for a private key.

    Raises:
        CredentialError: If one of them cannot be read.
    """
    return private_key_digest(key_pem) == key_digest(parse_certificate(chain_pem, "the certificate"))


def check_writable(directory: Path) -> None:
    """Look whether certificate and key could be replaced: a file of that size can be made in their folder.

    Raises:
        CredentialError: If it cannot.
    """
    try:
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(bytes(MAX_FILE_BYTES // 16))
            file.flush()
    except OSError as error:
        message = f"the folder cannot be written: {error.strerror}"
        cure = "make room, or mount it writable for this user"
        raise CredentialError(message, place=str(directory), cure=cure) from error


def read_file(path: Path) -> bytes:
    """Read a certificate file.

    Raises:
        CredentialError: If it is missing, unreadable or far too large.
    """
    return _read(path, private=False)


def read_private(path: Path) -> bytes:
    """Read a key file that only this user may read.

    Raises:
        CredentialError: If it is missing, unreadable, readable by others or owned by another user.
    """
    return _read(path, private=True)


def _read(path: Path, *, private: bool) -> bytes:
    try:
        with path.open("rb") as file:
            if private:
                _check_private(os.fstat(file.fileno()), path)  # of the open file: the name could change its meaning
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError as error:
        cure = "make it with fx pki, or name another directory"
        raise CredentialError("the file is missing", place=str(path), cure=cure) from error
    except OSError as error:
        raise CredentialError(f"the file cannot be read: {error.strerror}", place=str(path)) from error
    if len(data) > MAX_FILE_BYTES:
        raise CredentialError(f"the file is larger than {MAX_FILE_BYTES} bytes", place=str(path))
    return data


def _check_private(status: os.stat_result, path: Path) -> None:
    if status.st_mode & 0o077:
        message = f"the key file has mode {status.st_mode & 0o777:04o}: others may read it"
        cure = f"chmod 600 {path}; if others could read it, issue a new one"
        raise CredentialError(message, place=str(path), cure=cure)
    if status.st_uid != os.geteuid():
        message = f"the key file belongs to the user {status.st_uid}, not to this one ({os.geteuid()})"
        raise CredentialError(message, place=str(path), cure="change its owner, or run as that user")
