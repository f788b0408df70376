"""Roles, identities and the one table that says which role may make which call."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from openfl_like.errors import NotAllowedError, UnauthenticatedError, UsageError
from openfl_like.plan.names import NAME_PATTERN

NAME = re.compile(NAME_PATTERN)
FEDERATION = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


class Role(StrEnum):
    """What the holder of a certificate is in the federation."""

    DIRECTOR = "director"
    ENVOY = "envoy"
    AGGREGATOR = "aggregator"
    COLLABORATOR = "collaborator"
    USER = "user"
    ADMIN = "admin"
    GATEWAY = "gateway"


SERVER_ROLES = frozenset({Role.DIRECTOR, Role.AGGREGATOR, Role.GATEWAY})
EXPERIMENT_ROLES = frozenset({Role.AGGREGATOR, Role.COLLABORATOR})


@dataclass(frozen=True, slots=True)
class Identity:
    """Who somebody is: the one thing of a certificate that the platform looks at.

    Attributes:
        federation: Name of the federation, a DNS label.
        role: The role.
        name: Name within the role; an aggregator is named after its experiment.
        experiment: The experiment of an aggregator or collaborator, otherwise empty.

    Raises:
        UsageError: If a name does not match its pattern, or the experiment is missing or out of place.
    """

    federation: str
    role: Role
    name: str
    experiment: str = ""

    def __post_init__(self) -> None:
        check_federation(self.federation)
        _check_name("name", self.name)
        if self.role not in EXPERIMENT_ROLES:
            if self.experiment:
                raise UsageError(f"the role {self.role} belongs to no experiment, but '{self.experiment}' is given")
            return
        if not self.experiment:
            raise UsageError(f"the role {self.role} belongs to an experiment, but none is given", cure="name it")
        _check_name("experiment", self.experiment)
        if self.role is Role.AGGREGATOR and self.name != self.experiment:
            raise UsageError(f"an aggregator is named after its experiment '{self.experiment}', not '{self.name}'")

    @property
    def uri(self) -> str:
        """The identity as it stands in the certificate, for example ``fx://hospitals/envoy/cleveland``."""
        if self.role is Role.COLLABORATOR:
            return f"fx://{self.federation}/{self.role}/{self.experiment}/{self.name}"
        return f"fx://{self.federation}/{self.role}/{self.name}"

    @property
    def server_name(self) -> str:
        """The DNS name that clients expect of this server, whatever its host is called.

        Raises:
            UsageError: If the role never serves.
        """
        if self.role not in SERVER_ROLES:
            raise UsageError(f"the role {self.role} does not serve")
        if self.role is Role.AGGREGATOR:
            return f"{self.experiment}.{self.role}.{self.federation}.fx"
        return f"{self.role}.{self.federation}.fx"

    @classmethod
    def aggregator(cls, federation: str, experiment: str) -> "Identity":
        """The identity of an experiment's Aggregator."""
        return cls(federation, Role.AGGREGATOR, experiment, experiment)

    @classmethod
    def parse(cls, uri: str) -> "Identity":
        """Read an identity URI.

        Raises:
            UnauthenticatedError: If it is not exactly what `uri` would give.
        """
        parts = uri.split("/")
        try:
            role, name = Role(parts[3]), parts[-1]
            experiment = parts[4] if role in EXPERIMENT_ROLES else ""
            identity = cls(parts[2], role, name, experiment)
        except (UsageError, ValueError, IndexError) as error:
            raise UnauthenticatedError(f"{uri[:200]!r} is not an identity of a federation") from error
        if identity.uri != uri:
            raise UnauthenticatedError(f"{uri[:200]!r} is not an identity of a federation")
        return identity


def check_federation(federation: str) -> None:
    """Check the name of a federation.

    Raises:
        UsageError: If it is no lower-case DNS label.
    """
    if not FEDERATION.fullmatch(federation):
        cure = "use 1 to 63 of a-z, 0-9 and '-', beginning with a letter or digit"
        raise UsageError(f"'{federation[:100]}' is not a valid name for a federation", cure=cure)


