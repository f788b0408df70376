"""Data that changes while the Envoy runs is described anew: nobody goes by what the shard was like at the start."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

from openfl_like.data.shard_file import ShardConfig, load_shard_config
from openfl_like.errors import FederationError, SettingsError
from openfl_like.federation.parties import ShardFacts
from openfl_like.processes.sandbox.reach import site_paths
from openfl_like.services.envoy.shards import describe_shards, load_shards

log = logging.getLogger(__name__)
PERIOD_S = 10.0
MOST_FILES = 10_000
"""So many files of one shard are looked at; what is beyond them may change unseen."""

Signature = frozenset[tuple[str, int, int]]
"""Path, size and time of the last change of each file that belongs to a shard."""


def signature(shards: Iterable[Path]) -> Signature:
    """Look at each shard.yaml and at whatever ``params`` and ``reads`` in it name, and its code; read none of it."""
    return frozenset(chain.from_iterable(islice(_facts(_paths(shard)), MOST_FILES) for shard in shards))


def _paths(shard: Path) -> tuple[Path, ...]:
    try:
        return site_paths(shard, load_shard_config(shard))
    except SettingsError:
        return (shard,)


def _facts(paths: tuple[Path, ...]) -> Iterator[tuple[str, int, int]]:
    for path in paths:
        for found in (path, *(sorted(path.rglob("*")) if path.is_dir() else ())):
            try:
                status = found.stat()
            except OSError:  # it has gone, or is a link to nothing
                continue
            if found.is_file() and found.suffix != ".pyc":
                yield str(found), status.st_size, status.st_mtime_ns


@dataclass(slots=True)
class ShardWatch:
    """Has the shards of a site described again when their files have changed, and have been left alone since.

    Args:
        shards: The site's shard.yaml files.
        facts: As they were described last.
        directory: Where the process works that loads one.
        changed: Told of the facts when they are others.
        period_s: Seconds between two looks.
        describe: Describes the shards.
    """

    shards: tuple[Path, ...]
    facts: tuple[ShardFacts, ...]
    directory: Path
    changed: Callable[[Sequence[ShardFacts]], None]
    period_s: float = PERIOD_S
    describe: Callable[[Mapping[Path, ShardConfig], Path], Awaitable[tuple[ShardFacts, ...]]] = describe_shards
    _described: Signature | None = None
    _seen: Signature = field(default_factory=frozenset)

    async def keep(self) -> None:
        """Look again and again until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self.period_s)

    async def look(self) -> None:
        """Look now; the first look is how they were described."""
        now = await asyncio.to_thread(signature, self.shards)
        settled, self._seen = now == self._seen, now
        if self._described is None:
            self._described = now
        elif settled and now != self._described:  # not while somebody writes
            self._described = now
            await self._describe()

    async def _describe(self) -> None:
        log.info("files of the site's data have changed; it is described anew")
        try:
            facts = await self.describe(load_shards(self.shards), self.directory)
        except (FederationError, OSError) as error:
            log.warning("the data has changed and cannot be used: %s; the director knows it as it was", error)
            return
        for known, found in zip(self.facts, facts, strict=True):
            if _interface(known) != _interface(found):
                log.warning(
                    "the data has the shapes and interface %s now, not %s; the director knows it as it was "
                    "(restart the envoy if that is meant)",
                    _interface(found), _interface(known),
                )  # fmt: skip
                return
        if facts != self.facts:
            self.facts = facts
            self.changed(facts)


def _interface(facts: ShardFacts) -> tuple[object, ...]:
    return facts.sample_shape, facts.target_shape, facts.interface
