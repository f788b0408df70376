"""A Director before it starts: director.yaml, authority, addresses, ports, limits, revocation."""

import ipaddress
import os
import socket
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from openfl_like.doctor import host
from openfl_like.doctor.certificates import Holder, holder_checks
from openfl_like.doctor.checks import Check, Deferred, thread_check
from openfl_like.doctor.finding import Finding, failure, fine, refusal, warning
from openfl_like.doctor.host import own_addresses
from openfl_like.errors import CredentialError, SettingsError
from openfl_like.pki import examine
from openfl_like.pki.authority import CA_KEY_FILE
from openfl_like.pki.certificate import AuthorityKind
from openfl_like.pki.files import ENROLMENT_FILE, read_file
from openfl_like.pki.roles import Role
from openfl_like.processes.sandbox.confinement import available
from openfl_like.services.daemon.lock import holder
from openfl_like.services.daemon.thread import in_thread
from openfl_like.services.director.aggregator_process import free_port
from openfl_like.services.director.settings import (
    PORTS_EACH,
    DirectorFile,
    RefereeKind,
    check_referee,
    load_director_file,
    read_director_file,
)
from openfl_like.services.director.trust import LIST_FILE, NO_SOURCE, SOURCE_CURE


@dataclass(slots=True)
class Central:
    """The checks of a Director.

    Args:
        config: director.yaml.
    """

    config: Path
    settings: Deferred[DirectorFile] = field(init=False)

    def __post_init__(self) -> None:
        self.settings = Deferred("director.yaml", lambda: in_thread(lambda: load_director_file(self.config)))

    def checks(self) -> list[Check]:
        """Return the checks; keys with mistakes count as left out for all but the one that names them."""
        named = Check("director.yaml", self._settings)
        usable = read_director_file(self.config)
        if usable is None:
            return [named]
        return [
            named,
            *self._certificates(usable),
            *host.directory_checks("state", usable.state, "a Director"),
            thread_check("open files", host.open_files),
            thread_check("listen", lambda: host.port("listen", usable.listen, usable.state)),
            thread_check("aggregator ports", lambda: aggregator_ports(usable)),
            thread_check("aggregator host", lambda: aggregator_host(usable)),
            *([] if usable.referee is RefereeKind.OFF else [thread_check("referee", lambda: referee(usable))]),
        ]

    async def _settings(self) -> Finding:
        try:
            await self.settings.get()
        except SettingsError as error:
            cure = "correct these lines; docs/reference/settings.md has every key" if error.problems else ""
            return refusal("director.yaml", error, cure=cure)
        return fine("director.yaml", f"{self.config}: no mistakes")

    def _certificates(self, settings: DirectorFile) -> list[Check]:
        who = Holder(settings.certificates, frozenset({Role.DIRECTOR}), renews=True)
        return [
            *holder_checks(who, who.credentials),
            thread_check("experiment CA", lambda: experiment_ca(settings)),
            thread_check("authority keys", lambda: authority_keys(settings)),
            thread_check("revocation", lambda: revocation(settings)),
        ]


def experiment_ca(settings: DirectorFile) -> Finding:
    """Look at the authority that certifies the parties of an experiment."""
    now = datetime.now(UTC)
    try:
        seen = examine.experiment_authority(settings.experiment_ca, settings.certificates, now)
    except CredentialError as error:
        cause = "experiment_ca names another folder, or its files were copied without their modes or from elsewhere"
        return refusal("experiment CA", error, cause)
    return fine("experiment CA", seen)


def authority_keys(settings: DirectorFile) -> Finding:
    """Look for keys beside the experiment authority that no Director needs: with them a stolen one can invent sites."""
    folders = [settings.experiment_ca.parent / kind.value for kind in (AuthorityKind.ROOT, AuthorityKind.SITE)]
    found = [key for key in (folder / CA_KEY_FILE for folder in folders) if os.access(key, os.R_OK)]
    if not found:
        return fine("authority keys", "only the experiment CA's is here")
    cause = "the federation was founded on this machine: whoever steals it can certify sites, users and Directors"
    cure = (
        "take the root's key offline, and have the site CA on another machine (certs/README.md); to try it all on one "
        "machine, leave them"
    )
    return warning("authority keys", f"this user can read {' and '.join(map(str, found))}", cause, cure)


