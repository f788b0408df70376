"""Fast transfers take turns, slow ones keep nobody waiting."""

import asyncio
from contextlib import AsyncExitStack

from openfl_like.testing.clock import FakeClock
from openfl_like.wire.transfer.limit import FAST_BYTES_PER_S, LOOK_S, Lane, Lanes


class Road:
    """Two lanes on a clock of the test's."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.lanes = Lanes(2, self.clock.call_later)
        self.stack = AsyncExitStack()

    async def enter(self) -> Lane:
        return await self.stack.enter_async_context(self.lanes.lane())

    async def fits(self) -> bool:
        """Whether another transfer may begin."""
        arriving = asyncio.create_task(self._pass())
        for _ in range(5):
            await asyncio.sleep(0)
        done = arriving.done()
        arriving.cancel()
        return done

    async def _pass(self) -> None:
        async with self.lanes.lane():
            pass


async def test_a_third_transfer_waits_until_one_ends() -> None:
    road = Road()
    await road.enter()
    async with road.lanes.lane():
        assert not await road.fits()
    assert await road.fits()


async def test_fast_transfers_keep_their_lanes() -> None:
    road = Road()
    lanes = [await road.enter(), await road.enter()]
    for _ in range(3):
        for lane in lanes:
            lane.moved(round(FAST_BYTES_PER_S * LOOK_S))
        road.clock.advance(LOOK_S)
        assert not await road.fits()


async def test_a_transfer_that_becomes_slow_leaves_its_lane_and_frees_it_once() -> None:
    road = Road()
    lanes = [await road.enter(), await road.enter()]
    for lane in lanes:
        lane.moved(round(FAST_BYTES_PER_S * LOOK_S))
    road.clock.advance(LOOK_S)
    lanes[0].moved(round(FAST_BYTES_PER_S * LOOK_S))
    lanes[1].moved(1000)
    road.clock.advance(LOOK_S)
    assert await road.fits()
    await road.enter()
    await road.stack.aclose()
    async with road.lanes.lane(), road.lanes.lane():
        assert not await road.fits(), "a lane that was left early is not freed a second time at the end"


async def test_a_transfer_that_stands_still_leaves_its_lane() -> None:
    road = Road()
    await road.enter()
    await road.enter()
    road.clock.advance(LOOK_S)
    assert await road.fits()
