"""A TCP proxy that breaks what passes through it: one per link, changed while it runs, the same for the same seed."""

import asyncio
import contextlib
import random
import socket
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

from openfl_like.tasks import TaskOwner, background

READ_BYTES = 1 << 16
MOST_WAITING = 64  # pieces that wait for their time in one direction; then the sender is held back


class Direction(StrEnum):
    """Which way bytes go: ``UP`` from the client to the server."""

    UP = "up"
    DOWN = "down"


BOTH = frozenset(Direction)


@dataclass(frozen=True, slots=True)
class Faults:
    """What the proxy does to its connections; the default is nothing.

    Attributes:
        refuse: New connections are refused.
        drop: Directions whose bytes are swallowed; both: a black hole, half-open for either side. A connection that
            lost bytes is reset when the fault is taken away, because what follows would make no sense.
        latency_s: Seconds that every byte is late.
        jitter_s: Up to so many seconds more, drawn anew for every piece; the order stays.
        bytes_per_s: Most bytes a second in each direction of a connection.
        slice_bytes: Largest piece that is written at once.
        stall_after: Bytes in one direction of a connection after which nothing moves until the faults change.
        close_after: Bytes in one direction of a connection after which it is closed.
    """

    refuse: bool = False
    drop: frozenset[Direction] = frozenset()
    latency_s: float = 0.0
    jitter_s: float = 0.0
    bytes_per_s: float | None = None
    slice_bytes: int | None = None
    stall_after: int | None = None
    close_after: int | None = None


PASS = Faults()
REFUSE = Faults(refuse=True)
BLACK_HOLE = Faults(drop=BOTH)


@dataclass(slots=True)
class Traffic:
    """What has passed so far.

    Attributes:
        connections: Connections that were accepted.
        passed: Bytes that were handed on, by direction.
        swallowed: Bytes that were not.
    """

    connections: int = 0
    passed: Counter[Direction] = field(default_factory=Counter)
    swallowed: Counter[Direction] = field(default_factory=Counter)


class _Closing(Exception):  # noqa: N818 (a way out of the pumps, not a mistake)
    """The connection has carried as many bytes as it may."""


class _Link:
    """One connection and its other half."""

    def __init__(self, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self._writers = near, far
        self.spoiled = False

    def close(self) -> None:
        """End both halves in good order."""
        for writer in self._writers:
            writer.close()

    def reset(self) -> None:
        """End both halves with RST."""
        for writer in self._writers:
            sock = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):  # it may be closed already
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.abort()

    def abort(self) -> None:
        """End both halves at once."""
        for writer in self._writers:
            writer.transport.abort()

    async def closed(self) -> None:
        """Wait until both halves have sent what they had."""
        for writer in self._writers:
            with contextlib.suppress(OSError):
                await writer.wait_closed()


