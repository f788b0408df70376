"""Fast transfers take turns, slow ones keep nobody waiting."""

import asyncio
from contextlib import AsyncExitStack

from openfl_like.testing.clock import FakeClock
from openfl_like.wire.transfer.limit import FAST_BYTES_PER_S, LOOK_S, TransferLimiter, TransferSlot


class Road:
    """Two lanes on a clock of the test's."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.limiter = TransferLimiter(2, self.clock.call_later)
        self.stack = AsyncExitStack()

    async def enter(self) -> TransferSlot:
        return await self.stack.enter_async_context(self.limiter.lane())

    async def fits(self) -> bool:
        """Whether another transfer may begin."""
        arriving = asyncio.create_task(self._pass())
        for _ in range(5):
            await asyncio.sleep(0)
        done = arriving.done()
        arriving.cancel()
        return done

    async def _pass(self) -> None:
        async with self.limiter.lane():
            pass


async def test_a_third_transfer_waits_until_one_ends() -> None:
    transport = Road()
    await transport.enter()
    async with transport.limiter.lane():
        assert not await transport.fits()
    assert await transport.fits()


async def test_fast_transfers_keep_their_lanes() -> None:
    transport = Road()
    limiter = [await transport.enter(), await transport.enter()]
    for _ in range(3):
        for lane in limiter:
            lane.moved(round(FAST_BYTES_PER_S * LOOK_S))
        transport.clock.advance(LOOK_S)
        assert not await transport.fits()


async def test_a_transfer_that_becomes_slow_leaves_its_lane_and_frees_it_once() -> None:
    transport = Road()
    limiter = [await transport.enter(), await transport.enter()]
    for lane in limiter:
        lane.moved(round(FAST_BYTES_PER_S * LOOK_S))
    transport.clock.advance(LOOK_S)
    limiter[0].moved(round(FAST_BYTES_PER_S * LOOK_S))
    limiter[1].moved(1000)
    transport.clock.advance(LOOK_S)
    assert await transport.fits()
    await transport.enter()
    await transport.stack.aclose()
    async with transport.limiter.lane(), transport.limiter.lane():
        assert not await transport.fits(), "a lane that was left early is not freed a second time at the end"


async def test_a_transfer_that_stands_still_leaves_its_lane() -> None:
    transport = Road()
    await transport.enter()
    await transport.enter()
    transport.clock.advance(LOOK_S)
    assert await transport.fits()
