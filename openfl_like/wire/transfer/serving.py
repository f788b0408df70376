"""The serving side of a file's way: what its call says, and the chunks by data connection or as frames of gRPC."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from openfl_like.federation.ports import UploadTarget
from openfl_like.pki.roles import Identity
from openfl_like.tensors.manifest import Manifest
from openfl_like.wire.convert.values import manifest_to
from openfl_like.wire.protos import federation_pb2 as pb
from openfl_like.wire.server import Call
from openfl_like.wire.transfer.chunks import (
    asks,
    chunks_of,
    every_chunk,
    ignore,
    part_of,
    read_chunks,
    receive_file,
    skip_file,
    wanted,
    write_chunks,
)
from openfl_like.wire.transfer.data_connection import DataConnection
from openfl_like.wire.transfer.data_server import DataServer, Ticket
from openfl_like.wire.transfer.limit import TransferLimiter, TransferSlot


@dataclass(frozen=True, slots=True)
class FileTransport:
    """What the files of a server travel on.

    Attributes:
        limiter: How many at once.
        data: Where clients may connect for the chunks; without it gRPC carries them.
    """

    limiter: TransferLimiter
    data: DataServer | None = None

    @contextmanager
    def ticket(self, caller: Identity) -> Iterator[Ticket | None]:
        """Yield a ticket for one file, if there is a data port."""
        with nullcontext() if self.data is None else self.data.ticket(caller) as ticket:
            yield ticket


async def serve_file(call: Call, path: Path, manifest: Manifest, transport: FileTransport) -> None:
    """Answer a download: send the manifest, read the wants, send the chunks."""
    if not asks(manifest):
        await call.send(manifest_to(manifest).SerializeToString())
        async for frame in chunks_of(path, manifest, every_chunk(manifest)):
            await call.send(frame)
        return
    with transport.ticket(call.caller) as ticket:
        offer = manifest_to(manifest)
        offer.ticket.CopyFrom(_message(ticket))
        await call.send(offer.SerializeToString())
        wants = pb.Wants.FromString(await call.receive() or b"")
        indices = tuple(wants.chunks)
        async with transport.limiter.lane() as lane:
            if wants.by_ticket and ticket is not None:
                await ticket.carry(lambda connection: _send(connection, path, manifest, indices, lane))
                return
            async for frame in chunks_of(path, manifest, indices):
                await call.send(frame)
                lane.moved(len(frame))


async def take_file(
    call: Call, target: UploadTarget, manifest: Manifest, transport: FileTransport, *, durable: bool = False
) -> None:
    """Take an upload: say which chunks are wanted and receive them; a complete file is not kept again."""
    if not asks(manifest):
        if target.complete:
            await skip_file(manifest, call.receive)
        else:
            await receive_file(target.path, manifest, every_chunk(manifest), call.receive, durable=durable)
        return
    async with transport.limiter.lane() as lane:
        with transport.ticket(call.caller) as ticket:
            indices = () if target.complete else await wanted(target.path, manifest, target.recyclable)
            await call.send(pb.Wants(chunks=indices, ticket=_message(ticket)).SerializeToString())
            if target.complete:
                return
            frames = _Frames(call, lane)
            if target.arrival is not None:
                target.arrival.begin(part_of(target.path), indices)
            if ticket is not None and indices and await frames.go_elsewhere():
                await ticket.carry(lambda connection: _receive(connection, target, manifest, indices, lane))
            else:
                await receive_file(target.path, manifest, indices, frames.next, durable=durable)


@dataclass(slots=True)
class _Frames:
    """The frames of an upload, unless its client has them go over a data connection."""

    call: Call
    lane: TransferSlot
    _first: bytes | None = None

    async def go_elsewhere(self) -> bool:
        """Whether the client says so, with an empty frame."""
        self._first = await self.next()
        return self._first == b""

    async def next(self) -> bytes | None:
        """Return the next frame, or None when there are no more."""
        if self._first is not None:
            frame, self._first = self._first, None
            return frame
        received: bytes | None = await self.call.receive()
        self.lane.moved(len(received or b""))
        return received


def _message(ticket: Ticket | None) -> pb.Ticket:
    return pb.Ticket() if ticket is None else pb.Ticket(secret=ticket.secret, port=ticket.port)


def _send(
    connection: DataConnection, path: Path, manifest: Manifest, indices: tuple[int, ...], lane: TransferSlot
) -> None:
    for chunk in read_chunks(path, manifest, indices):
        connection.send(chunk)
        lane.moved(len(chunk))


def _receive(
    connection: DataConnection, target: UploadTarget, manifest: Manifest, indices: tuple[int, ...], lane: TransferSlot
) -> None:
    def fill(buffer: memoryview) -> None:
        connection.fill(buffer)
        lane.moved(len(buffer))

    placed = ignore if target.arrival is None else target.arrival.placed
    write_chunks(target.path, manifest, indices, fill, placed)
