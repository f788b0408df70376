"""A federation's authorities for the length of a test."""

from datetime import datetime, timedelta
from pathlib import Path

from openfl_like.pki.administration import issue_credentials
from openfl_like.pki.authority import create_authorities, load_trust
from openfl_like.pki.files import Credentials, Trust, save_credentials
from openfl_like.pki.roles import SERVER_ROLES, Identity, Role

DAY = timedelta(days=1)


class ThrowAwayFederation:
    """Founds root, site CA and experiment CA, and certifies whoever a test needs.

    Args:
        directory: Where the authorities and `folder` write; keys in it are worth nothing elsewhere.
        name: Name of the federation.
        now: Begin of the authorities, with a time zone; None: the present. A past one is needed for certificates
            that are expired.
    """

    def __init__(self, directory: Path, name: str = "test", now: datetime | None = None) -> None:
        self.name = name
        self.certs = directory / "certs"
        create_authorities(self.certs, name, now)

    @property
    def trust(self) -> Trust:
        """The authorities' certificates."""
        return load_trust(self.certs)

    def identity(self, role: Role, name: str, experiment: str = "") -> Identity:
        """An identity of this federation; an aggregator's experiment is its name."""
        return Identity(self.name, role, name, name if role is Role.AGGREGATOR else experiment)

    def credentials(
        self,
        role: Role,
        name: str,
        experiment: str = "",
        *,
        lifetime: timedelta = DAY,
        now: datetime | None = None,
    ) -> Credentials:
        """Make a key and a certificate; servers are certified for ``localhost``.

        Args:
            role: The role.
            name: Name within the role.
            experiment: For a collaborator.
            lifetime: From ``now``; a few seconds give one that expires during the test.
            now: Time of issue, with a time zone; None: the present.
        """
        hosts = ("localhost",) if role in SERVER_ROLES else ()
        identity = self.identity(role, name, experiment)
        return issue_credentials(self.certs, identity, lifetime=lifetime, hosts=hosts, now=now)

    def folder(self, credentials: Credentials) -> Path:
        """Write credentials where ``fx`` commands can be pointed to, and return the folder."""
        identity = credentials.identity
        directory = self.certs / identity.role.value / "-".join(filter(None, (identity.experiment, identity.name)))
        save_credentials(directory, credentials, replace=True)
        return directory
