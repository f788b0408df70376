"""A site without a network: what a Director sends and hears, a Collaborator that ends when a test says so."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from openfl_like.federation.ports import EnvoyInstruction, EnvoyReport, Heartbeat, Order
from openfl_like.pki.authority import Authority
from openfl_like.pki.certificate import AuthorityKind
from openfl_like.pki.files import Credentials
from openfl_like.pki.roles import Identity, Role
from openfl_like.pki.signing import sign_bundle
from openfl_like.plan.bundles.bundle import pack
from openfl_like.plan.load import load_plan
from openfl_like.processes.child import Child
from openfl_like.processes.standby import Standby
from openfl_like.tensors.manifest import file_digest
from openfl_like.testing.certificates import ThrowAwayFederation
from openfl_like.wire.attendance import EnvoyClient

EXPERIMENT = "obedient-0123abcd"
SITE = "bern"
OBEDIENT = Path(__file__).parents[3] / "assets" / "obedient"


class FakeChild:
    """A Collaborator that ends when the test says so, also when it is to stop."""

    def __init__(self) -> None:
        self.process = SimpleNamespace(pid=2**22 + 1, returncode=None)  # of nobody: the system has no such number
        self.exited, self.stopping, self.frozen = asyncio.Event(), asyncio.Event(), False
        self.code = 0

    def exit(self, code: int) -> None:
        """Ends."""
        self.code = code
        self.exited.set()

    async def wait(self) -> int:
        await self.exited.wait()
        return self.code

    async def exits_within(self, _seconds: float) -> bool:
        await self.exited.wait()
        return True

    async def stop(self, _grace_s: float = 0.0) -> int:
        self.stopping.set()
        return await self.wait()

    def last_line(self) -> str:
        return "its last line"


@dataclass
class FakeStandby:
    """Hands out one child, and tells that it has."""

    child: FakeChild = field(default_factory=FakeChild)
    started: asyncio.Event = field(default_factory=asyncio.Event)

    def prepare(self, *_ahead: str) -> None:
        return None

    async def start(self, _arguments: Sequence[str], _on_line: Callable[[str], None]) -> Child:
        self.started.set()
        return cast("Child", self.child)

    async def close(self) -> None:
        return None

    @property
    def as_standby(self) -> Standby:
        """Itself, as what it stands for."""
        return cast("Standby", self)


class FakeDirector:
    """What an Envoy knows of a Director: its orders, its bundle, and an authority for the Collaborator's key.

    Args:
        directory: Where it works.
        lock: What the workspace's ``requirements.lock`` has; empty: there is none.
    """

    def __init__(self, directory: Path, lock: str = "") -> None:
        self.pki = ThrowAwayFederation(directory)
        self.envoy = self.credentials = self.pki.credentials(Role.ENVOY, SITE)
        self._bundle = directory / "bundle.tar"
        plan = load_plan(OBEDIENT / "plan.yaml")
        added = {}
        if lock:
            added = {"requirements.lock": directory / "requirements.lock"}
            added["requirements.lock"].write_text(lock)
        pack(OBEDIENT, plan, self._bundle, added)
        self.instructions: asyncio.Queue[EnvoyInstruction | None] = asyncio.Queue()
        self.reports: asyncio.Queue[EnvoyReport] = asyncio.Queue()

    @property
    def order(self) -> Order:
        """To take part."""
        user, digest = self.pki.credentials(Role.USER, "ada"), file_digest(self._bundle)
        return Order(EXPERIMENT, digest, sign_bundle(digest, user), user.chain, "localhost:1")

    def certify(self, csr: bytes) -> bytes:
        """Certifies the Collaborator's key."""
        authority = Authority.load(self.pki.certs / AuthorityKind.EXPERIMENT.value)
        identity = Identity(self.pki.name, Role.COLLABORATOR, SITE, EXPERIMENT)
        return authority.issue(identity, csr, lifetime=timedelta(hours=1), now=datetime.now(UTC))

    async def hears(self, kind: type, *, heartbeats: bool = False) -> EnvoyReport:
        """Waits for a report of a kind, and passes over heartbeats that are not asked for."""
        while isinstance(report := await self.reports.get(), Heartbeat) and not heartbeats:
            pass
        assert isinstance(report, kind), report
        return report

    def ends_the_session(self) -> None:
        """Says that there is nothing more to come."""
        self.instructions.put_nowait(None)

    # ---- as a client of itself

    @property
    def as_client(self) -> EnvoyClient:
        """Itself, as an Envoy sees it."""
        return cast("EnvoyClient", self)

    def connect(self, _address: str, credentials: Credentials) -> EnvoyClient:
        self.credentials = credentials
        return self.as_client

    async def __aenter__(self) -> "FakeDirector":
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    @asynccontextmanager
    async def attend(self) -> AsyncIterator["FakeDirector"]:
        yield self

    async def report(self, value: EnvoyReport) -> None:
        self.reports.put_nowait(value)

    async def instruction(self) -> EnvoyInstruction | None:
        return await self.instructions.get()

    async def fetch_bundle(self, _experiment: str, _digest: str, path: Path) -> None:
        path.write_bytes(self._bundle.read_bytes())
