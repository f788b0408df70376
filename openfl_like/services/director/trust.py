"""What a Director does beside its queue so that its certificate and its revocation list are always the newest."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from openfl_like.pki.files import Credentials
from openfl_like.pki.peer import PeerVerifier
from openfl_like.services.director.settings import DirectorFile
from openfl_like.services.identity.renewal import CertificateRenewer
from openfl_like.services.identity.revocation_feed import RevocationFeed
from openfl_like.tasks import background
from openfl_like.wire.server import Guard, Server

LIST_FILE = "revocations.json"


@dataclass(slots=True)
class TrustUpkeep:
    """A Director's certificate and revocation list.

    Args:
        settings: director.yaml.
        credentials: What it starts with.

    Raises:
        CredentialError: If the list in its state is damaged.
    """

    settings: DirectorFile
    credentials: Credentials
    renewer: CertificateRenewer = field(init=False)
    following: RevocationFeed = field(init=False)
    guard: Guard = field(init=False)

    def __post_init__(self) -> None:
        self.renewer = CertificateRenewer(self.credentials, self.settings.certificates)
        own = self.settings.state / LIST_FILE
        self.following = RevocationFeed(own, lambda: self.renewer.current, self.settings.revocations)
        self.guard = Guard(PeerVerifier(self.credentials.trust, self.following.revocations))
        self.following.on_newer = self.guard.recheck

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong now."""
        return tuple(filter(None, (self.following.problem,)))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is about to end."""
        return self.renewer.warnings

    @contextlib.asynccontextmanager
    async def running(self, server: Server) -> AsyncIterator[None]:
        """Look after both within the block, and after what the server shows."""
        self.renewer.on_renewed = server.renew
        async with background(self.renewer.keep(), self.following.follow()):
            yield
