"""Does to a running federation what a schedule says, and counts what has landed."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field

import psutil

from openfl_like.tasks import TaskOwner
from openfl_like.testing.faults.faulty_federation import FaultyFederation
from openfl_like.testing.faults.proxy import BLACK_HOLE, PASS, REFUSE, Direction, FaultProxy, Faults
from openfl_like.testing.faults.schedule import LINES, Fault, FaultKind

TARGET_S = 10.0
LINE_S = 3.0


@dataclass(slots=True)
class Tally:
    """What was done so far.

    Attributes:
        landed: Kind -> how many.
        missed: Faults for which nobody was there.
    """

    landed: Counter[str] = field(default_factory=Counter)
    missed: int = 0


@dataclass(slots=True)
class FaultInjector:
    """Inflicts faults.

    Args:
        arena: On whom.
        tell: Gets a line for each.
    """

    arena: FaultyFederation
    tell: Callable[[str], None]
    tally: Tally = field(default_factory=Tally)
    _frozen: set[int] = field(default_factory=set)
    _passing: TaskOwner = field(default_factory=TaskOwner)

    async def run(self, faults: Iterator[Fault], wanted: int) -> None:
        """Work through a schedule until enough faults have landed, or as many have not; then everything is healed."""
        try:
            for fault in faults:
                if self.tally.landed.total() >= wanted or self.tally.missed > wanted:
                    break
                await asyncio.sleep(fault.pause_s)
                landed = await self._inflict(fault)
                self.tally.landed[fault.kind.value] += landed
                self.tally.missed += not landed
                words = f"{fault.kind} {fault.target}" + ("" if landed else ": nobody was there")
                self.tell(f"[{self.tally.landed.total()}/{wanted}] {time.strftime('%X')} {words}")
        finally:
            await self._passing.close()
            await self.arena.heal()

    async def _inflict(self, fault: Fault) -> bool:
        if fault.kind in LINES:
            return await self._break_line(fault)
        if fault.kind is FaultKind.FAILPOINT:
            return await self._arm(fault)
        victim = await self._victim(fault)
        if victim is None:
            return False
        try:
            if fault.kind is FaultKind.KILL:
                victim.kill()
            else:
                victim.suspend()
                self._frozen.add(victim.pid)
                self._later(fault.seconds, lambda: self._thaw(victim))
        except psutil.NoSuchProcess:
            return False
        return True

    async def _victim(self, fault: Fault) -> psutil.Process | None:
        """Wait for a process of the role that is not frozen."""
        found: list[psutil.Process] = []

        def there() -> bool:
            found[:] = [process for process in self.arena.find(fault.target) if process.pid not in self._frozen]
            return bool(found)

        return found[int(fault.pick * len(found))] if await _until(there, TARGET_S, 0.05) else None

    async def _thaw(self, victim: psutil.Process) -> None:
        self._frozen.discard(victim.pid)
        with contextlib.suppress(psutil.Error):
            victim.resume()

    async def _arm(self, fault: Fault) -> bool:
        """Arm a failpoint and wait until a process has run into it."""
        clause = f"{fault.target}=kill#f{fault.number}"
        self.arena.switch.write_text(clause, encoding="utf-8")
        try:
            return await _until(lambda: clause in self.arena.landings(), TARGET_S, 0.1)
        finally:
            self.arena.switch.unlink(missing_ok=True)

    async def _break_line(self, fault: Fault) -> bool:
        proxies = self.arena.lines[fault.target]
        if not await _until(lambda: any(proxy.connections for proxy in proxies), LINE_S, 0.01):
            return False
        if fault.kind is FaultKind.CUT:
            return sum(proxy.cut() for proxy in proxies) > 0
        if fault.kind is FaultKind.RESET:
            return sum(proxy.reset() for proxy in proxies) > 0
        way = Direction.UP if fault.pick < 0.5 else Direction.DOWN
        faults = {
            FaultKind.REFUSE: REFUSE,
            FaultKind.BLACK_HOLE: BLACK_HOLE,
            FaultKind.ONE_WAY: Faults(drop=frozenset({way})),
            FaultKind.LATE: Faults(latency_s=0.2 + fault.pick, jitter_s=0.3, slice_bytes=700),
        }
        await _apply(proxies, faults[fault.kind])
        if fault.kind is FaultKind.REFUSE:
            for proxy in proxies:
                proxy.cut()
        self._later(fault.seconds, lambda: _apply(proxies, PASS))
        return True

    def _later(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        async def wait() -> None:
            await asyncio.sleep(seconds)
            await work()

        self._passing.start(wait())


async def _apply(proxies: Sequence[FaultProxy], faults: Faults) -> None:
    for proxy in proxies:
        await proxy.apply(faults)


async def _until(true: Callable[[], bool], timeout_s: float, every_s: float) -> bool:
    """Wait for what gives no event: other processes."""
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout_s
    while not true():
        if loop.time() > end:
            return False
        await asyncio.sleep(every_s)
    return True
