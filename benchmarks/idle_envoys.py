"""W5: what envoys cost a Director while nothing happens: its memory for each, and its CPU time for all of them.

The Director is a real `fx director` process. An envoy is a light stub: a connection with a certificate of its own and a
session with the heartbeats of the default period, many of them in one process. The floor, looked at in turn: streams of
a bare server of the same library, held open over the same mTLS with the same keepalive, that carry as many bytes as
often and do nothing with them.

Example: python benchmarks/idle_envoys.py --envoys 2000
"""

import argparse
import asyncio
import contextlib
import multiprocessing.process
import random
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import grpc
from figures import beside, emit, figure, say, use_of
from processes import Memory, cpu_s, memory_of

from openfl_like.federation.parties import DeviceStatistics, ShardFacts
from openfl_like.federation.ports import Heartbeat, Hello, Welcome
from openfl_like.pki.authority import Authority, load_trust, new_key_and_csr
from openfl_like.pki.certificate import AuthorityKind
from openfl_like.pki.files import Credentials, load_credentials
from openfl_like.pki.roles import Identity, Role
from openfl_like.services.director.envoys import HEARTBEATS_PER_S
from openfl_like.services.director.settings import DirectorFile
from openfl_like.services.local_federation import LocalFederation
from openfl_like.wire.attendance import EnvoyClient
from openfl_like.wire.channel import KEEPALIVE, open_channel
from openfl_like.wire.convert.envoys import envoy_report_to

SPAWN = multiprocessing.get_context("spawn")
HEARTBEAT_S = float(DirectorFile.model_fields["heartbeat_s"].default)
CONNECT_TIMEOUT_S = 240.0
PATIENCE_S = 60.0
SETTLE_S = 10.0  # until then some still send as often as when there were few
QUARTERS = 4
AT_ONCE = 25  # connections that a process of stubs opens at once: more, and it is too busy to answer pings
MEGABYTE = 1 << 20
BEAT = Heartbeat(
    DeviceStatistics(12.5, 16, 1.25, 64_000 * MEGABYTE, 9_000 * MEGABYTE, 500_000 * MEGABYTE, 90_000 * MEGABYTE), ()
)
HELLO = Hello(ShardFacts((1,), (), "an idle site", {"columns": ["value"], "counts": {"train": 800}}), "benchmark")
LIMIT_KB = 150.0
LIMIT_CORE = 0.1


# ---- the stubs' side ----------------------------------------------------------------------------------------------


def issue_envoys(certs: Path, numbers: Sequence[int]) -> list[Credentials]:
    """Makes the certificates of a process's envoys without a file for each."""
    authority, trust = Authority.load(certs / AuthorityKind.SITE.value), load_trust(certs)
    made = []
    for number in numbers:
        identity = Identity(authority.federation, Role.ENVOY, f"site-{number}")
        key, request = new_key_and_csr()
        chain = authority.issue(identity, request, lifetime=timedelta(days=1), now=datetime.now(UTC))
        made.append(Credentials(identity, chain, key, trust))
    return made


@dataclass(slots=True)
class Stub:
    """A session as a stub holds it; whoever serves it says how often it wants a heartbeat."""

    send: Callable[[], Awaitable[None]]
    listen: Callable[[], Awaitable[float]]
    period_s: float = 0.0

    async def beat(self) -> None:
        """Sends heartbeats for ever, the first one anywhere within the period, as if it had started at any time."""
        wait_s = random.uniform(0, self.period_s)  # noqa: S311 (spreads load, protects nothing)
        while True:
            await asyncio.sleep(wait_s)
            await self.send()
            wait_s = self.period_s

    async def hear(self) -> None:
        """Obeys when another period is wanted."""
        while True:
            self.period_s = await self.listen()


@asynccontextmanager
async def _envoy(address: str, credentials: Credentials) -> AsyncIterator[Stub]:
    async with EnvoyClient(address, credentials) as client, client.attend() as session:

        async def listen() -> float:
            instruction = await session.instruction()
            if not isinstance(instruction, Welcome):
                raise SystemExit(f"the director said {instruction} to an idle envoy")
            return instruction.heartbeat_s

        await session.report(HELLO)
        yield Stub(lambda: session.report(BEAT), listen)


@asynccontextmanager
async def _bare(address: str, credentials: Credentials) -> AsyncIterator[Stub]:
    name = Identity(credentials.identity.federation, Role.DIRECTOR, "director").server_name
    async with open_channel(address, name, credentials) as channel:
        stream = channel.stream_stream("/floor/Attend")()
        beat = envoy_report_to(BEAT).SerializeToString()

        async def listen() -> float:
            return float(await stream.read())

        await stream.write(envoy_report_to(HELLO).SerializeToString())
        yield Stub(lambda: stream.write(beat), listen)


