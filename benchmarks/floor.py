"""The floor of the control plane: the messages that a round cannot do without, on a bare mTLS gRPC stream."""

import asyncio
import time
from pathlib import Path

import grpc

from openfl_like.pki.files import Credentials, load_credentials

METHOD = "/floor.Floor/Converse"


class _Echo(grpc.GenericRpcHandler):  # type: ignore[misc] # grpc has no types
    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        async def echo(_requests: object, context: grpc.aio.ServicerContext) -> None:
            while (message := await context.read()) is not grpc.aio.EOF:
                await context.write(message)

        return grpc.stream_stream_rpc_method_handler(echo) if details.method == METHOD else None


async def messages_s(
    server: Credentials, client: Credentials, collaborators: int, messages: int, rounds: int
) -> list[float]:
    """Times rounds of ``messages`` 4 kB messages there and back for each of the collaborators at once.

    Returns:
        Seconds per round.
    """
    tls = grpc.ssl_server_credentials([(server.key, server.chain)], server.trust.root, require_client_auth=True)
    bare = grpc.aio.server()
    bare.add_generic_rpc_handlers((_Echo(),))
    port = bare.add_secure_port("localhost:0", tls)
    await bare.start()
    own = grpc.ssl_channel_credentials(client.trust.root, client.key, client.chain)
    override = (("grpc.ssl_target_name_override", server.identity.server_name),)
    channels = [grpc.aio.secure_channel(f"localhost:{port}", own, options=override) for _ in range(collaborators)]
    streams = [channel.stream_stream(METHOD)() for channel in channels]

    async def converse(stream: grpc.aio.StreamStreamCall) -> None:
        for _ in range(messages):
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


def control_plane_floor(certs: Path, server: Path, collaborators: int, rounds: int) -> list[float]:
    """Seconds per round of 4 messages there and back (model, order, update, receipt) for each collaborator.

    Args:
        certs: Folder of the client's certificate.
        server: Folder of a server's certificate.
        collaborators: How many at once.
        rounds: How many rounds to time.
    """
    pair = load_credentials(server), load_credentials(certs)
    return asyncio.run(messages_s(*pair, collaborators, messages=4, rounds=rounds))
