"""The floors: what the machine itself needs to move the same bytes or messages, measured in the same run."""

import asyncio
import multiprocessing
import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np

from openfl_like.pki.files import Credentials, load_credentials

CHUNK = 1 << 20
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


async def _messages(server: Credentials, client: Credentials, collaborators: int, rounds: int) -> list[float]:
    bare = grpc.aio.server()
    bare.add_generic_rpc_handlers((_Echo(),))
    port = bare.add_secure_port("localhost:0", _server_tls(server))
    await bare.start()
    override = (("grpc.ssl_target_name_override", server.identity.server_name),)
    channels = [
        grpc.aio.secure_channel(f"localhost:{port}", _client_tls(client), options=override)
        for _ in range(collaborators)
    ]
    streams = [channel.stream_stream("/floor/Converse")() for channel in channels]

    async def converse(stream: grpc.aio.StreamStreamCall) -> None:
        for _ in range(4):
            await stream.write(bytes(4096))
            await stream.read()

    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        await asyncio.gather(*(converse(stream) for stream in streams))
        times.append(time.perf_counter() - start)
    for channel in channels:
        await channel.close()
    await bare.stop(None)
    return times[1:]


def control_plane_floor(client: Path, server: Path, collaborators: int, rounds: int) -> list[float]:
    """Seconds per round of four 4 kB messages there and back (order, model, update, receipt) for each collaborator.

    Args:
        client: Folder of a client's certificate.
        server: Folder of a server's certificate.
        collaborators: How many at once.
        rounds: How many rounds to time.
    """
    return asyncio.run(_messages(load_credentials(server), load_credentials(client), collaborators, rounds))


# ---- bulk ---------------------------------------------------------------------------------------------------------


def _send(connection: ssl.SSLSocket, view: memoryview) -> None:
    for start in range(0, len(view), CHUNK):
        connection.sendall(view[start : start + CHUNK])


def _receive(connection: ssl.SSLSocket, view: memoryview) -> None:
    got = 0
    while got < len(view):
        count = connection.recv_into(view[got:], min(CHUNK, len(view) - got))
        if not count:
            raise EOFError
        got += count


def _in_threads(work: Callable[[int], None], count: int) -> None:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _tls_client(port: int, client: Path, size: int, rounds: int) -> None:
    context = ssl.create_default_context(cafile=str(client / "root.pem"))
    context.check_hostname = False
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(client / "cert.pem", client / "key.pem")
    with context.wrap_socket(socket.create_connection(("127.0.0.1", port))) as connection:
        model = np.empty(size // 4, np.float32)
        view = memoryview(model).cast("B")
        for _ in range(rounds):
            _receive(connection, view)
            model += 1
            _send(connection, view)


def tls_floor(client: Path, server: Path, size: int, clients: int, rounds: int) -> list[float]:
    """Seconds per round in which bare TLS 1.3 sockets carry ``size`` bytes to each client and back."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(server / "cert.pem", server / "key.pem")
    context.load_verify_locations(server / "root.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    with socket.create_server(("127.0.0.1", 0)) as listener:
        arguments = (listener.getsockname()[1], client, size, rounds)
        processes = [_SPAWN.Process(target=_tls_client, args=arguments) for _ in range(clients)]
        for process in processes:
            process.start()
        connections = [context.wrap_socket(listener.accept()[0], server_side=True) for _ in processes]
        model = memoryview(np.zeros(size // 4, np.float32)).cast("B")
        updates = [np.empty(size // 4, np.float32) for _ in processes]

        def serve(number: int) -> None:
            _send(connections[number], model)
            _receive(connections[number], memoryview(updates[number]).cast("B"))

        times = []
        for _ in range(rounds):
            start = time.perf_counter()
            _in_threads(serve, clients)
            times.append(time.perf_counter() - start)
        for process in processes:
            process.join()
        for connection in connections:
            connection.close()
    return times[1:]  # the first one waits for the clients' buffers


class _Bulk(grpc.GenericRpcHandler):  # type: ignore[misc] # grpc has no types
    def __init__(self, size: int) -> None:
        self._model = bytes(CHUNK)
        self._size = size

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        if details.method == "/floor/Down":
            return grpc.unary_stream_rpc_method_handler(self._down)
        return grpc.stream_unary_rpc_method_handler(self._up) if details.method == "/floor/Up" else None

    def _down(self, _request: bytes, _context: object) -> object:
        for start in range(0, self._size, CHUNK):
            yield self._model[: min(CHUNK, self._size - start)]

    def _up(self, requests: object, _context: object) -> bytes:
        buffer, position = memoryview(bytearray(self._size)), 0
        for part in requests:  # type: ignore[attr-defined] # grpc has no types
            buffer[position : position + len(part)] = part
            position += len(part)
        return b"done"


def _grpc_client(port: int, client: Path, name: str, size: int, begin: object) -> None:
    override = (("grpc.ssl_target_name_override", name),)
    with grpc.secure_channel(f"localhost:{port}", _client_tls(load_credentials(client)), options=override) as channel:
        down, up = channel.unary_stream("/floor/Down"), channel.stream_unary("/floor/Up")
        model = np.empty(size // 4, np.float32)
        view = memoryview(model).cast("B")
        while begin.recv():  # type: ignore[attr-defined] # a pipe's end has no public type
            position = 0
            for part in down(b""):
                view[position : position + len(part)] = part
                position += len(part)
            model += 1
            up(bytes(view[start : start + CHUNK]) for start in range(0, size, CHUNK))
            begin.send("done")  # type: ignore[attr-defined] # as above


def grpc_floor(client: Path, server: Path, size: int, clients: int, rounds: int) -> list[float]:
    """Seconds per round in which bare mTLS gRPC streams of 1 MiB raw messages carry ``size`` bytes each way."""
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
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        for ours, _ in pipes:
            ours.send("go")
        for ours, _ in pipes:
            ours.recv()
        times.append(time.perf_counter() - start)
    for ours, _ in pipes:
        ours.send("")
    for process in processes:
        process.join()
    bare.stop(None)
    return times[1:]  # the first one waits for imports
