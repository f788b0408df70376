"""The fault proxy over real loopback sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from openfl_like.testing.faults.proxy import BLACK_HOLE, PASS, REFUSE, Direction, FaultProxy, Faults

pytestmark = pytest.mark.process
LINE = b"hello, hello, hello\n"


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(4096):
            writer.write(data)
            await writer.drain()
        writer.close()
    except OSError:
        writer.transport.abort()


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def say(self, data: bytes) -> None:
        self.writer.write(data)

    async def hear(self, count: int) -> bytes:
        return await asyncio.wait_for(self.reader.readexactly(count), 10)

    async def silence(self, seconds: float = 0.2) -> bool:
        """Whether nothing comes for a while."""
        try:
            await asyncio.wait_for(self.reader.read(1), seconds)
        except TimeoutError:
            return True
        return False

    async def end(self) -> bytes:
        return await asyncio.wait_for(self.reader.read(), 10)


@asynccontextmanager
async def echoing(seed: int = 0) -> AsyncIterator[FaultProxy]:
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        async with FaultProxy(f"127.0.0.1:{port}", seed=seed) as proxy:
            yield proxy
    finally:
        server.close()


@asynccontextmanager
async def client_of(proxy: FaultProxy) -> AsyncIterator[Client]:
    host, _, port = proxy.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()


async def seconds(client: Client, data: bytes = LINE) -> float:
    """How long an echo takes."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    client.say(data)
    assert await client.hear(len(data)) == data
    return loop.time() - begin


async def test_bytes_pass_and_are_counted_by_direction() -> None:
    async with echoing() as proxy, client_of(proxy) as one, client_of(proxy) as two:
        await seconds(one)
        await seconds(two, LINE * 5000)
        assert proxy.traffic.connections == proxy.connections == 2
        assert proxy.traffic.passed == {Direction.UP: 5001 * len(LINE), Direction.DOWN: 5001 * len(LINE)}
        one.writer.write_eof()
        assert await one.end() == b""  # the end of one side comes through, and the answer to it


async def test_new_connections_can_be_refused_and_open_ones_stay() -> None:
    async with echoing() as proxy, client_of(proxy) as client:
        address = proxy.address
        await seconds(client)
        await proxy.apply(REFUSE)
        with pytest.raises(ConnectionRefusedError):
            async with client_of(proxy):
                pass
        await seconds(client)
        await proxy.apply(PASS)
        assert proxy.address == address
        async with client_of(proxy) as other:
            await seconds(other)


async def test_a_cut_is_an_end_and_a_reset_is_a_reset() -> None:
    async with echoing() as proxy:
        async with client_of(proxy) as client:
            await seconds(client)
            assert proxy.cut() == 1
            assert await client.end() == b""
        async with client_of(proxy) as client:
            await seconds(client)
            assert proxy.reset() == 1
            with pytest.raises(ConnectionResetError):
                await client.end()


async def test_a_black_hole_accepts_and_swallows_until_it_is_healed_by_a_reset() -> None:
    async with echoing() as proxy, client_of(proxy) as old:
        await seconds(old)
        await proxy.apply(BLACK_HOLE)
        async with client_of(proxy) as new:
            for client in (old, new):
                client.say(LINE)
                assert await client.silence()
            assert proxy.traffic.swallowed == {Direction.UP: 2 * len(LINE)}
            await proxy.apply(PASS)
            for client in (old, new):
                with pytest.raises(ConnectionResetError):
                    await client.end()


@pytest.mark.parametrize(("way", "reaches"), [(Direction.UP, 1), (Direction.DOWN, 2)])
async def test_one_direction_can_be_dropped_alone(way: Direction, reaches: int) -> None:
    async with echoing() as proxy, client_of(proxy) as client:
        await seconds(client)
        await proxy.apply(Faults(drop=frozenset({way})))
        client.say(LINE)
        assert await client.silence()
        assert proxy.traffic.passed[Direction.UP] == reaches * len(LINE)
        assert proxy.traffic.swallowed == {way: len(LINE)}


async def test_latency_delays_and_does_not_slow_down() -> None:
    async with echoing() as proxy, client_of(proxy) as client:
        await proxy.apply(Faults(latency_s=0.15, jitter_s=0.02))
        assert await seconds(client) > 0.3
        assert 0.3 < await seconds(client, LINE * 20_000) < 3  # many pieces, all late by the same time


async def test_bandwidth_is_capped() -> None:
    async with echoing() as proxy, client_of(proxy) as client:
        await proxy.apply(Faults(bytes_per_s=20_000))
        assert await seconds(client, bytes(8_000)) > 0.25


async def test_tiny_pieces_arrive_in_order() -> None:
    async with echoing() as proxy, client_of(proxy) as client:
        await proxy.apply(Faults(slice_bytes=3))
        await seconds(client, bytes(range(256)) * 8)


async def test_a_stall_after_some_bytes_ends_with_the_fault_and_loses_nothing() -> None:
    async with echoing() as proxy, client_of(proxy) as client:
        await proxy.apply(Faults(stall_after=7))
        client.say(LINE)
        assert await client.hear(7) == LINE[:7]
        assert await client.silence()
        await proxy.apply(PASS)
        assert await client.hear(len(LINE) - 7) == LINE[7:]


async def test_a_connection_is_closed_after_some_bytes() -> None:
    async with echoing() as proxy, client_of(proxy) as client:
        await proxy.apply(Faults(close_after=7))
        client.say(LINE)
        heard = await client.end()
        assert heard == LINE[: len(heard)]
        assert proxy.traffic.passed[Direction.UP] == 7
        assert proxy.connections == 0


async def test_a_target_that_is_not_there_ends_the_connection() -> None:
    async with echoing() as proxy:
        proxy.target = "127.0.0.1:1"
        async with client_of(proxy) as client:
            assert await client.end() == b""
