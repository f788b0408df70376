"""The Aggregator's service: its client for collaborators and the Director, and its servicer."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from openfl_like.errors import FederationError, TransferError, UpdateRefusedError
from openfl_like.federation.parties import EventRecord
from openfl_like.federation.ports import AggregatorInstruction, AggregatorPort, CollaboratorReport, Landing
from openfl_like.federation.task import Phase, Update
from openfl_like.pki.files import Credentials
from openfl_like.pki.roles import Identity, Role
from openfl_like.tensors.manifest import Manifest, keep_manifest
from openfl_like.wire.client import Peer, Stream
from openfl_like.wire.convert import (
    instruction_from,
    instruction_to,
    manifest_from,
    manifest_to,
    report_from,
    report_to,
    update_from,
    update_to,
    watch_from,
    watch_to,
)
from openfl_like.wire.protos import federation_pb2 as pb
from openfl_like.wire.server import Call
from openfl_like.wire.transfer import asks, chunks_of, every_chunk, receive_file, wanted

SERVICE = pb.DESCRIPTOR.services_by_name["Aggregator"]


@dataclass(frozen=True, slots=True)
class Participation:
    """A collaborator's session with its Aggregator.

    One task writes: a write that were cancelled half-way, with the job that reports, would end the whole session.
    """

    stream: Stream
    collaborator: str
    outbox: asyncio.Queue[CollaboratorReport] = field(default_factory=asyncio.Queue)

    def report(self, value: CollaboratorReport) -> None:
        """Sends a report as soon as those before it are out; a lost connection shows in `instruction`."""
        self.outbox.put_nowait(value)

    async def write(self) -> None:
        """Writes reports as they come."""
        with suppress(FederationError):
            while True:
                await self.stream.write(report_to(await self.outbox.get()))

    async def instruction(self) -> AggregatorInstruction | None:
        """Gives the next instruction, or None when the Aggregator has ended the session."""
        message = await self.stream.read()
        return None if message is None else instruction_from(message, self.collaborator)


class AggregatorClient:
    """What a collaborator, or the Director, asks an Aggregator; an async context manager.

    Args:
        address: ``host:port``.
        experiment: Id of the experiment that the Aggregator's certificate must name.
        credentials: Certificate and key of this side.
    """

    def __init__(self, address: str, experiment: str, credentials: Credentials) -> None:
        server = Identity.aggregator(credentials.identity.federation, experiment)
        self._name = credentials.identity.name
        self._experiment = experiment
        self._peer = Peer(SERVICE, address, server.server_name, credentials)

    async def __aenter__(self) -> "AggregatorClient":
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._peer.__aexit__(*exception)

    @asynccontextmanager
    async def participate(self) -> AsyncIterator[Participation]:
        """Opens the collaborator's session."""
        async with self._peer.session("Participate") as stream:
            session = Participation(stream, self._name)
            writing = asyncio.create_task(session.write())
            try:
                yield session
            finally:
                writing.cancel()

    async def download(self, digest: str, path: Path, spare: Path | None = None) -> None:
        """Fetches a model file; raises TransferError if it does not have this digest."""
        manifest = await self._peer.download("Download", pb.DownloadRequest(model=digest), path, spare)
        if manifest.digest != digest:
            path.unlink(missing_ok=True)
            raise TransferError(f"asked for the model {digest[:12]}, was sent {manifest.digest[:12]}")
        keep_manifest(path, manifest)

    async def upload(self, update: Update, path: Path, manifest: Manifest) -> None:
        """Delivers an update and waits for its receipt."""
        request = pb.UploadRequest(update=update_to(update), manifest=manifest_to(manifest))
        receipt = pb.Receipt.FromString(await self._peer.upload("Upload", request, path, manifest))
        if receipt.digest != update.digest:
            raise TransferError("the receipt is for another update")

    async def report_loss(self, collaborator: str, reason: str) -> None:
        """Tells that a collaborator's process has ended."""
        await self._peer.unary("ReportLoss", pb.LossReport(collaborator=collaborator, reason=reason))

    async def watch(self, after: int = 0) -> AsyncIterator[EventRecord]:
        """Gives the experiment's events after a sequence number until it ends."""
        request = pb.WatchRequest(experiment=self._experiment, after=after)
        async for message in self._peer.answers("Watch", request):
            for item in watch_from(message):
                if isinstance(item, EventRecord):
                    yield item

    async def cancel(self, on_behalf_of: str = "") -> None:
        """Ends the experiment as CANCELLED; a Director says whom it speaks for."""
        request = pb.CancelRequest(experiment=self._experiment, on_behalf_of=on_behalf_of)
        await self._peer.unary("Cancel", request)