def _check_name(what: str, name: str) -> None:
    if not NAME.fullmatch(name):
        cure = "use 1 to 63 of a-z, 0-9, '-' and '_', beginning with a letter or digit"
        raise UsageError(f"'{name[:100]}' is not a valid {what}", cure=cure)


_READERS = frozenset({Role.USER, Role.ADMIN, Role.GATEWAY})
_WRITERS = frozenset({Role.USER, Role.ADMIN})

RPC_ROLES: Mapping[str, frozenset[Role]] = MappingProxyType(
    {
        "/openfl_like.v1.Director/GetServerInfo": _READERS | {Role.ENVOY},
        "/openfl_like.v1.Director/GetStatus": _READERS,
        "/openfl_like.v1.Experiments/Submit": _WRITERS,
        "/openfl_like.v1.Experiments/ListExperiments": _READERS,
        "/openfl_like.v1.Experiments/GetExperiment": _READERS,
        "/openfl_like.v1.Experiments/Watch": _READERS,
        "/openfl_like.v1.Experiments/ReadLogs": _READERS,
        "/openfl_like.v1.Experiments/Cancel": _WRITERS,
        "/openfl_like.v1.Experiments/Resume": _WRITERS,
        "/openfl_like.v1.Experiments/Remove": _WRITERS,
        "/openfl_like.v1.Experiments/FetchModel": _READERS,
        "/openfl_like.v1.Experiments/FetchResults": _READERS,
        "/openfl_like.v1.Experiments/ExportExperiment": _WRITERS,
        "/openfl_like.v1.Experiments/ImportExperiment": _WRITERS,
        "/openfl_like.v1.Envoys/ListEnvoys": _READERS,
        "/openfl_like.v1.Envoys/GetEnvoy": _READERS,
        "/openfl_like.v1.Attendance/Attend": frozenset({Role.ENVOY}),
        "/openfl_like.v1.Attendance/FetchBundle": frozenset({Role.ENVOY}),
        "/openfl_like.v1.Aggregator/Participate": frozenset({Role.COLLABORATOR}),
        "/openfl_like.v1.Aggregator/Download": frozenset({Role.COLLABORATOR}),
        "/openfl_like.v1.Aggregator/Upload": frozenset({Role.COLLABORATOR}),
        "/openfl_like.v1.Aggregator/Watch": frozenset({Role.DIRECTOR, Role.ADMIN}),
        "/openfl_like.v1.Aggregator/Cancel": frozenset({Role.DIRECTOR, Role.ADMIN}),
        "/openfl_like.v1.Aggregator/ReportLoss": frozenset({Role.DIRECTOR}),
        "/openfl_like.v1.Jobs/Register": frozenset({Role.COLLABORATOR}),
        "/openfl_like.v1.Jobs/NextLease": frozenset({Role.COLLABORATOR}),
        "/openfl_like.v1.Jobs/RenewLease": frozenset({Role.COLLABORATOR}),
        "/openfl_like.v1.Jobs/CompleteLease": frozenset({Role.COLLABORATOR}),
        "/openfl_like.v1.Jobs/FetchJobFile": frozenset({Role.COLLABORATOR}),
        "/openfl_like.v1.Jobs/DeliverJobUpdate": frozenset({Role.COLLABORATOR}),
    }
)


def authorise(method: str, identity: Identity) -> None:
    """Let a call pass only if the table gives it to the caller's role; what is not in the table is denied.

    Args:
        method: Full name of the RPC, such as ``/openfl_like.v1.Experiments/Submit``.
        identity: The caller, from its certificate.

    Raises:
        NotAllowedError: If the role may not make the call.
    """
    allowed = RPC_ROLES.get(method, frozenset())
    if identity.role not in allowed:
        cure = f"allowed: {', '.join(sorted(allowed))}" if allowed else "the call is in no row of the role table"
        raise NotAllowedError(f"{identity.uri} may not call {method}", cure=cure)