async def _attend(kind: str, address: str, everybody: Sequence[Credentials], pipe: Connection) -> None:
    connect = {"envoy": _envoy, "bare": _bare}[kind]
    waiting = len(everybody)
    door = asyncio.Semaphore(AT_ONCE)

    async def live(credentials: Credentials) -> None:
        nonlocal waiting
        async with AsyncExitStack() as stack:
            async with door:
                stub = await stack.enter_async_context(connect(address, credentials))
                stub.period_s = await stub.listen()
            waiting -= 1
            if not waiting:
                pipe.send("connected")
            async with asyncio.TaskGroup() as both:
                both.create_task(stub.beat())
                both.create_task(stub.hear())

    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(pipe.fileno(), ended.set)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(live(credentials)) for credentials in everybody]
        await ended.wait()
        for task in tasks:
            task.cancel()


def stubs(kind: str, address: str, certs: Path, numbers: Sequence[int], pipe: Connection) -> None:
    """A process of stubs: says when its certificates are there, waits, says when all are connected, waits, ends."""
    everybody = issue_envoys(certs, numbers)
    pipe.send("ready")
    pipe.recv()
    with contextlib.suppress(EOFError):
        asyncio.run(_attend(kind, address, everybody, pipe))


# ---- the bare server ----------------------------------------------------------------------------------------------


class _Sink(grpc.GenericRpcHandler):  # type: ignore[misc] # grpc has no types
    def __init__(self, period_s: float) -> None:
        self._welcome = str(period_s).encode()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        async def take(_requests: object, context: grpc.aio.ServicerContext) -> None:
            await context.read()
            await context.write(self._welcome)
            while await context.read() is not grpc.aio.EOF:
                pass

        return grpc.stream_stream_rpc_method_handler(take) if details.method == "/floor/Attend" else None


def bare_server(certificates: Path, period_s: float, pipe: Connection) -> None:
    """A process with a server that only holds streams."""
    own = load_credentials(certificates)

    async def serve() -> None:
        server = grpc.aio.server(options=(*KEEPALIVE, ("grpc.http2.min_ping_interval_without_data_ms", 5_000)))
        server.add_generic_rpc_handlers((_Sink(period_s),))
        tls = grpc.ssl_server_credentials([(own.key, own.chain)], own.trust.root, require_client_auth=True)
        port = server.add_secure_port("localhost:0", tls)
        await server.start()
        pipe.send(f"localhost:{port}")
        await asyncio.to_thread(pipe.recv)
        await server.stop(None)

    asyncio.run(serve())


# ---- measuring ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Load:
    """How many stubs, in how many processes, watched for how long."""

    envoys: int
    processes: int
    window_s: float


@dataclass(slots=True)
class Found:
    """What a server held.

    Attributes:
        connect_s: Seconds until all stubs were connected.
        connect_cpu_s: CPU seconds of the server until then.
        core: Share of one core over the quiet window, for each quarter of it.
        grown: Memory of the server with all stubs, less that without any.
        memory: Memory with all stubs.
    """

    connect_s: float = 0.0
    connect_cpu_s: float = 0.0
    core: list[float] = field(default_factory=list)
    grown: Memory = Memory()  # noqa: RUF009 - it is frozen
    memory: Memory = Memory()  # noqa: RUF009 - it is frozen


def _wait(pipes: Sequence[Connection], word: str, timeout_s: float) -> None:
    end = time.monotonic() + timeout_s
    for pipe in pipes:
        if not pipe.poll(max(0.0, end - time.monotonic())):
            raise SystemExit(f"not all stubs were {word} within {timeout_s:g} s")
        try:
            pipe.recv()
        except EOFError:
            raise SystemExit(f"a process of stubs ended before it was {word}") from None