class AggregatorServicer:
    """Carries the calls of the wire to the Aggregator's port."""

    def __init__(self, port: AggregatorPort) -> None:
        self._port = port
        self._receiving: set[tuple[int, Phase, str]] = set()

    async def participate(self, call: Call) -> None:
        """Holds a collaborator's session."""
        name = call.caller.name

        async def reports() -> AsyncIterator[CollaboratorReport]:
            async for message in call.messages():
                yield report_from(message, name)

        async def send(value: AggregatorInstruction) -> None:
            await call.send(instruction_to(value))

        await self._port.participate(name, reports(), send)

    async def download(self, call: Call) -> None:
        """Serves a model file."""
        request = pb.DownloadRequest.FromString(await call.receive() or b"")
        stored = await self._port.model_file(request.model)
        await serve_file(call, stored.path, stored.manifest)

    async def upload(self, call: Call) -> None:
        """Takes an update into the spool and answers with a receipt."""
        request = pb.UploadRequest.FromString(await call.receive() or b"")
        update = update_from(request.update, call.caller.name)
        manifest = manifest_from(request.manifest)
        if manifest.digest != update.digest:
            raise UpdateRefusedError("the update's digest is not that of its manifest")
        with self._slot(update):
            landing = await self._port.expect_update(update, manifest)
            await take_file(call, landing, manifest)
            keep_manifest(landing.path, manifest)
            await self._port.commit_update(update)
        await call.send(pb.Receipt(digest=update.digest).SerializeToString())

    @contextmanager
    def _slot(self, update: Update) -> Iterator[None]:
        """Holds the place of an update in the spool: two uploads at once would write the same file."""
        key = update.round, update.phase, update.collaborator
        if key in self._receiving:
            raise UpdateRefusedError("an update of this site for this round is already on its way")
        self._receiving.add(key)
        try:
            yield
        finally:
            self._receiving.discard(key)

    async def watch(self, call: Call) -> None:
        """Sends history and live events."""
        request = await call.receive()
        async for events in self._port.watch(request.after):
            await call.send(watch_to(events))

    async def cancel(self, call: Call) -> pb.CancelReply:
        """Ends the experiment."""
        request = await call.receive()
        speaks_for = request.on_behalf_of if call.caller.role is Role.DIRECTOR else ""
        await self._port.cancel(speaks_for or call.caller.name)
        return pb.CancelReply()

    async def report_loss(self, call: Call) -> pb.LossReply:
        """Takes it that a collaborator's process has ended."""
        request = await call.receive()
        await self._port.report_loss(request.collaborator, request.reason)
        return pb.LossReply()


async def serve_file(call: Call, path: Path, manifest: Manifest) -> None:
    """Answers a download: sends the manifest, reads the wants, sends the chunks."""
    await call.send(manifest_to(manifest).SerializeToString())
    indices = every_chunk(manifest)
    if asks(manifest):
        indices = tuple(pb.Wants.FromString(await call.receive() or b"").chunks)
    async for chunk in chunks_of(path, manifest, indices):
        await call.send(chunk)


async def take_file(call: Call, landing: Landing, manifest: Manifest, *, durable: bool = False) -> None:
    """Takes an upload: says which chunks are wanted and receives them; a complete file is not received again."""
    indices = every_chunk(manifest)
    if asks(manifest):
        indices = () if landing.complete else await wanted(landing.path, manifest, landing.spare)
        await call.send(pb.Wants(chunks=indices).SerializeToString())
    if not landing.complete:
        await receive_file(landing.path, manifest, indices, call.receive, durable=durable)
