"""The line to a Director, step by step: name, port, server, admission, clock."""

import contextlib
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from openfl_like import __version__
from openfl_like.doctor.checks import BlockedError, Check, Deferred
from openfl_like.doctor.finding import Finding, Verdict, failure, fine, refusal, warning
from openfl_like.errors import (
    CertificateExpiredError,
    FederationError,
    InternalError,
    RevokedError,
    UnauthenticatedError,
    UnreachableError,
    UsageError,
)
from openfl_like.federation.parties import ServerInfo
from openfl_like.pki.authority import BACKDATE, EXPERIMENT_BACKDATE, enrolment_name
from openfl_like.pki.certificate import describe
from openfl_like.pki.files import Credentials, Trust, read_trust
from openfl_like.pki.peer import verify_peer
from openfl_like.pki.roles import Role
from openfl_like.plan.address import bare_host, checked_address
from openfl_like.services.daemon.thread import in_thread
from openfl_like.wire.client import director_peer
from openfl_like.wire.director import DirectorClient
from openfl_like.wire.tls import peer_pem, stranger_context

STEP_S = 5.0
BANNER_S = 1.0
Addresses = tuple[tuple[Any, ...], ...]
"""As `socket.getaddrinfo` gives them."""
Result = TypeVar("Result")


@dataclass(slots=True)
class Line:
    """The way to a Director; each step is gone once.

    Args:
        address: ``host:port``.
        folder: Of our certificates.
        credentials: What is loaded from it.
        named: Whether somebody has named the address; where nobody has, a Director need not run yet.
    """

    address: str
    folder: Path
    credentials: Deferred[Credentials]
    named: bool = True
    addresses: Deferred[Addresses] = field(init=False)
    connected: Deferred[str] = field(init=False)
    server_info: Deferred[tuple[ServerInfo, float, float]] = field(init=False)

    def __post_init__(self) -> None:
        self.addresses = Deferred("address", lambda: in_thread(self._resolve))
        self.connected = Deferred("port", self._connected)
        self.server_info = Deferred("admission", self._ask_server_info)

    def checks(self) -> list[Check]:
        """Return the checks."""
        return [
            Check("address", self._address),
            Check("port", self._port, 2 * STEP_S + 1),
            Check("server", self._server, 3 * STEP_S + 1),
            Check("admission", self._admission, 5 * STEP_S),
            Check("clock", self._clock, 5 * STEP_S),
            Check("version", self._version, 5 * STEP_S),
        ]

    # ---- name

    def _split(self) -> tuple[str, int]:
        try:
            host, _, port = checked_address(self.address).rpartition(":")
        except ValueError as error:
            raise UsageError(str(error)) from error
        return bare_host(host), int(port)

    def _resolve(self) -> Addresses:
        host, port = self._split()
        return tuple(tuple(found) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))

    async def _address(self) -> Finding:
        try:
            found = await self.addresses.get()
        except socket.gaierror as error:
            host, _ = self._split()
            cause = "the name is misspelt, or the name server of this machine does not know it"
            cure = f"check --director; 'getent hosts {host}' must give an address; otherwise write it to /etc/hosts"
            return failure("address", f"the host name '{host}' does not resolve: {error.strerror}", cause, cure)
        return fine("address", f"{self.address}: {', '.join(dict.fromkeys(_ip(one) for one in found))}")

    # ---- port

    async def _connected(self) -> str:
        addresses = await self.addresses.given()
        return await in_thread(lambda: _first_that_answers(addresses))

    async def _port(self) -> Finding:
        try:
            return fine("port", f"{await self.connected.get()} accepts connections")
        except ConnectionRefusedError:
            cause = (
                "no Director runs there, it listens on another port, or only on 'localhost' (listen in director.yaml)"
            )
            cure = "start it (fx director start), or correct the address; on its host 'fx doctor director' says more"
            found = failure("port", f"nobody listens at {self.address}", cause, cure)
        except TimeoutError:
            cause = "a firewall drops what is sent there, or the host is down"
            cure = "open the Director's port and those of its Aggregators on the way, or correct the address"
            found = failure("port", f"{self.address} does not answer within {STEP_S:g} s", cause, cure)
        except OSError as error:
            cause = "there is no way from this machine to that network, or the host is down"
            cure = "check the address, the route to it (ip route get), and VPN or proxy settings"
            found = failure("port", f"{self.address} cannot be reached: {error.strerror}", cause, cure)
        if self.named:
            return found
        cure = "start it, or say where it is with --director HOST:PORT or FX_DIRECTOR"
        return warning("port", f"{found.seen}, which nobody has named", found.cause, cure)

    # ---- server

    async def _server(self) -> Finding:
        await self._open()
        addresses = await self.addresses.given()
        trust = await Deferred("certificates", lambda: in_thread(lambda: read_trust(self.folder))).given()
        try:
            pem = await in_thread(lambda: _shown(addresses))
        except (OSError, ssl.SSLError) as error:
            banner = await in_thread(lambda: _banner(addresses))
            said = f"; it says {banner!r}" if banner else ""
            cause = "another program listens on this port, or a proxy in between takes TLS apart"
            cure = "correct the address; a proxy or load balancer must pass TLS through, unopened"
            seen = f"what answers at {self.address} is not a Director: {_short(error)}{said}"
            return failure("server", seen, cause, cure)
        return _judged(pem, trust, self.address)

    async def _open(self) -> None:
        try:
            await self.connected.get()
        except BlockedError:
            raise
        except OSError:
            raise BlockedError("see 'port'") from None

    # ---- admission, and what is told then

    async def _ask_server_info(self) -> tuple[ServerInfo, float, float]:
        await self._open()
        credentials = await self.credentials.given()
        before, begin = time.time(), time.monotonic()
        async with director_peer(self.address, credentials) as peer:
            info = await DirectorClient(peer).server_info(2 * STEP_S)
        return info, before, time.monotonic() - begin

    async def _admission(self) -> Finding:
        try:
            await self.server_info.get()
        except RevokedError as error:
            return refusal("admission", error, "the administrator of the authority has revoked it")
        except CertificateExpiredError as error:
            return refusal("admission", error, cause="the certificate's time is over, or the clocks are apart")
        except UnreachableError as error:
            cause = (
                "it closes the connection when it sees our certificate: that is of another federation, or out of date "
                "by its clock; or it is a Director of an older version, or busy"
            )
            cure = (
                "look at 'server', 'chain' and 'validity' above, compare the clocks, and look into the Director's log"
            )
            return failure("admission", f"{error.code} {error.message}", cause, cure)
        except InternalError as error:
            return refusal("admission", error)
        return fine("admission", "the Director accepts our certificate")

    async def _clock(self) -> Finding:
        try:
            info, before, took = await self.server_info.get()
        except FederationError as error:
            raise BlockedError("see 'admission'") from error
        ahead = before + took / 2 - info.time
        return judge_clock(ahead, took / 2)

    async def _version(self) -> Finding:
        info, _, _ = await self.server_info.given()
        if info.version == __version__:
            return fine("version", f"{__version__}, like the Director's")
        cause = "one side was updated and the other was not"
        cure = "install the same version of openfl_like on both sides"
        return warning("version", f"this is {__version__}, the Director {info.version}", cause, cure)


