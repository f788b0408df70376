"""What a Director does beside its queue so that its certificate and its revocation list are always the newest."""

import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from openfl_like.pki.files import Credentials
from openfl_like.pki.peer import PeerVerifier
from openfl_like.pki.roles import Identity, Role
from openfl_like.services.director.settings import DirectorFile
from openfl_like.services.identity.renewal import CertificateRenewer
from openfl_like.services.identity.revocation_feed import RevocationFeed
from openfl_like.tasks import background
from openfl_like.wire.server import Guard, Server

log = logging.getLogger(__name__)
LIST_FILE = "revocations.json"
NO_SOURCE = "nothing tells this Director what was revoked: a revoked site would go on"
SOURCE_CURE = "name the site CA's list as 'revocations' in director.yaml, or enrol the Director by token"


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
        self.following = RevocationFeed(own, lambda: self.renewer.current, self.settings.revocation_list)
        self.guard = Guard(PeerVerifier(self.credentials.trust, self.following.revocations))
        self.following.on_newer = self.guard.recheck

    def falls(self, site: str, number: int) -> bool:
        """Whether a site's certificate was revoked that was issued under a revocation list of this number."""
        envoy = Identity(self.guard.verifier.federation, Role.ENVOY, site)
        return self.following.revocations.falls(envoy.uri, number)

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong now."""
        return tuple(filter(None, (self.following.problem,)))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is about to end, and whether a revoked site would be heard of."""
        return (*self.renewer.warnings, *([] if self.following.has_source else [f"{NO_SOURCE} ({SOURCE_CURE})"]))

    @contextlib.asynccontextmanager
    async def running(self, server: Server) -> AsyncIterator[None]:
        """Look after both within the block, and after what the server shows."""
        self.renewer.on_renewed = server.renew
        if not self.following.has_source:
            log.warning("%s (%s)", NO_SOURCE, SOURCE_CURE)
        async with background(self.renewer.keep(), self.following.follow()):
            yield
