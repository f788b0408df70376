"""Data connections: large files by tickets over TLS sockets, only for whom they are, and without them if need be."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from openfl_like.errors import FederationError, TransferError
from openfl_like.federation.ports import UploadTarget
from openfl_like.pki.administration import revoke
from openfl_like.pki.files import Credentials
from openfl_like.pki.peer import PeerVerifier
from openfl_like.pki.revocation import Revocations
from openfl_like.pki.roles import Role
from openfl_like.tensors.manifest import Manifest, file_digest, manifest_of
from openfl_like.testing.certificates import ThrowAwayFederation
from openfl_like.wire.client import Peer
from openfl_like.wire.convert.values import manifest_to
from openfl_like.wire.protos import federation_pb2 as pb
from openfl_like.wire.server import Call, Guard, Server, service_handler
from openfl_like.wire.tls import client_context
from openfl_like.wire.transfer import data_server
from openfl_like.wire.transfer.data_connection import SECRET_BYTES, DataConnection
from openfl_like.wire.transfer.data_server import DataServer
from openfl_like.wire.transfer.limit import TransferLimiter
from openfl_like.wire.transfer.serving import FileTransport, serve_file, take_file

pytestmark = pytest.mark.process

SERVICE = pb.DESCRIPTOR.services_by_name["Aggregator"]
CONTENT = bytes(range(251)) * 8_000  # eight chunks
EXPERIMENT = "digits-1"
ALERT = b"\x15"  # how TLS says what is wrong


class Files:
    """A servicer that serves one file and takes another."""

    def __init__(self, directory: Path, data: DataServer | None) -> None:
        self.model = directory / "model"
        self.model.write_bytes(CONTENT)
        self.landing = UploadTarget(directory / "spool" / "update")
        self.transport = FileTransport(TransferLimiter(), data)
        self.frames = 0
        self.taking = asyncio.Event()

    def counted(self, call: Call) -> Call:
        """Counts large frames: what came or went over gRPC."""

        async def receive() -> bytes | None:
            message: bytes | None = await call.receive()
            self.frames += len(message or b"") > 1 << 16
            return message

        async def send(message: bytes) -> None:
            self.frames += len(message) > 1 << 16
            await call.send(message)

        return Call(call.caller, receive, send)

    async def download(self, call: Call) -> None:
        call = self.counted(call)
        await call.receive()
        await serve_file(call, self.model, manifest_of(self.model), self.transport)

    async def upload(self, call: Call) -> None:
        call = self.counted(call)
        request = pb.UploadRequest.FromString(await call.receive())
        self.taking.set()
        await take_file(call, self.landing, Manifest.from_bytes(request.manifest.encoded), self.transport)
        await call.send(b"receipt")

    def __getattr__(self, name: str) -> object:
        async def refuse(_: Call) -> None:
            raise NotImplementedError(name)

        return refuse


@asynccontextmanager
async def serving(
    directory: Path, certificates: ThrowAwayFederation, *, data: bool = True
) -> AsyncIterator[tuple[Files, str, DataServer | None]]:
    """Runs a server with or without a data port."""
    own = certificates.credentials(Role.AGGREGATOR, EXPERIMENT)
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(DataServer("localhost", 0, own)) if data else None
        files = Files(directory, port)
        handler = service_handler(SERVICE, files, Guard(PeerVerifier(own.trust)))
        server = await stack.enter_async_context(Server("localhost:0", own, (handler,)))
        yield files, f"localhost:{server.port}", port


def peer(certificates: ThrowAwayFederation, address: str, name: str = "bern") -> Peer:
    credentials = certificates.credentials(Role.COLLABORATOR, name, EXPERIMENT)
    return Peer((SERVICE,), address, f"{EXPERIMENT}.aggregator.hospitals.fx", credentials)


async def upload(client: Peer, path: Path) -> bytes:
    manifest = manifest_of(path)
    return await client.upload("Upload", pb.UploadRequest(manifest=manifest_to(manifest)), path, manifest)


async def both_ways(client: Peer, files: Files, directory: Path) -> None:
    """Fetches the model and delivers it again."""
    fetched = directory / "fetched"
    await client.download("Download", pb.DownloadRequest(), fetched)
    assert fetched.read_bytes() == CONTENT
    assert await upload(client, fetched) == b"receipt"
    assert file_digest(files.landing.path) == file_digest(fetched)


async def test_large_files_go_over_one_data_connection(tmp_path: Path, certificates: ThrowAwayFederation) -> None:
    async with serving(tmp_path, certificates) as (files, address, data), peer(certificates, address) as client:
        for _ in range(3):
            await both_ways(client, files, tmp_path)
        assert files.frames == 0
        assert data is not None
        assert len(data._serving) == 1, "the connection is kept"


async def test_without_a_data_port_grpc_does_it(tmp_path: Path, certificates: ThrowAwayFederation) -> None:
    async with (
        serving(tmp_path, certificates, data=False) as (files, address, _),
        peer(certificates, address) as client,
    ):
        await both_ways(client, files, tmp_path)
        assert files.frames > 0


async def test_a_data_port_behind_a_firewall(
    tmp_path: Path, certificates: ThrowAwayFederation, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(tmp_path, certificates) as (files, address, data), peer(certificates, address) as client:
        assert data is not None
        with socket.create_server(("localhost", 0)) as closed:
            data.port = closed.getsockname()[1]
        await both_ways(client, files, tmp_path)
        await both_ways(client, files, tmp_path)
        assert files.frames > 0
    assert [record.message.split(" (")[0] for record in caplog.records] == [
        f"no data connection to localhost:{data.port}"
    ]


async def test_a_connection_that_breaks_is_gone_on_with(
    tmp_path: Path, certificates: ThrowAwayFederation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first connection ends after a few chunks, the next one carries the rest."""
    sent: list[int] = []
    send = DataConnection.send

    def spy(self: DataConnection, content: memoryview) -> None:
        sent.append(len(content))
        if len(sent) == 5:
            self.abort()
        send(self, content)

    monkeypatch.setattr(DataConnection, "send", spy)
    async with serving(tmp_path, certificates) as (files, address, _), peer(certificates, address) as client:
        assert await upload(client, files.model) == b"receipt"
        assert files.landing.path.read_bytes() == CONTENT
        assert files.frames == 0
    large = [size for size in sent if size > SECRET_BYTES]
    assert sum(large) <= len(CONTENT) + max(large), "only the chunk that broke off is sent again"


