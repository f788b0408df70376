"""The asking side of enrolment: a key is made here, and only the request for its certificate leaves."""

import contextlib
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from openfl_like.errors import CredentialError, FederationError, UnauthenticatedError, UnreachableError
from openfl_like.pki.authority import enrolment_name, new_key_and_csr
from openfl_like.pki.certificate import key_digest, parse_certificate
from openfl_like.pki.files import CERTIFICATE_FILE, KEY_FILE, Credentials, Trust, make_private_dir, private_key_digest
from openfl_like.pki.peer import verify_peer
from openfl_like.pki.revocation import RevocationList
from openfl_like.pki.roles import Identity
from openfl_like.pki.token import Token
from openfl_like.wire.enrolment import ask
from openfl_like.wire.tls import pinned_context, stranger_context


def prepare_folder(directory: Path) -> None:
    """See to it, before a token is used up, that what it gives can be written.

    Raises:
        CredentialError: If there is a certificate already, or the folder cannot be written to.
    """
    if any((directory / name).exists() for name in (CERTIFICATE_FILE, KEY_FILE)):
        raise CredentialError(
            "there is a certificate already",
            place=str(directory),
            cure="name another folder with --out, or move this one away; the token was not used",
        )
    make_private_dir(directory)
    if not os.access(directory, os.W_OK | os.X_OK):
        raise CredentialError("this folder cannot be written to; the token was not used", place=str(directory))


async def enrol(token: Token) -> Credentials:
    """Make a key and have it certified for whom the token names; nothing is written.

    The site CA's certificate is asked for first and compared with the token's pin. Then a second connection trusts this
    one certificate and nothing else, and the token's secret goes over it.

    Raises:
        UnreachableError: If the authority does not answer; if that is after the token was sent, it may be used up.
        UnauthenticatedError: If another authority answers; it is told nothing.
        NotAllowedError: If the token is unknown, used or over.
    """
    name = enrolment_name(token.identity.federation)
    met = await ask(token.address, stranger_context(), name, {"ask": "authority"})
    site_ca = met.get("site_ca", "").encode("ascii", "replace")
    try:
        token.check_authority(site_ca)
    except CredentialError as error:
        raise UnauthenticatedError(f"what answers at {token.address} is not an authority") from error
    key, request = new_key_and_csr()
    question = {"ask": "enrol", "secret": token.secret.hex(), "csr": request.decode("ascii")}
    try:
        answer = await ask(token.address, pinned_context(site_ca), name, question)
    except UnreachableError as error:
        cure = "try again; if the token is refused then, it was used up by this try: ask for a new one"
        raise UnreachableError(error.message, cure=cure) from error
    return _accept(answer, token.identity, key, token.address, site_ca)


async def renew(credentials: Credentials, address: str = "") -> Credentials:
    """Make a new key and have it certified for the same holder, who proves itself by its present certificate.

    Args:
        credentials: The present ones; still valid.
        address: ``host:port`` of the authority's server; empty: as in the credentials.

    Raises:
        CredentialError: If no address is known.
        UnreachableError: If the authority does not answer.
        UnauthenticatedError: If another one answers, or it does not accept the present certificate.
        RevokedError: If that was revoked.
    """
    where = address or _where(credentials)
    key, request = new_key_and_csr()
    question = {"ask": "renew", "csr": request.decode("ascii")}
    answer = await _ask_as(credentials, where, question)
    return _accept(answer, credentials.identity, key, where, credentials.trust.site_ca)


async def fetch_revocations(credentials: Credentials, known: int) -> bytes | None:
    """Return the authority's signed revocation list if it has another number than the known one.

    Raises:
        FederationError: As `renew`.
    """
    answer = await _ask_as(credentials, _where(credentials), {"ask": "revocations", "known": str(known)})
    if "list" not in answer:
        return None
    data = answer["list"].encode("utf-8", "replace")  # halves of characters, which no list of ours has
    RevocationList.read(data, credentials.trust.site_ca)
    return data


def _where(credentials: Credentials) -> str:
    if not credentials.enrolment:
        raise CredentialError(
            f"it is not known where the certificate of {credentials.identity.uri} can be renewed",
            cure="name the authority's server with --server HOST:PORT",
        )
    return credentials.enrolment


async def _ask_as(credentials: Credentials, address: str, question: Mapping[str, str]) -> dict[str, str]:
    context = pinned_context(credentials.trust.site_ca, credentials)
    try:
        return await ask(address, context, enrolment_name(credentials.identity.federation), question)
    except UnreachableError:
        # a server that refuses our certificate only closes the connection (TLS 1.3)
        verify_peer(credentials.chain, credentials.trust, datetime.now(UTC))
        raise


def _accept(answer: Mapping[str, str], identity: Identity, key: bytes, address: str, site_ca: bytes) -> Credentials:
    """Look at what the authority has sent before it is used or written."""
    place = f"the authority at {address}"
    with contextlib.suppress(KeyError, UnicodeEncodeError):
        parts = {name: answer[name].encode("ascii") for name in ("chain", "root", "site_ca", "experiment_ca")}
        trust = Trust(parts["root"], parts["site_ca"], parts["experiment_ca"])
        try:
            found = verify_peer(parts["chain"], trust, datetime.now(UTC))
        except FederationError as error:
            raise UnauthenticatedError(f"it sent a certificate that cannot be used: {error}", place=place) from error
        ours = key_digest(parse_certificate(parts["chain"], place)) == private_key_digest(key)
        if found == identity and ours and parts["site_ca"] == site_ca:
            return Credentials(identity, parts["chain"], key, trust, address)
    raise UnauthenticatedError(f"it sent another certificate than one for {identity.uri}", place=place)
