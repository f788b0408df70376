"""Which checks a role needs, and which roles are prepared in a folder."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from openfl_like.doctor import host
from openfl_like.doctor.certificates import Holder, holder_checks
from openfl_like.doctor.checks import BlockedError, Check, Deferred, run_checks, thread_check
from openfl_like.doctor.connection import Line
from openfl_like.doctor.director import Central
from openfl_like.doctor.finding import Finding
from openfl_like.doctor.plan import Study
from openfl_like.doctor.sandbox import SandboxTrial
from openfl_like.doctor.shard import Site
from openfl_like.errors import FederationError
from openfl_like.federation.parties import Interface
from openfl_like.pki.files import KEY_FILE
from openfl_like.pki.roles import Role
from openfl_like.plan.address import joined_address
from openfl_like.services.director.settings import DirectorFile, read_director_file

USERS = frozenset({Role.USER, Role.ADMIN})
SETTINGS, SHARD, PLAN = "director.yaml", "shard.yaml", "plan.yaml"


@dataclass(frozen=True, slots=True)
class Party:
    """Somebody who is to connect to a Director.

    Attributes:
        director: ``host:port``.
        certificates: Folder of certificate and key.
        named: Whether somebody has said where the Director is.
    """

    director: str
    certificates: Path
    named: bool = True


@dataclass(frozen=True, slots=True)
class Report:
    """What was found for one role.

    Attributes:
        subject: Who or what was looked at.
        findings: In the order of the checks.
    """

    subject: str
    findings: tuple[Finding, ...]


def machine_checks() -> list[Check]:
    """What every role needs."""
    return [thread_check("python", host.python)]


async def director_report(config: Path) -> Report:
    """Look at a Director's settings, certificates, authority, directories and ports."""
    checks = [*machine_checks(), *Central(config).checks()]
    return Report(f"director ({config})", tuple(await run_checks(checks)))


async def envoy_report(
    name: str,
    party: Party,
    shards: Sequence[Path],
    directory: Path,
    limit_s: float,
    settings: Deferred[DirectorFile] | None = None,
) -> Report:
    """Look at a site: certificates, shard, the line to the Director, directories, frameworks.

    Args:
        name: The site's name.
        party: Where the Director is, and the site's certificates.
        shards: Its shard.yaml, or one for each data interface.
        directory: Where it will work.
        limit_s: How long the site's own code, and a framework's import, may take.
        settings: director.yaml, if it is here: its shapes are compared where no Director answers.
    """
    who = Holder(party.certificates, frozenset({Role.ENVOY}), name, renews=True)
    credentials = who.credentials
    line = Line(party.director, party.certificates, credentials, party.named)
    data = []
    for shard in shards:
        site = Site(shard, name, limit_s, _interfaces(line, settings))
        sandbox = SandboxTrial(shard, site.config, party.certificates / KEY_FILE, directory, limit_s)
        data += [*site.checks(), *sandbox.checks()]
    checks = [
        *machine_checks(),
        *host.framework_checks(limit_s),
        *holder_checks(who, credentials),
        *host.directory_checks("directory", directory, "an Envoy"),
        *data,
        *line.checks(),
    ]
    return Report(f"envoy '{name}' of {party.director}", tuple(await run_checks(checks)))


def _interfaces(
    line: Line, settings: Deferred[DirectorFile] | None
) -> Callable[[], Awaitable[tuple[Sequence[Interface], str]]]:
    async def agreed() -> tuple[Sequence[Interface], str]:
        try:
            found, _, _ = await line.server_info.get()
        except (BlockedError, FederationError):
            if settings is None:
                raise BlockedError("the Director was not asked, see 'admission'") from None
            file = await settings.given()
            return file.agreed, SETTINGS
        return found.interfaces, f"the Director at {line.address}"

    return agreed


async def user_report(party: Party) -> Report:
    """Look at a user's certificates and the line to the Director."""
    who = Holder(party.certificates, USERS)
    credentials = who.credentials
    line = Line(party.director, party.certificates, credentials, party.named)
    checks = [*machine_checks(), *holder_checks(who, credentials), *line.checks()]
    return Report(f"user of {party.director}", tuple(await run_checks(checks)))


async def plan_report(study: Study) -> Report:
    """Look at a plan and its workspace, and try both."""
    return Report(f"plan {study.plan_name}", tuple(await run_checks([*machine_checks(), *study.checks()])))


async def folder_reports(folder: Path, director: str, *, named: bool, limit_s: float) -> list[Report]:
    """Look at everything that lies in a folder: director.yaml, shard.yaml with certs/envoy, certs/user, plan.yaml.

    Args:
        folder: The folder.
        director: ``host:port``.
        named: Whether somebody has said where the Director is.
        limit_s: How long user code may take.
    """
    reports: list[Report] = []
    config, shard, plan = (folder / name for name in (SETTINGS, SHARD, PLAN))
    settings = Central(config).settings if config.exists() else None
    if settings is not None:
        reports.append(await director_report(config))
        director = director if named else _where(config) or director
    if shard.exists():
        for certificates in _holders(folder, Role.ENVOY):
            name = certificates.name
            party = Party(director, certificates, named)
            reports.append(await envoy_report(name, party, (shard,), folder / f"envoy-{name}", limit_s, settings))
    if plan.exists():
        reports.append(await plan_report(Study(str(plan), limit_s, (), shard if shard.exists() else None, settings)))
    users = [Party(director, certificates, named) for certificates in _holders(folder, Role.USER)]
    return [*reports, *[await user_report(party) for party in users]]


def _where(config: Path) -> str:
    """Where the Director of a director.yaml will be; empty if that says nothing, or any port that is free."""
    found = read_director_file(config)
    port = int(found.listen.rpartition(":")[2]) if found is not None else 0
    return joined_address(found.reachable_host, port) if found is not None and port else ""


def _holders(folder: Path, role: Role) -> Sequence[Path]:
    return sorted(path for path in (folder / "certs" / role.value).glob("*") if path.is_dir())