async def test_a_call_that_ends_takes_its_connection_along(tmp_path: Path, certificates: ThrowAwayFederation) -> None:
    brief = certificates.credentials(Role.COLLABORATOR, "bern", EXPERIMENT, lifetime=timedelta(seconds=2))
    async with serving(tmp_path, certificates) as (files, address, data):
        client = Peer((SERVICE,), address, f"{EXPERIMENT}.aggregator.hospitals.fx", brief)
        async with client, client.session("Upload") as stream:
            manifest = manifest_of(files.model)
            await stream.write(pb.UploadRequest(manifest=manifest_to(manifest)).SerializeToString())
            ticket = pb.Wants.FromString(await stream.expect()).ticket
            await stream.write(b"")
            with await asyncio.to_thread(connected, brief, ticket.port) as tls:
                await asyncio.to_thread(tls.sendall, ticket.secret + CONTENT[:1000])
                with pytest.raises(FederationError, match="expired during the call"):
                    await stream.read()
                assert await asyncio.to_thread(tls.recv, 1) == b"", "nothing more is taken"
        assert data is not None
        assert not data._tickets
        assert not files.landing.path.exists()


def connected(
    credentials: Credentials, port: int, name: str = f"{EXPERIMENT}.aggregator.hospitals.fx"
) -> ssl.SSLSocket:
    raw = socket.create_connection(("localhost", port), timeout=10)
    return client_context(credentials).wrap_socket(raw, server_hostname=name)


def answer(credentials: Credentials, port: int, secret: bytes) -> bytes | type[OSError]:
    """What the data port says to a secret: nothing, or it breaks the connection off."""
    try:
        with connected(credentials, port) as tls:
            tls.sendall(secret)
            return tls.recv(1)
    except OSError:
        return OSError


