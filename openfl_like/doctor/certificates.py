"""Certificates of whoever is to run here: the folder, file by file, and the authority that renews it."""

import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from openfl_like.doctor.checks import Check, Deferred, thread_check
from openfl_like.doctor.finding import Finding, failure, fine, refusal, warning
from openfl_like.errors import CredentialError, FederationError
from openfl_like.pki import examine
from openfl_like.pki.files import ENROLMENT_FILE, KEY_FILE, Credentials, load_credentials
from openfl_like.pki.lifetime import warnings
from openfl_like.pki.roles import Role
from openfl_like.services.daemon.thread import in_thread
from openfl_like.services.identity.enrolment_client import fetch_revocations

_CAUSES: Mapping[str, str] = {
    "key file": "the file was copied without its mode or owner, or unpacked by another user",
    "key": "key.pem and cert.pem come from different issues",
    "chain": "the files in the folder are of different federations, or an authority without the right to it has signed",
    "role": "another holder's folder is named, or a certificate was copied here that belongs to somebody else",
    "validity": "its time is over, or this machine's clock is wrong",
}
_KUBERNETES = "..data"


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose certificates are looked at.

    Attributes:
        folder: Where they are.
        roles: What the holder may be.
        name: Its name; empty: any.
        renews: Whether a daemon runs with them, which renews them.
    """

    folder: Path
    roles: frozenset[Role]
    name: str = ""
    renews: bool = False

    @property
    def credentials(self) -> Deferred[Credentials]:
        """What a connection needs."""
        return Deferred("certificates", lambda: in_thread(lambda: load_credentials(self.folder, repair=False)))


def holder_checks(holder: Holder, credentials: Deferred[Credentials]) -> list[Check]:
    """Return the checks of a folder.

    Args:
        holder: Whose.
        credentials: What is loaded from it.
    """

    async def authority() -> Finding | Sequence[Finding]:
        return await _authority(await credentials.given())

    return [
        thread_check("certificates", lambda: _folder(holder)),
        Check("authority", authority),
    ]


def _folder(holder: Holder) -> Sequence[Finding]:
    """Look at every file, and at last whether a daemon could use them all."""
    folder = holder.folder
    if not folder.is_dir():
        error = CredentialError("there is no such folder of certificates", place=str(folder))
        cure = "make it with 'fx pki enroll' or 'fx pki issue', or name another one with --certificates"
        return [refusal("certificates", error, "nothing was issued yet, or it lies elsewhere", cure)]
    now = datetime.now(UTC)
    found = [_step(name, look, folder) for name, look in examine.steps(folder, holder.roles, holder.name, now).items()]
    return [*found, *_use(folder, now, found), *_ends(folder, now), *_place(holder)]


def _step(name: str, look: object, folder: Path) -> Finding:
    assert callable(look)  # noqa: S101 (for the type checker)
    try:
        return fine(name, look())
    except FederationError as error:
        cure = _kubernetes_cure(folder) if name == "key file" else ""
        return refusal(name, error, _CAUSES[name], cure)


def _kubernetes_cure(folder: Path) -> str:
    """What helps where the kubelet has mounted a secret: its files are root's, or readable by a group."""
    if not (folder / _KUBERNETES).is_symlink():
        return ""
    return (
        "this is a mounted Kubernetes secret, whose modes are the kubelet's: have an init container copy it to a "
        "volume of its own with mode 0600, or enrol there (docs/deploy/README.md)"
    )


def _use(folder: Path, now: datetime, found: Sequence[Finding]) -> Sequence[Finding]:
    """Have the last word: whatever stops a daemon is told, even if no step has found it."""
    try:
        load_credentials(folder, now, repair=False)
    except CredentialError as error:
        told = refusal("certificates", error)
        return [] if any(one.verdict is told.verdict for one in found) else [told]
    return []


def _ends(folder: Path, now: datetime) -> Sequence[Finding]:
    try:
        soon = [text for _, _, text in warnings(load_credentials(folder, now, repair=False), now)]
    except FederationError:
        return []  # told above
    cause = "nobody has renewed it: a daemon does only while it runs and can reach the authority's server"
    return [warning("validity", text, cause, "fx pki renew, or a new token or issue") for text in soon]


def _place(holder: Holder) -> Sequence[Finding]:
    folder = holder.folder
    status = folder.stat()
    found = []
    if status.st_uid not in {os.geteuid(), 0} or status.st_mode & stat.S_IWOTH:
        found.append(
            warning(
                "folder",
                f"{folder} belongs to the user {status.st_uid} and has mode {stat.S_IMODE(status.st_mode):04o}",
                "somebody else than this user may replace what is in it",
                f"chown it to this user ({os.geteuid()}), chmod 700 {folder}",
            )
        )
    renewed = holder.renews and (folder / ENROLMENT_FILE).exists()
    if renewed and not os.access(folder, os.W_OK):
        cause = "a daemon renews its certificate half-way through its life, and writes it here"
        cure = f"let the user that runs it write to {folder}; otherwise renew by hand, in time"
        found.append(warning("folder", f"{folder} cannot be written to", cause, cure))
    fresh = folder / f".{KEY_FILE}.new"
    if fresh.exists():
        cause = "a renewal was killed before it was complete; what is there is used, the rest is left over"
        found.append(warning("folder", f"{fresh} is left over", cause, "nothing: the next renewal replaces it"))
    return found or [fine("folder", f"{folder}: only this user's")]


async def _authority(credentials: Credentials) -> Finding:
    """Ask the authority's server, if the holder was enrolled there, whether it is there and we are welcome."""
    if not credentials.enrolment:
        return fine("authority", "not enrolled by token: this certificate is renewed by hand")
    try:
        await fetch_revocations(credentials, 0)
    except FederationError as error:
        known = refusal("authority", error)
        if error.code == "E401":
            cause = "fx pki serve does not run there, or a firewall is in between"
            cure = "nothing ends by it now, but nothing is renewed: see that it runs before the certificate is over"
            return warning("authority", known.seen, cause, cure)
        return failure("authority", known.seen, known.cause, known.cure)
    return fine("authority", f"{credentials.enrolment} answers and knows us")
