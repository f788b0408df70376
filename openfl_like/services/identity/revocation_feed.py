"""How the list of what was revoked comes to those who serve: from a file, or from the authority's server."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from openfl_like.errors import CredentialError, FederationError, RevokedError
from openfl_like.pki.files import Credentials, read_file, write_whole
from openfl_like.pki.revocation import RevocationList, Revocations
from openfl_like.services.identity.enrolment_client import fetch_revocations

log = logging.getLogger(__name__)
POLL_S = 2.0
LOOK_S = 1.0
ASK_S = 5.0
SILENCE_S = 60.0


@dataclass(slots=True)
class ListFile:
    """A signed revocation list in a file that somebody else replaces.

    Args:
        path: The file; it need not be there yet.
        site_ca: Certificate of who must have signed it, PEM.
    """

    path: Path
    site_ca: bytes
    _seen: tuple[int, int, int] | None = None

    def changed(self) -> bytes | None:
        """Return the file's content if it is another one than at the last look.

        Raises:
            CredentialError: If the site CA has not signed it.
        """
        try:
            found = self.path.stat()
        except OSError:
            return None
        stamp = found.st_ino, found.st_mtime_ns, found.st_size
        if stamp == self._seen:
            return None
        data = read_file(self.path)
        try:
            RevocationList.read(data, self.site_ca)
        except CredentialError as error:
            raise CredentialError(error.message, place=str(self.path), cure="put the right one there") from error
        self._seen = stamp
        return data


async def follow_file(file: ListFile, revocations: Revocations, on_newer: Callable[[], None]) -> None:
    """Take each newer list that comes to a file, until cancelled.

    Args:
        file: Where lists come to.
        revocations: What is asked at every call.
        on_newer: Called after a list was taken.
    """
    told = ""
    while True:
        await asyncio.sleep(LOOK_S)
        try:
            data = file.changed()
        except CredentialError as error:
            if told != str(error):
                told = str(error)
                log.warning("%s", error)
            continue
        if data is not None and revocations.take(RevocationList.read(data, file.site_ca)):
            log.warning("revocation list number %d holds from now on", revocations.number)
            on_newer()


@dataclass(slots=True)
class RevocationFeed:
    """A Director's revocation list: kept in its state, where its Aggregators read it.

    Args:
        own: The file in its state.
        credentials: Gives those of now; the authority's server is asked if they say where it is.
        given: Another file to look at; None: there is none.
        on_newer: Called after a list was taken.
    """

    own: Path
    credentials: Callable[[], Credentials]
    given: Path | None
    on_newer: Callable[[], None] = lambda: None
    revocations: Revocations = field(default_factory=Revocations)
    problem: str = ""
    _unsaved: bytes | None = None
    _given: ListFile | None = None
    _silent_since: float = 0.0

    def __post_init__(self) -> None:
        site_ca = self.credentials().trust.site_ca
        self._given = None if self.given is None else ListFile(self.given, site_ca)
        data = ListFile(self.own, site_ca).changed()
        if data is not None:
            self.revocations.take(RevocationList.read(data, site_ca))

    @property
    def has_source(self) -> bool:
        """Whether anything brings newer lists."""
        return self._given is not None or bool(self.credentials().enrolment)

    async def follow(self) -> None:
        """Look again and again until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(POLL_S)

    async def look(self) -> None:
        """Look at both sources now; one that fails does not keep the other from being looked at."""
        missed: FederationError | OSError | None = None
        for source in (self._from_file, self._from_authority):
            try:
                await self._take(await source())
            except (FederationError, OSError) as error:  # no room on the disk, too, and no answer in time
                missed = error
        if missed is None:
            self._silent_since, self.problem = 0.0, ""
        else:
            self._missed(missed)

    async def _from_file(self) -> bytes | None:
        return None if self._given is None else self._given.changed()

    async def _from_authority(self) -> bytes | None:
        if not self.credentials().enrolment:
            return None
        async with asyncio.timeout(ASK_S):
            return await fetch_revocations(self.credentials(), self.revocations.number)

    async def _take(self, data: bytes | None) -> None:
        """Have a newer list hold at once, and write it: it is what a restarted Director and the Aggregators know."""
        if data is not None and self.revocations.take(RevocationList.read(data, self.credentials().trust.site_ca)):
            log.warning("revocation list number %d holds from now on", self.revocations.number)
            self.on_newer()
            self._unsaved = data
        if self._unsaved is not None:
            await asyncio.to_thread(write_whole, self.own, self._unsaved)
            self._unsaved = None

    def _missed(self, error: FederationError | OSError) -> None:
        """Say so when there was no look for a minute: what was revoked since then is not known."""
        now = asyncio.get_running_loop().time()
        self._silent_since = self._silent_since or now
        lasting = now - self._silent_since >= SILENCE_S or isinstance(error, CredentialError | RevokedError)
        if lasting and not self.problem:
            self.problem = f"the revocation list cannot be looked at: {str(error) or 'no answer'}"
            log.warning("%s", self.problem)