class Watched:
    """A server and its stubs.

    Args:
        server: Process number of the server.
        load: The stubs.
    """

    def __init__(self, server: int, load: Load) -> None:
        self._server = server
        self._load = load
        self._before = Memory()
        self._pipes: list[Connection[Any, Any]] = []
        self._processes: list[multiprocessing.process.BaseProcess] = []
        self.found = Found()

    def connect(self, kind: str, address: str, certs: Path) -> None:
        """Starts the stubs and connects them."""
        load, self._before, cpu = self._load, memory_of(self._server), cpu_s((self._server,))
        pairs = [SPAWN.Pipe() for _ in range(load.processes)]
        self._pipes = [pair[0] for pair in pairs]
        for number, (_, theirs) in enumerate(pairs):
            numbers = range(number, load.envoys, load.processes)
            self._processes.append(SPAWN.Process(target=stubs, args=(kind, address, certs, numbers, theirs)))
            self._processes[-1].start()
            theirs.close()
        _wait(self._pipes, "ready", CONNECT_TIMEOUT_S)
        start = time.monotonic()
        for pipe in self._pipes:
            pipe.send("go")
        _wait(self._pipes, "connected", CONNECT_TIMEOUT_S)
        self.found.connect_s = time.monotonic() - start
        self.found.connect_cpu_s = cpu_s((self._server,)) - cpu

    def look(self) -> None:
        """Looks at the server for a quarter of the quiet window."""
        before, start = cpu_s((self._server,)), time.monotonic()
        time.sleep(self._load.window_s / QUARTERS)
        self.found.core.append((cpu_s((self._server,)) - before) / (time.monotonic() - start))
        self.found.memory = memory_of(self._server)
        self.found.grown = self.found.memory.above(self._before)

    def end(self) -> None:
        """Ends the stubs."""
        for process in self._processes:
            process.kill()
            process.join(PATIENCE_S)


def watch(watched: Sequence[Watched]) -> None:
    """Looks at the servers in turn, after a while in which the stubs take to their period."""
    time.sleep(SETTLE_S)
    for _ in range(QUARTERS):
        for one in watched:
            one.look()


def settled_period_s(envoys: int) -> float:
    """The period that a Director asks so many envoys for."""
    period_s = HEARTBEAT_S
    while envoys / period_s > HEARTBEATS_PER_S:
        period_s *= 2
    return period_s


async def measure(load: Load) -> tuple[Found, Found]:
    """Gives what the Director holds, and what the bare server holds."""
    async with AsyncExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fx-bench-")))
        federation = LocalFederation(place / "federation", {}, (1,), (), heartbeat_s=HEARTBEAT_S)
        await stack.enter_async_context(federation)
        certs = federation.directory / "certs"
        period_s = settled_period_s(load.envoys)
        pipe, theirs = SPAWN.Pipe()
        server = SPAWN.Process(target=bare_server, args=(certs / "director" / "director", period_s, theirs))
        server.start()
        stack.callback(server.kill)
        address = str(await asyncio.to_thread(pipe.recv))
        ours = Watched(federation.children["director"].process.pid, load)
        bare = Watched(server.pid or 0, load)
        for watched, kind, where in ((ours, "envoy", federation.director), (bare, "bare", address)):
            stack.callback(watched.end)
            await asyncio.to_thread(watched.connect, kind, where, certs)
        await asyncio.to_thread(watch, (ours, bare))
    return ours.found, bare.found


def figures(load: Load, ours: Found, bare: Found) -> list[dict[str, object]]:
    """Gives the three figures: memory, CPU time, and how long it took until all were there."""
    case = f"{load.envoys} envoys"
    kilobytes, floor = (1000 * found.grown.anonymous / load.envoys for found in (ours, bare))
    window_s = load.window_s / QUARTERS
    idle = use_of(median(ours.core) * window_s, ours.memory)
    return [
        figure(
            "w5_idle_memory", case, "kB/envoy", [round(kilobytes, 1)], idle, **beside([kilobytes], [floor]),
            limit=LIMIT_KB,
        ),
        figure(
            "w5_idle_cpu", case, "share of a core", ours.core, idle, **beside(ours.core, bare.core),
            limit=LIMIT_CORE, heartbeat_s=settled_period_s(load.envoys), window_s=window_s,
        ),
        figure(
            "w5_connect", case, "s", [ours.connect_s], use_of(ours.connect_cpu_s, ours.memory),
            **beside([ours.connect_s], [bare.connect_s]),
        ),
    ]  # fmt: skip


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--envoys", type=int, default=2000)
    parser.add_argument("--processes", type=int, default=4, help="how many processes share the stubs")
    parser.add_argument("--window", type=float, default=30.0, help="seconds to look at")
    parser.add_argument("--quick", action="store_true", help="200 envoys and 10 seconds")
    arguments = parser.parse_args()
    load = Load(arguments.envoys, arguments.processes, arguments.window)
    if arguments.quick:
        load = Load(200, 2, 10.0)
    ours, floor = asyncio.run(measure(load))
    for one in figures(load, ours, floor):
        emit(one)
        say(f"{one['bench']}, {one['case']}: {one['value']} {one['unit']}; bare streams {one['floor']}")


if __name__ == "__main__":
    main()
