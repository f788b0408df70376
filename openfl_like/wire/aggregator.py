"""The Aggregator's service: its client for collaborators and the Director, and its servicer."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from openfl_like.error_meanings import from_code
from openfl_like.errors import FederationError, NotAllowedError, TransferError, UpdateRefusedError, no_room
from openfl_like.federation.announcements import Announced
from openfl_like.federation.failure import bounded
from openfl_like.federation.ports import AggregatorInstruction, AggregatorPort, CollaboratorPort, CollaboratorReport
from openfl_like.federation.task import Assignment, Phase, Update
from openfl_like.pki.files import Credentials
from openfl_like.pki.roles import Identity, Role
from openfl_like.tasks import TaskOwner
from openfl_like.tensors.manifest import MIN_CHUNK_BYTES, Manifest, keep_manifest
from openfl_like.wire.client import Peer, Stream, understood
from openfl_like.wire.convert.experiments import watch_from, watch_to
from openfl_like.wire.convert.rounds import (
    instruction_from,
    instruction_to,
    report_from,
    report_to,
    update_from,
    update_to,
)
from openfl_like.wire.convert.values import digest_from, manifest_from, manifest_to
from openfl_like.wire.protos import federation_pb2 as pb
from openfl_like.wire.server import Call
from openfl_like.wire.status import public_message
from openfl_like.wire.transfer.chunks import asks, described, place_file
from openfl_like.wire.transfer.data_server import DataServer
from openfl_like.wire.transfer.limit import TransferLimiter
from openfl_like.wire.transfer.serving import FileTransport, serve_file, take_file

log = logging.getLogger(__name__)
SERVICE = pb.DESCRIPTOR.services_by_name["Aggregator"]


@dataclass(slots=True)
class CollaboratorSession:
    """A collaborator's session with its Aggregator.

    Small files go in the messages of the session: a call or a message of its own costs more than they do. One task
    writes: a write that were cancelled half-way, with the job that reports, would end the whole session.
    """

    client: "AggregatorClient"
    stream: Stream
    collaborator: str
    _outbox: asyncio.Queue[pb.CollaboratorMessage] = field(default_factory=asyncio.Queue)
    _enclosed: tuple[str, bytes] = ("", b"")
    _receipts: dict[str, asyncio.Future[None]] = field(default_factory=dict)

    def report(self, value: CollaboratorReport) -> None:
        """Send a report as soon as those before it are out; a lost connection shows in `instruction`."""
        self._outbox.put_nowait(report_to(value))

    async def deliver(self, update: Update, path: Path) -> None:
        """Deliver an update and wait for its receipt."""
        if path.stat().st_size > MIN_CHUNK_BYTES:
            await self.client.upload(update, path, await described(path))
            return
        receipt = self._receipts[update.digest] = asyncio.get_running_loop().create_future()
        self._outbox.put_nowait(pb.CollaboratorMessage(delivered=update_to(update), file=path.read_bytes()))
        try:
            await receipt
        finally:
            self._receipts.pop(update.digest, None)

    async def model(self, digest: str, path: Path, recyclable: Path, admit: Callable[[int], None]) -> None:
        """Put a model file in its place: the one that came with its assignment, or it is fetched.

        Args:
            digest: Which model.
            path: Where it goes.
            recyclable: A file that may be overwritten instead of making a new one.
            admit: Given the size of what is offered; raises if it is not taken, and no byte of it is stored then.
        """
        came, content = self._enclosed
        if came == digest:
            admit(len(content))
            place_file(path, content, recyclable)
        else:
            await self.client.download(digest, path, recyclable, admit)

    async def write(self) -> None:
        """Write reports as they come."""
        with suppress(FederationError):
            while True:
                await self.stream.write((await self._outbox.get()).SerializeToString())

    async def instruction(self) -> AggregatorInstruction | None:
        """Return the next instruction, or None when the Aggregator has ended the session."""
        while (frame := await self.stream.read()) is not None:
            with understood("the aggregator"):
                message = pb.AggregatorMessage.FromString(frame)
                if message.HasField("receipt"):
                    self._take_receipt(message.receipt)
                    continue
                instruction = instruction_from(message, self.collaborator)
            if message.HasField("model") and isinstance(instruction, Assignment):
                self._take_model(instruction.model, message.model)
            return instruction
        return None

    def _take_model(self, digest: str, content: bytes) -> None:
        found = Manifest.of_content(content).digest
        if found != digest:
            raise TransferError(f"the assignment is for the model {digest[:12]}, it came with {found[:12]}")
        self._enclosed = digest, content

    def _take_receipt(self, message: pb.Receipt) -> None:
        waiting = self._receipts.get(message.digest)
        if waiting is None or waiting.done():
            return
        if message.code:
            waiting.set_exception(from_code(message.code, message.reason))
        else:
            waiting.set_result(None)


class AggregatorClient:
    """What a collaborator, or the Director, asks an Aggregator; an async context manager.

    Args:
        address: ``host:port``.
        experiment: Id of the experiment that the Aggregator's certificate must name.
        credentials: Certificate and key of this side.
    """

    def __init__(self, address: str, experiment: str, credentials: Credentials) -> None:
        server = Identity.aggregator(credentials.identity.federation, experiment)
        self.credentials = credentials
        self._name = credentials.identity.name
        self._experiment = experiment
        self._peer = Peer((SERVICE,), address, server.server_name, credentials)

    async def __aenter__(self) -> "AggregatorClient":
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._peer.__aexit__(*exception)

    async def ready(self) -> None:
        """Wait until there is a connection; raises UnreachableError if there is none in time."""
        await self._peer.ready()

    @asynccontextmanager
    async def participate(self) -> AsyncIterator[CollaboratorSession]:
        """Open the collaborator's session."""
        async with self._peer.session("Participate") as stream:
            session = CollaboratorSession(self, stream, self._name)
            tasks = TaskOwner()
            tasks.start(session.write())
            try:
                yield session
            finally:
                await tasks.close()

    async def download(self, digest: str, path: Path, recyclable: Path, admit: Callable[[int], None]) -> None:
        """Fetch a model file; raises TransferError if one with another digest is offered, or what `admit` raises."""

        def check(offered: Manifest) -> None:
            if offered.digest != digest:
                raise TransferError(f"asked for the model {digest[:12]}, was offered {offered.digest[:12]}")
            admit(offered.total_bytes)

        request = pb.DownloadRequest(model=digest)
        keep_manifest(path, await self._peer.download("Download", request, path, recyclable, check))

    async def upload(self, update: Update, path: Path, manifest: Manifest) -> None:
        """Deliver an update and wait for its receipt."""
        request = pb.UploadRequest(update=update_to(update), manifest=manifest_to(manifest))
        receipt = pb.Receipt.FromString(await self._peer.upload("Upload", request, path, manifest))
        if receipt.digest != update.digest:
            raise TransferError("the receipt is for another update")

    async def report_loss(self, collaborator: str, reason: str) -> None:
        """Tell that a collaborator's process has ended."""
        await self._peer.unary("ReportLoss", pb.LossReport(collaborator=collaborator, reason=reason))

    async def watch(self, after: int = 0, *, progress: bool = False) -> AsyncIterator[Announced]:
        """Yield the experiment's events after a sequence number until it ends; with progress, see `EventBus.show`."""
        request = pb.WatchRequest(experiment=self._experiment, after=after, progress=progress)
        async for message in self._peer.answers("Watch", request):
            for item in watch_from(message):
                if isinstance(item, Announced):
                    yield item

    async def cancel(self, on_behalf_of: str = "") -> None:
        """End the experiment as CANCELLED; a Director says whom it speaks for."""
        request = pb.CancelRequest(experiment=self._experiment, on_behalf_of=on_behalf_of)
        await self._peer.unary("Cancel", request)


