"""The floors: what the machine itself needs to move the same bytes or messages; each is prepared for `apart.Apart`.

A floor does one round whenever it is told to, so that its rounds and the measured ones are done in turn.
"""

import asyncio
import multiprocessing
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import grpc
import numpy as np
from apart import Work

from openfl_like.pki.files import Credentials, load_credentials

CHUNK = 1 << 20
GO, END = "go", ""
_SPAWN = multiprocessing.get_context("spawn")


# ---- the control plane --------------------------------------------------------------------------------------------


class _Echo(grpc.GenericRpcHandler):  # type: ignore[misc] # grpc has no types
    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        async def echo(_requests: object, context: grpc.aio.ServicerContext) -> None:
            while (message := await context.read()) is not grpc.aio.EOF:
                await context.write(message)

        return grpc.stream_stream_rpc_method_handler(echo) if details.method == "/floor/Converse" else None


def _server_tls(server: Credentials) -> grpc.ServerCredentials:
    return grpc.ssl_server_credentials([(server.key, server.chain)], server.trust.root, require_client_auth=True)


def _client_tls(client: Credentials) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(client.trust.root, client.key, client.chain)


async def _converse(streams: Sequence[grpc.aio.StreamStreamCall]) -> None:
    async def one(stream: grpc.aio.StreamStreamCall) -> None:
        for _ in range(4):
            await stream.write(bytes(4096))
            await stream.read()

    await asyncio.gather(*(one(stream) for stream in streams))


@contextmanager
def messages(client: Path, server: Path, collaborators: int) -> Iterator[Work]:
    """Four 4 kB messages there and back (order, model, update, receipt) for each collaborator, all at once.

    Args:
        client: Folder of a client's certificate.
        server: Folder of a server's certificate.
        collaborators: How many.
    """
    ours, theirs = load_credentials(server), load_credentials(client)

    async def connect() -> tuple[grpc.aio.Server, list[grpc.aio.Channel], list[grpc.aio.StreamStreamCall]]:
        bare = grpc.aio.server()
        bare.add_generic_rpc_handlers((_Echo(),))
        port = bare.add_secure_port("localhost:0", _server_tls(ours))
        await bare.start()
        override = (("grpc.ssl_target_name_override", ours.identity.server_name),)
        channels = [
            grpc.aio.secure_channel(f"localhost:{port}", _client_tls(theirs), options=override)
            for _ in range(collaborators)
        ]
        return bare, channels, [channel.stream_stream("/floor/Converse")() for channel in channels]

    async def disconnect() -> None:
        for stream in streams:
            await stream.done_writing()
            await stream.read()
        for channel in channels:
            await channel.close()
        await bare.stop(None)

    with asyncio.Runner() as runner:
        bare, channels, streams = runner.run(connect())
        yield lambda: runner.run(_converse(streams))
        runner.run(disconnect())


# ---- bulk ---------------------------------------------------------------------------------------------------------


def _bytes_of(model: np.ndarray) -> memoryview:
    return model.data.cast("B")


def _send(connection: ssl.SSLSocket, view: memoryview) -> None:
    for start in range(0, len(view), CHUNK):
        connection.sendall(view[start : start + CHUNK])


def _receive(connection: ssl.SSLSocket, view: memoryview) -> bool:
    """Fills the view; False when the other end has closed before."""
    filled = 0
    while filled < len(view):
        count = connection.recv_into(view[filled:], min(CHUNK, len(view) - filled))
        if not count:
            return False
        filled += count
    return True


def _in_threads(work: Callable[[int], None], count: int) -> None:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _tls_client(port: int, client: Path, size: int) -> None:
    context = ssl.create_default_context(cafile=str(client / "root.pem"))
    context.check_hostname = False
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(client / "cert.pem", client / "key.pem")
    with context.wrap_socket(socket.create_connection(("127.0.0.1", port))) as connection:
        model = np.empty(size // 4, np.float32)
        while _receive(connection, _bytes_of(model)):
            model += 1
            _send(connection, _bytes_of(model))


@contextmanager
def tls_sockets(client: Path, server: Path, size: int, clients: int) -> Iterator[Work]:
    """Bare TLS 1.3 sockets carry ``size`` bytes to each client and back."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(server / "cert.pem", server / "key.pem")
    context.load_verify_locations(server / "root.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        arguments = (listener.getsockname()[1], client, size)
        processes = [_SPAWN.Process(target=_tls_client, args=arguments) for _ in range(clients)]
        for process in processes:
            process.start()
            stack.callback(process.join)
        connections = [
            stack.enter_context(context.wrap_socket(listener.accept()[0], server_side=True)) for _ in processes
        ]
        model = _bytes_of(np.zeros(size // 4, np.float32))
        updates = [np.empty(size // 4, np.float32) for _ in processes]

        def serve(number: int) -> None:
            _send(connections[number], model)
            _receive(connections[number], _bytes_of(updates[number]))

        yield lambda: _in_threads(serve, clients)


class _Bulk(grpc.GenericRpcHandler):  # type: ignore[misc] # grpc has no types
    def __init__(self, size: int) -> None:
        self._model = bytes(CHUNK)
        self._size = size

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        if details.method == "/floor/Down":
            return grpc.unary_stream_rpc_method_handler(self._down)
        return grpc.stream_unary_rpc_method_handler(self._up) if details.method == "/floor/Up" else None

    def _down(self, _request: bytes, _context: object) -> Iterator[bytes]:
        for start in range(0, self._size, CHUNK):
            yield self._model[: min(CHUNK, self._size - start)]

    def _up(self, requests: Iterator[bytes], _context: object) -> bytes:
        buffer, position = memoryview(bytearray(self._size)), 0
        for part in requests:
            buffer[position : position + len(part)] = part
            position += len(part)
        return b"done"


def _grpc_client(port: int, client: Path, name: str, size: int, begin: "Connection[str, str]") -> None:
    override = (("grpc.ssl_target_name_override", name),)
    with grpc.secure_channel(f"localhost:{port}", _client_tls(load_credentials(client)), options=override) as channel:
        down, up = channel.unary_stream("/floor/Down"), channel.stream_unary("/floor/Up")
        model = np.empty(size // 4, np.float32)
        view = _bytes_of(model)
        while begin.recv() == GO:
            position = 0
            for part in down(b""):
                view[position : position + len(part)] = part
                position += len(part)
            model += 1
            up(bytes(view[start : start + CHUNK]) for start in range(0, size, CHUNK))
            begin.send("done")


@contextmanager
def grpc_streams(client: Path, server: Path, size: int, clients: int) -> Iterator[Work]:
    """Bare mTLS gRPC streams of 1 MiB raw messages carry ``size`` bytes each way."""
    own = load_credentials(server)
    bare = grpc.server(ThreadPoolExecutor(clients * 2))
    bare.add_generic_rpc_handlers((_Bulk(size),))
    port = bare.add_secure_port("localhost:0", _server_tls(own))
    bare.start()
    pipes = [_SPAWN.Pipe() for _ in range(clients)]
    processes = [
        _SPAWN.Process(target=_grpc_client, args=(port, client, own.identity.server_name, size, theirs))
        for _, theirs in pipes
    ]
    for process in processes:
        process.start()

    def serve() -> None:
        for ours, _ in pipes:
            ours.send(GO)
        for ours, _ in pipes:
            ours.recv()

    yield serve
    for ours, _ in pipes:
        ours.send(END)
    for process in processes:
        process.join()
    bare.stop(None)