def judge_clock(ahead_s: float, uncertain_s: float) -> Finding:
    """Say what a difference of clocks means; the limits are those by which certificates begin before they are made.

    Args:
        ahead_s: How far this clock is ahead of the Director's; negative: behind.
        uncertain_s: How wrong that may be: half of the time that the answer took.
    """
    off, side = abs(ahead_s), "ahead of" if ahead_s > 0 else "behind"
    seen = f"this clock is {off:.1f} s {side} the Director's, give or take {max(uncertain_s, 0.1):.1f} s"
    if off - uncertain_s <= BACKDATE.total_seconds():
        return fine("clock", seen)
    cause = "one of the two machines does not keep its clock by NTP, or lives in a wrong time zone"
    cure = "set it: 'timedatectl' shows whether it is synchronised, 'timedatectl set-ntp true' has it so"
    most = EXPERIMENT_BACKDATE if off - uncertain_s > EXPERIMENT_BACKDATE.total_seconds() else BACKDATE
    meaning = (
        f"{seen}; certificates of experiments bear {most.total_seconds() / 3600:g} h"
        if most is EXPERIMENT_BACKDATE
        else f"{seen}; renewed certificates bear {most.total_seconds() / 60:g} min"
    )
    return Finding("clock", Verdict.FAIL if most is EXPERIMENT_BACKDATE else Verdict.WARN, meaning, cause, cure)