def revocation(settings: DirectorFile) -> Finding:
    """Look at the revocation lists that the Director would begin with."""
    places = [settings.state / LIST_FILE, *filter(None, [settings.revocation_list])]
    found = [path for path in places if path.exists()]
    seen = examine.standing(settings.certificates, {str(path): read_file(path) for path in found})
    if settings.revocations is not None and settings.revocations not in found:
        cause = "nothing has brought it there yet, or 'revocations' in director.yaml names another file"
        cure = "put the file there that 'fx pki revoke' has written, or leave the key out"
        return warning("revocation", f"there is no file {settings.revocations}", cause, cure)
    if settings.revocation_list is None and not (settings.certificates / ENROLMENT_FILE).exists():
        cause = "the site CA is on another machine, and the Director was not enrolled by token"
        return warning("revocation", NO_SOURCE, cause, SOURCE_CURE)
    return fine("revocation", seen)


def aggregator_ports(settings: DirectorFile) -> Finding:
    """Look whether an Aggregator would find its ports."""
    if 0 in settings.ports:
        return fine("aggregator ports", "any free ones; a firewall needs a range")
    host, needed = settings.listen.rpartition(":")[0], settings.parallel * PORTS_EACH
    free: list[int] = []
    while len(free) < needed and (port := free_port(host, [port for port in settings.ports if port not in free])):
        free.append(port)
    if len(free) == needed:
        named = " and ".join(map(str, free)) if needed == PORTS_EACH else f"{free[0]} to {free[-1]}, {needed} of them,"
        return fine("aggregator ports", f"{settings.aggregator_ports}: {named} are free")
    if holder(settings.state) is not None:
        return fine("aggregator ports", f"{settings.aggregator_ports}: {len(free)} free, with what runs here already")
    many = "an Aggregator takes 2" if settings.parallel == 1 else f"{settings.parallel} Aggregators take {needed}"
    seen = f"{len(free)} of the ports {settings.aggregator_ports} are free, {many}"
    cause = "other programs have them, or the range is too narrow"
    cure = "widen aggregator_ports in director.yaml, and open them in the firewall"
    if settings.parallel == 1 and free:
        return warning("aggregator ports", f"{seen}: large files will go slower", cause, cure)
    return failure("aggregator ports", seen, cause, cure)


def aggregator_host(settings: DirectorFile) -> Finding:
    """Look whether sites can dial what they are told."""
    host = settings.reachable_host
    if _is_any(host):
        cause = "'listen' names all addresses of this machine, and no aggregator_host says which of them sites dial"
        cure = "set aggregator_host in director.yaml to the name by which sites reach this machine"
        return failure("aggregator host", f"sites would be told to dial {host}, which is each one itself", cause, cure)
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        cause = "the name is misspelt, or only known elsewhere"
        cure = "correct aggregator_host; if only sites know the name, this is harmless"
        return warning("aggregator host", f"'{host}' does not resolve here: {error.strerror}", cause, cure)
    addresses = dict.fromkeys(str(one[4][0]).partition("%")[0] for one in found)
    loopback = [one for one in addresses if ipaddress.ip_address(one).is_loopback]
    seen = f"{host} ({', '.join(addresses)})"
    if not loopback and not own_addresses() & addresses.keys():
        cause = (
            "sites are told to dial it, and no Aggregator listens there, unless something hands it on to this machine"
        )
        cure = (
            "correct aggregator_host, or what the name stands for; behind a load balancer, NAT or a container's "
            "published ports this is as it should be"
        )
        return warning("aggregator host", f"{seen} is not an address of this machine", cause, cure)
    where = ": only this machine reaches it" if len(loopback) == len(addresses) else ""
    return fine("aggregator host", f"{seen}{where}")


def _is_any(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def referee(settings: DirectorFile) -> Finding:
    """Look whether what runs code of workspaces can be confined here."""
    reached = available()
    try:
        check_referee(settings, reached)
    except SettingsError as error:
        return refusal("referee", error)
    return fine("referee", f"parts of workspaces run {reached}")