class FaultProxy:
    """Listens on a loopback port and hands on to a target; an async context manager.

    Args:
        target: ``host:port``.
        seed: Decides the jitter.
        listen: ``host:port``; port 0 takes any, which `address` then tells.
    """

    def __init__(self, target: str, *, seed: int = 0, listen: str = "127.0.0.1:0") -> None:
        self.target = target
        self.address = listen
        self.traffic = Traffic()
        self.seed = seed
        self._faults = PASS
        self._changed = asyncio.Event()
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        await self._listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._deafen()
        self.reset()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def faults(self) -> Faults:
        """What is done to connections now."""
        return self._faults

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._links)

    async def apply(self, faults: Faults) -> None:
        """Change what is done, to open connections too."""
        self._faults = faults
        for link in self._links:
            if link.spoiled and not faults.drop:
                link.reset()
        self._changed.set()
        self._changed = asyncio.Event()
        if faults.refuse:
            await self._deafen()
        elif self._server is None:
            await self._listen()

    def cut(self) -> int:
        """Close every open connection; return how many."""
        return self._end(_Link.close)

    def reset(self) -> int:
        """Reset every open connection; return how many."""
        return self._end(_Link.reset)

    def _end(self, how: Callable[[_Link], None]) -> int:
        for link in self._links:
            how(link)
        return len(self._links)

    async def _listen(self) -> None:
        host, _, port = self.address.rpartition(":")
        self._server = await asyncio.start_server(self._accept, host, int(port))
        self.address = f"{host}:{self._server.sockets[0].getsockname()[1]}"

    async def _deafen(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _accept(self, near: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 (a coroutine of ours runs in a task)
        self._tasks.add(task)
        try:
            await self._serve(near, answer)
        except asyncio.CancelledError:  # the proxy ends; a streams callback that was cancelled would be logged
            answer.transport.abort()
        finally:
            self._tasks.discard(task)

    async def _serve(self, near: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        self.traffic.connections += 1
        number = self.traffic.connections
        host, _, port = self.target.rpartition(":")
        try:
            far, onward = await asyncio.open_connection(host, int(port))
        except OSError:
            answer.close()
            return
        link = _Link(answer, onward)
        self._links.add(link)
        ways = ((Direction.UP, near, onward), (Direction.DOWN, far, answer))
        pumps = TaskOwner()
        passing = [pumps.start(_Pump(self, link, way, number).run(reader, writer)) for way, reader, writer in ways]
        try:
            with contextlib.suppress(_Closing, OSError):
                await asyncio.gather(*passing)
            link.close()
            self._links.discard(link)
            await link.closed()
        finally:
            await pumps.close()
            link.abort()
            self._links.discard(link)

    async def change(self) -> None:
        """Wait until the faults are others than now."""
        await self._changed.wait()


class _Pump:
    """One direction of one connection."""

    def __init__(self, proxy: FaultProxy, link: _Link, way: Direction, number: int) -> None:
        self._proxy = proxy
        self._link = link
        self._way = way
        self._draw = random.Random(f"{proxy.seed}:{number}:{way}")  # noqa: S311 (jitter protects nothing)
        self._passed = 0
        self._waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(MOST_WAITING)

    async def run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hand on until the sender has closed its side."""
        async with background(self._read(reader)):
            await self._write(writer)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        loop, due = asyncio.get_running_loop(), 0.0
        data = b"first"
        while data:
            try:
                data = await reader.read(READ_BYTES)
            except OSError:
                data = b""
            faults = self._proxy.faults
            late = faults.latency_s + self._draw.uniform(0, faults.jitter_s)
            due = max(due, loop.time() + late)
            await self._waiting.put((due, data))

    async def _write(self, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, data = await self._waiting.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            if not data:
                with contextlib.suppress(OSError):
                    writer.write_eof()
                return
            await self._hand_on(data, writer)

    async def _hand_on(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        while data:
            faults, traffic = self._proxy.faults, self._proxy.traffic
            if self._way in faults.drop:
                traffic.swallowed[self._way] += len(data)
                self._link.spoiled = True
                return
            if faults.close_after is not None and self._passed >= faults.close_after:
                raise _Closing
            if faults.stall_after is not None and self._passed >= faults.stall_after:
                await self._proxy.change()
                continue
            piece = data[: self._size(faults, len(data))]
            writer.write(piece)
            await writer.drain()
            data = data[len(piece) :]
            self._passed += len(piece)
            traffic.passed[self._way] += len(piece)
            if faults.bytes_per_s is not None:
                await asyncio.sleep(len(piece) / faults.bytes_per_s)
            if faults.close_after is not None and self._passed >= faults.close_after:
                raise _Closing

    def _size(self, faults: Faults, most: int) -> int:
        limits = [faults.slice_bytes, faults.stall_after, faults.close_after]
        left = [limit - self._passed for limit in limits[1:] if limit is not None]
        bite = None if faults.bytes_per_s is None else max(1, int(faults.bytes_per_s / 10))
        return max(1, min([most, *left, *(size for size in (limits[0], bite) if size is not None)]))
