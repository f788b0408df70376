"""What an Envoy asks of the Director: its session, and bundles."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from openfl_like.errors import BundleError
from openfl_like.federation.ports import (
    AttendancePort,
    EnvoyInstruction,
    EnvoyReport,
)
from openfl_like.pki.files import Credentials
from openfl_like.plan.names import MAX_BUNDLE_BYTES
from openfl_like.tensors.manifest import Manifest
from openfl_like.wire.client import Stream, director_peer, understood
from openfl_like.wire.convert.envoys import (
    envoy_instruction_from,
    envoy_instruction_to,
    envoy_report_from,
    envoy_report_to,
)
from openfl_like.wire.protos import federation_pb2 as pb
from openfl_like.wire.server import Call
from openfl_like.wire.transfer.chunks import described
from openfl_like.wire.transfer.limit import TransferLimiter
from openfl_like.wire.transfer.serving import FileTransport, serve_file

SERVICE = pb.DESCRIPTOR.services_by_name["Attendance"]


@dataclass(frozen=True, slots=True)
class EnvoySession:
    """An envoy's session with the Director."""

    stream: Stream

    async def report(self, value: EnvoyReport) -> None:
        """Send a report."""
        await self.stream.write(envoy_report_to(value))

    async def instruction(self) -> EnvoyInstruction | None:
        """Return the next instruction, or None when the Director has ended the session."""
        message = await self.stream.read()
        with understood("the director"):
            return None if message is None else envoy_instruction_from(message)


class EnvoyClient:
    """What an envoy asks the Director; an async context manager.

    Args:
        address: ``host:port``.
        credentials: The envoy's certificate and key.
    """

    def __init__(self, address: str, credentials: Credentials) -> None:
        self.credentials = credentials
        self._peer = director_peer(address, credentials)

    async def __aenter__(self) -> "EnvoyClient":
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._peer.__aexit__(*exception)

    async def ready(self) -> None:
        """Wait until there is a connection; raises UnreachableError if there is none in time."""
        await self._peer.ready()

    @asynccontextmanager
    async def attend(self) -> AsyncIterator[EnvoySession]:
        """Open the envoy's session."""
        async with self._peer.session("Attend") as stream:
            yield EnvoySession(stream)

    async def fetch_bundle(self, experiment: str, digest: str, path: Path) -> None:
        """Fetch a workspace bundle.

        Raises:
            BundleError: If another one is offered, or one that is too large; no byte of it is taken.
        """

        def check(offered: Manifest) -> None:
            if offered.digest != digest:
                raise BundleError(f"the order names the bundle {digest[:12]!a}, but {offered.digest[:12]} was offered")
            if offered.total_bytes > MAX_BUNDLE_BYTES:
                raise BundleError(f"the bundle has {offered.total_bytes:,} bytes, the limit is {MAX_BUNDLE_BYTES:,}")

        await self._peer.download("FetchBundle", pb.FetchBundleRequest(experiment=experiment), path, check=check)


class AttendanceServicer:
    """Carries the calls of the wire to the Director's roster.

    Args:
        envoys: Answers envoys.
    """

    def __init__(self, envoys: AttendancePort) -> None:
        self._envoys = envoys
        self._transport = FileTransport(TransferLimiter())

    async def attend(self, call: Call) -> None:
        """Hold an envoy's session."""

        async def reports() -> AsyncIterator[EnvoyReport]:
            async for message in call.messages():
                yield envoy_report_from(message)

        async def send(value: EnvoyInstruction) -> None:
            await call.send(envoy_instruction_to(value))

        await self._envoys.attend(call.caller.name, reports(), send, call.certificate)

    async def fetch_bundle(self, call: Call) -> None:
        """Serve a workspace bundle."""
        request = pb.FetchBundleRequest.FromString(await call.receive() or b"")
        path = await self._envoys.bundle_file(call.caller.name, request.experiment)
        await serve_file(call, path, await described(path), self._transport)
