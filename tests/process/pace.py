"""How slow the machine is for these tests, and how late they hear: both can be made worse, to find tests that race."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TypeVar

from openfl_like.processes.child import FURTHER_NAMES

SLOWNESS = float(os.environ.get("OPENFL_LIKE_TEST_SLOWNESS", "1"))
"""How many times slower than usual every process of a federation is; all time limits grow with it."""
LATENESS_S = float(os.environ.get("OPENFL_LIKE_TEST_LATENESS_S", "0"))
"""How much later than usual a test hears of what happened; against it, rounds take no time."""
SLOWED = Path(__file__).with_name("slowed")
Item = TypeVar("Item")


def limit(seconds: float) -> float:
    """Gives a time limit as this machine needs it."""
    return seconds * SLOWNESS


def slow_down() -> None:
    """Slows every process down that is started from now on; what is passed on for shifted clocks carries it."""
    if SLOWNESS > 1:
        os.environ[FURTHER_NAMES] = "PYTHONPATH"
        os.environ["PYTHONPATH"] = str(SLOWED)


async def late(items: AsyncIterator[Item]) -> AsyncIterator[Item]:
    """Hands on what comes, as late as it is to be heard."""
    clock = asyncio.get_running_loop().time
    heard: asyncio.Queue[tuple[float, Item | None]] = asyncio.Queue()

    async def hear() -> None:
        try:
            async for item in items:
                heard.put_nowait((clock() + LATENESS_S, item))
        finally:
            heard.put_nowait((clock() + LATENESS_S, None))

    hearing = asyncio.create_task(hear())
    try:
        while True:
            due, item = await heard.get()
            if due > clock():
                await asyncio.sleep(due - clock())
            if item is None:
                break
            yield item
        await hearing
    finally:
        hearing.cancel()