async def test_a_ticket_is_good_for_its_caller_alone(
    tmp_path: Path, certificates: ThrowAwayFederation, strangers: ThrowAwayFederation
) -> None:
    bern = certificates.credentials(Role.COLLABORATOR, "bern", EXPERIMENT)
    long_ago = datetime.now(UTC) - timedelta(days=10)
    others = {
        "another site": certificates.credentials(Role.COLLABORATOR, "basel", EXPERIMENT),
        "another experiment": certificates.credentials(Role.COLLABORATOR, "bern", "digits-2"),
        "another role": certificates.credentials(Role.ENVOY, "bern"),
        "expired": certificates.credentials(Role.COLLABORATOR, "bern", EXPERIMENT, now=long_ago),
    }
    stranger = strangers.credentials(Role.COLLABORATOR, "bern", EXPERIMENT)
    others["another authority"] = Credentials(stranger.identity, stranger.chain, stranger.key, certificates.trust)
    async with serving(tmp_path, certificates) as (_, _, data):
        assert data is not None
        with data.ticket(bern.identity) as ticket:
            for who, credentials in others.items():
                found = await asyncio.to_thread(answer, credentials, data.port, ticket.secret)
                assert found in (b"", OSError), who
            assert await asyncio.to_thread(answer, bern, data.port, bytes(SECRET_BYTES)) == b"", "a guessed secret"
            carried = asyncio.create_task(ticket.carry(lambda connection: connection.send(b"!")))
            assert await asyncio.to_thread(answer, bern, data.port, ticket.secret) == b"!"
            await carried
            assert await asyncio.to_thread(answer, bern, data.port, ticket.secret) == b"", "it is good once"
        with data.ticket(bern.identity) as former:
            pass
        assert await asyncio.to_thread(answer, bern, data.port, former.secret) == b"", "its call is over"


async def test_a_revoked_peer_redeems_no_ticket(tmp_path: Path) -> None:
    federation, revocations = ThrowAwayFederation(tmp_path, "hospitals"), Revocations()
    bern = federation.credentials(Role.COLLABORATOR, "bern", EXPERIMENT)
    own = federation.credentials(Role.AGGREGATOR, EXPERIMENT)
    async with DataServer("localhost", 0, own, PeerVerifier(own.trust, revocations)) as data:
        with data.ticket(bern.identity) as ticket:
            revocations.take(revoke(federation.certs, federation.identity(Role.ENVOY, "bern"), "", datetime.now(UTC)))
            assert await asyncio.to_thread(answer, bern, data.port, ticket.secret) in (b"", OSError)
            assert ticket.secret in data._tickets


async def test_without_a_certificate_or_tls_nobody_is_heard(
    tmp_path: Path, certificates: ThrowAwayFederation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_server, "HANDSHAKE_S", 0.3)

    def plain(port: int, content: bytes) -> bytes | type[OSError]:
        try:
            with socket.create_connection(("localhost", port), timeout=10) as raw:
                raw.sendall(content)
                while raw.recv(1 << 10).startswith(ALERT):
                    pass
                return raw.recv(1)
        except OSError:
            return OSError

    def nameless(port: int) -> bytes | type[OSError]:
        context = ssl.create_default_context(cadata=certificates.trust.root.decode())
        context.check_hostname = False
        try:
            with context.wrap_socket(socket.create_connection(("localhost", port), timeout=10)) as tls:
                return tls.recv(1)
        except OSError:
            return OSError

    async with serving(tmp_path, certificates) as (_, _, data):
        assert data is not None
        assert await asyncio.to_thread(plain, data.port, bytes(100)) in (b"", OSError)
        assert await asyncio.to_thread(plain, data.port, b"") == b"", "who says nothing has to go"
        assert await asyncio.to_thread(nameless, data.port) is OSError


async def test_a_rogue_data_server_is_not_talked_to(certificates: ThrowAwayFederation) -> None:
    bern = certificates.credentials(Role.COLLABORATOR, "bern", EXPERIMENT)
    async with DataServer("localhost", 0, certificates.credentials(Role.AGGREGATOR, "digits-2")) as rogue:
        with pytest.raises(ssl.SSLCertVerificationError, match="certificate is not valid for"):
            await asyncio.to_thread(connected, bern, rogue.port)


async def test_nobody_comes_for_a_ticket(certificates: ThrowAwayFederation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_server, "PRESENT_S", 0.05)
    own = certificates.credentials(Role.AGGREGATOR, EXPERIMENT)
    async with DataServer("localhost", 0, own) as data:
        with data.ticket(own.identity) as ticket, pytest.raises(TransferError, match="no data connection came"):
            await ticket.carry(lambda _: None)
