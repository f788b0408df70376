"""What is done while a Director that was there before is away: the same is asked again."""

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import TypeVar

from openfl_like.errors import UnreachableError
from openfl_like.federation.announcements import Announced
from openfl_like.federation.parties import ExperimentSummary, LogLines, LogQuery
from openfl_like.wire.channel import backoff

log = logging.getLogger(__name__)
Result = TypeVar("Result")
Watched = ExperimentSummary | Announced
OUTAGE_S = 60.0
WATCH_S = 48 * 3600.0
"""How long an experiment is watched that cannot be seen: as long as its certificates last by default."""


async def retry(
    attempt: Callable[[], Awaitable[Result]], reached: Callable[[], bool], outage_s: float = OUTAGE_S
) -> Result:
    """Repeat a request whose answer was lost until there is one; what is refused is not asked again.

    Args:
        attempt: Makes the request, always with the same id; raises UnreachableError when the connection breaks.
        reached: Whether there ever was a connection. Without one nothing was asked, and the address may be wrong.
        outage_s: Seconds after which it is given up.
    """
    clock, lost_at = asyncio.get_running_loop().time, math.inf
    async for _ in backoff():
        try:
            return await attempt()
        except UnreachableError as error:
            lost_at = min(lost_at, clock())
            if not reached() or clock() - lost_at > outage_s:
                raise
            log.warning("the answer was lost, the same request is repeated: %s", error)
    raise AssertionError("backoff never ends")


async def watch(
    watch: Callable[[str, int], AsyncGenerator[Watched]],
    experiment: str,
    after: int = 0,
    outage_s: float = WATCH_S,
) -> AsyncGenerator[Watched]:
    """Watch an experiment to its end, across restarts of the Director; the first attempt must succeed.

    Args:
        watch: Gives what there is after an event; raises UnreachableError when the Director goes.
        experiment: Which one.
        after: The last event that is known.
        outage_s: Seconds that the Director may be away.
    """
    outage = ReconnectBudget(outage_s)
    async for _ in backoff():
        try:
            async with aclosing(watch(experiment, after)) as items:
                async for item in items:
                    outage.over()
                    after = item.sequence or after if isinstance(item, Announced) else after
                    last = item
                    yield item
        except UnreachableError as error:
            _bear(outage, error, f"fx experiment watch {experiment} goes on from here")
        else:
            if isinstance(last, ExperimentSummary) and last.status.ended:
                return


def _bear(outage: "ReconnectBudget", error: UnreachableError, again: str) -> None:
    """Say once that a Director is away, and raise when that is too long."""
    if outage.begins():
        log.warning(
            "%s; the experiment goes on, and is watched again when it can be (Ctrl-C ends this; %s)", error, again
        )
    if outage.bearable():
        return
    if outage.never_there:
        raise error
    raise UnreachableError(error.message, place=error.place, cure=again) from error


async def follow_logs(
    read: Callable[[str, LogQuery], AsyncGenerator[LogLines]], experiment: str, query: LogQuery
) -> AsyncGenerator[LogLines]:
    """Read the logs of an experiment; if they are followed, across restarts of the Director, from where it was.

    Args:
        read: Gives the lines after the positions of a query; raises UnreachableError when the Director goes.
        experiment: Which one.
        query: What is wanted.
    """
    outage, known = ReconnectBudget(OUTAGE_S), dict(query.after)
    async for _ in backoff():
        try:
            async with aclosing(read(experiment, replace(query, after=dict(known)))) as found:
                async for lines in found:
                    outage.over()
                    if lines.complete:
                        return
                    known |= {lines.source: lines.position} if lines.position else {}
                    yield lines
        except UnreachableError:
            if not query.follow or not outage.bearable():
                raise
        if not query.follow:
            return


class ReconnectBudget:
    """How long somebody is away who was there before.

    Args:
        most_s: Seconds that are borne.
    """

    def __init__(self, most_s: float) -> None:
        self._most_s = most_s
        self._since: float | None = -math.inf

    def over(self) -> None:
        """Note that it is there."""
        self._since = None

    @property
    def never_there(self) -> bool:
        """Whether it has not been there yet."""
        return self._since == -math.inf

    def begins(self) -> bool:
        """Whether it was there until now."""
        return self._since is None

    def bearable(self) -> bool:
        """Note that it is away; tell whether that is not too long, or for ever."""
        now = asyncio.get_running_loop().time()
        self._since = now if self._since is None else self._since
        return now - self._since <= self._most_s
