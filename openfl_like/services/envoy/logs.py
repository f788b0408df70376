"""What of its log lines a site lets out: what its shard.yaml allows, not too fast, and not more than can wait."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from openfl_like.data.shard_file import load_shard_config
from openfl_like.federation.parties import LogLines
from openfl_like.services.logs.rate_limit import SENT, RateLimited, TokenBucket, Withheld
from openfl_like.services.logs.sender import LogRoute
from openfl_like.services.logs.writers import ENVOY

MOST_WAITING = 1000
LOST = "(the line to the director was lost here, and with it what was under way)"


class SiteLogs:
    """Makes the routes by which log lines leave a site.

    Args:
        site: Its name.
        shard: Its shard.yaml.
        outbox: Takes reports for the Director.
        most_waiting: So many reports may wait there; while there are more, log lines are dropped.
    """

    def __init__(self, site: str, shard: Path, outbox: "asyncio.Queue[Any]", most_waiting: int = MOST_WAITING) -> None:
        self._site, self._shard, self._outbox, self._most_waiting = site, shard, outbox, most_waiting
        self._bucket = TokenBucket(SENT)
        self._dropped: dict[str, int] = {}

    async def route(self, experiment: str, shard: Path | None = None) -> LogRoute:
        """Return the way for the lines of an experiment; raises SettingsError if shard.yaml has mistakes.

        Args:
            experiment: Which one.
            shard: The shard.yaml of the data that it works on; None: the site's only one.
        """
        shared = (await asyncio.to_thread(load_shard_config, shard or self._shard)).logs.share
        outlet = RateLimited(self._bucket) if shared else Withheld(self._site)
        return LogRoute(experiment, self._site, self._send, outlet, shared=shared)

    def lost(self, routes: Iterable[LogRoute]) -> None:
        """Tell those who read our logs that lines may be missing: there was another session with the Director.

        That a site keeps its logs is told again, for that may have been lost as well.
        """
        for route in routes:
            text = LOST if route.shared else Withheld(self._site).word
            self._send(LogLines(route.experiment, route.source, (text,), ENVOY))

    def _send(self, lines: LogLines) -> None:
        dropped = self._dropped.pop(lines.experiment, 0)
        if self._outbox.qsize() >= self._most_waiting:
            self._dropped[lines.experiment] = dropped + len(lines.lines)
            return
        note = (f"({dropped} lines are missing here: the director was away)",) if dropped else ()
        self._outbox.put_nowait(replace(lines, lines=(*note, *lines.lines)))