def _judged(pem: bytes, trust: Trust, address: str) -> Finding:
    """Say whether a certificate that a server has shown is the Director's of this federation."""
    try:
        found = verify_peer(pem, trust, datetime.now(UTC))
    except CertificateExpiredError as error:
        cure = "renew the Director's certificate (fx pki renew, fx pki issue --replace), or set this machine's clock"
        return refusal("server", error, "the Director's certificate is over, or this machine's clock is wrong", cure)
    except UnauthenticatedError as error:
        shown = describe(pem, "the server's certificate")
        names = ", ".join((*shown.identity, *shown.names)) or shown.issuer
        if any(name.startswith(enrolment_name("")[:-4]) for name in shown.names):
            cause, cure = (
                "this is the authority's server (fx pki serve)",
                "the Director's port is another one, mostly 50050",
            )
        else:
            cause = "the Director is of another federation than our certificates, or another server has this address"
            cure = "correct the address, or use the certificates of its federation: both root.pem must be the same"
        return failure(
            "server", f"{error.code} {address} shows a certificate for {names}: {error.message}", cause, cure
        )
    if found.role is not Role.DIRECTOR:
        cause = "this is the port of another server of the federation"
        cure = "the Director's port is the one of 'listen' in director.yaml"
        return failure("server", f"{address} is {found.uri}, no Director", cause, cure)
    return fine("server", f"{found.uri}")


def _each(addresses: Addresses, use: Callable[[socket.socket], Result]) -> Result:
    """Connect to the first address that accepts, and use the connection."""
    problem: OSError = OSError("there is no address")
    for family, kind, protocol, _, place in addresses:
        with contextlib.closing(socket.socket(family, kind, protocol)) as connection:
            connection.settimeout(STEP_S / len(addresses))
            try:
                connection.connect(place)
            except OSError as error:
                problem = error
                continue
            connection.settimeout(STEP_S)
            return use(connection)
    raise problem


def _first_that_answers(addresses: Addresses) -> str:
    return _each(addresses, lambda connection: "{}:{}".format(*connection.getpeername()[:2]))


def _shown(addresses: Addresses) -> bytes:
    """Return the certificate that a server shows to anybody, PEM."""

    def shake(connection: socket.socket) -> bytes:
        context = stranger_context()
        context.set_alpn_protocols(["h2"])
        with context.wrap_socket(connection) as secured:
            return peer_pem(secured)

    return _each(addresses, shake)


def _banner(addresses: Addresses) -> str:
    """What a server says by itself, or to a request that many understand."""

    def listen(connection: socket.socket) -> bytes:
        connection.settimeout(BANNER_S)
        with contextlib.suppress(OSError):
            return connection.recv(80)
        with contextlib.suppress(OSError):
            connection.sendall(b"HEAD / HTTP/1.0\r\n\r\n")
            return connection.recv(80)
        return b""

    try:
        said = _each(addresses, listen)
    except OSError:
        return ""
    return said.decode("ascii", "replace").partition("\n")[0].strip()


def _ip(found: tuple[Any, ...]) -> str:
    return str(found[4][0])


def _short(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return f"it does not speak TLS 1.3 ({error.reason or error.strerror})"
    return f"it breaks off the TLS handshake ({error.strerror or type(error).__name__})"