class AggregatorServicer:
    """Carries the calls of the wire to the Aggregator's ports.

    Args:
        collaborators: Answers collaborators.
        control: Answers the Director and administrators.
        data: Where collaborators may have large files carried; without it gRPC carries them.
    """

    def __init__(
        self, collaborators: CollaboratorPort, control: AggregatorPort, data: DataServer | None = None
    ) -> None:
        self._collaborators, self._control = collaborators, control
        self._receiving: dict[tuple[int, Phase, str], tuple[asyncio.Lock, int]] = {}
        self._transport = FileTransport(TransferLimiter(), data)

    async def participate(self, call: Call) -> None:
        """Hold a collaborator's session."""
        name = call.caller.name
        turn = asyncio.Lock()

        async def send(message: pb.AggregatorMessage) -> None:
            async with turn:
                await call.send(message.SerializeToString())

        async def reports() -> AsyncIterator[CollaboratorReport]:
            async for frame in call.messages():
                message = pb.CollaboratorMessage.FromString(frame)
                if message.HasField("delivered"):
                    update = update_from(message.delivered, name)
                    await send(await self._receipt(update, message.file))
                else:
                    yield report_from(message, name)

        async def instruct(value: AggregatorInstruction) -> None:
            await send(await self._instruction(name, value))

        await self._collaborators.participate(name, reports(), instruct, call.certificate)

    async def _instruction(self, name: str, value: AggregatorInstruction) -> pb.AggregatorMessage:
        message = instruction_to(value)
        if isinstance(value, Assignment) and value.model:
            with suppress(NotAllowedError):  # it was withdrawn meanwhile: that it says so is on its way
                stored = await self._collaborators.model_file(name, value.model)
                if not asks(stored.manifest):
                    message.model = stored.path.read_bytes() if stored.content is None else stored.content
        return message

    async def _receipt(self, update: Update, content: bytes) -> pb.AggregatorMessage:
        """Take an update that came with its file, and return the receipt."""
        receipt = pb.Receipt(digest=update.digest)
        try:
            manifest = Manifest.of_content(content)
            if manifest.digest != update.digest:
                raise UpdateRefusedError("the update's digest is not that of its file")
            async with self._slot(update):
                target = await self._collaborators.expect_update(update, manifest)
                if not target.complete:
                    place_file(target.path, content, target.recyclable)
                    await self._collaborators.commit_update(update, content)
        except (FederationError, OSError) as error:
            reason = no_room(error) or error
            if isinstance(reason, OSError):
                raise
            log.info("an update of '%s' refused: %s %s", update.collaborator, reason.code, reason)
            receipt.code, receipt.reason = reason.code, public_message(reason)
        return pb.AggregatorMessage(receipt=receipt)

    async def download(self, call: Call) -> None:
        """Serve a model file."""
        request = pb.DownloadRequest.FromString(await call.receive() or b"")
        stored = await self._collaborators.model_file(call.caller.name, digest_from(request.model))
        await serve_file(call, stored.path, stored.manifest, self._transport)

    async def upload(self, call: Call) -> None:
        """Take an update into the spool and answer with a receipt."""
        request = pb.UploadRequest.FromString(await call.receive() or b"")
        update = update_from(request.update, call.caller.name)
        manifest = manifest_from(request.manifest)
        if manifest.digest != update.digest:
            raise UpdateRefusedError("the update's digest is not that of its manifest")
        async with self._slot(update):
            target = await self._collaborators.expect_update(update, manifest)
            await take_file(call, target, manifest, self._transport)
            if not target.complete:
                keep_manifest(target.path, manifest)
                await self._collaborators.commit_update(update)
        await call.send(pb.Receipt(digest=update.digest).SerializeToString())

    @asynccontextmanager
    async def _slot(self, update: Update) -> AsyncIterator[None]:
        """Wait for the place of an update in the spool: two uploads at once would write the same file.

        One may still be held by a connection that is broken without our knowing yet; what it left is gone on with.
        """
        key = update.round, update.phase, update.collaborator
        turn, waiting = self._receiving.get(key, (asyncio.Lock(), 0))
        self._receiving[key] = turn, waiting + 1
        try:
            async with turn:
                yield
        finally:
            _, waiting = self._receiving.pop(key)
            if waiting > 1:
                self._receiving[key] = turn, waiting - 1

    async def watch(self, call: Call) -> None:
        """Send history and live events."""
        request = await call.receive()
        async for events in self._control.watch(request.after, progress=request.progress):
            await call.send(watch_to(events))

    async def cancel(self, call: Call) -> pb.CancelReply:
        """End the experiment."""
        request = await call.receive()
        speaks_for = request.on_behalf_of if call.caller.role is Role.DIRECTOR else ""
        await self._control.cancel(speaks_for or call.caller.name)
        return pb.CancelReply()

    async def report_loss(self, call: Call) -> pb.LossReply:
        """Take it that a collaborator's process has ended."""
        request = await call.receive()
        await self._control.report_loss(request.collaborator, bounded(request.reason))
        return pb.LossReply()
