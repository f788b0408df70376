"""The session of an Envoy at the Director, and what anybody may ask before it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from openfl_like.errors import BundleError
from openfl_like.federation.parties import (
    ServerInfo,
)
from openfl_like.federation.ports import (
    EnvoyInstruction,
    EnvoyReport,
)
from openfl_like.pki.files import Credentials
from openfl_like.wire.client import Stream, director_peer
from openfl_like.wire.convert.envoys import envoy_instruction_from, envoy_report_to
from openfl_like.wire.convert.experiments import greeting_from, greeting_to
from openfl_like.wire.protos import federation_pb2 as pb
from openfl_like.wire.server import Call

SERVICE = pb.DESCRIPTOR.services_by_name["Reception"]


async def greet(address: str, credentials: Credentials, timeout_s: float) -> ServerInfo:
    """Asks a Director what it wants of shards and what time it is there.

    Args:
        address: ``host:port``.
        credentials: Of an envoy, or of anybody who may read.
        timeout_s: How long to wait for the answer.
    """
    async with director_peer(SERVICE, address, credentials) as peer:
        return greeting_from(await peer.unary("Greet", pb.GreetRequest(), timeout_s))


class ReceptionServicer:
    """Answers with what is so now.

    Args:
        greeting: Gives it.
    """

    def __init__(self, greeting: Callable[[], ServerInfo]) -> None:
        self._greeting = greeting

    async def greet(self, _call: Call) -> pb.Greeting:
        """Says what the federation asks of a shard, and what time it is here."""
        return greeting_to(self._greeting())


@dataclass(frozen=True, slots=True)
class EnvoySession:
    """An envoy's session with the Director."""

    stream: Stream

    async def report(self, value: EnvoyReport) -> None:
        """Sends a report."""
        await self.stream.write(envoy_report_to(value))

    async def instruction(self) -> EnvoyInstruction | None:
        """Gives the next instruction, or None when the Director has ended the session."""
        message = await self.stream.read()
        return None if message is None else envoy_instruction_from(message)


class EnvoyClient:
    """What an envoy asks the Director; an async context manager.

    Args:
        address: ``host:port``.
        credentials: The envoy's certificate and key.
    """

    def __init__(self, address: str, credentials: Credentials) -> None:
        self.credentials = credentials
        self._peer = director_peer(SERVICE, address, credentials)

    async def __aenter__(self) -> "EnvoyClient":
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._peer.__aexit__(*exception)

    async def ready(self) -> None:
        """Waits until there is a connection; raises UnreachableError if there is none in time."""
        await self._peer.ready()

    @asynccontextmanager
    async def attend(self) -> AsyncIterator[EnvoySession]:
        """Opens the envoy's session."""
        async with self._peer.session("Attend") as stream:
            yield EnvoySession(stream)

    async def fetch_bundle(self, experiment: str, digest: str, path: Path) -> None:
        """Fetches a workspace bundle; raises BundleError if it does not have this digest."""
        manifest = await self._peer.download("FetchBundle", pb.FetchBundleRequest(experiment=experiment), path)
        if manifest.digest != digest:
            path.unlink(missing_ok=True)
            raise BundleError(f"the order names the bundle {digest[:12]}, but {manifest.digest[:12]} was sent")
