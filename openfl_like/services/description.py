"""What a site's shard is, found out where the site's code can do no harm: in a process of its own."""

import asyncio
import logging
from pathlib import Path

from openfl_like.federation.parties import ShardFacts
from openfl_like.services.restarts import Restarts
from openfl_like.services.worker_process import WorkerEndedError, WorkerProcess, WorkerSettings

log = logging.getLogger(__name__)


async def describe_shard(shard: Path, directory: Path) -> ShardFacts:
    """Loads the shard in a process of its own and gives its facts; in new ones if that is killed.

    Args:
        shard: The site's shard.yaml.
        directory: Where the process works.

    Raises:
        ShardError: If the shard cannot be used.
        WorkerEndedError: If the process dies again and again.
    """
    restarts = Restarts()
    while True:
        try:
            process = await WorkerProcess.start(WorkerSettings(shard=shard, directory=directory), log.info)
            break
        except WorkerEndedError as error:
            if restarts.exhausted:
                raise
            log.warning("the shard could not be loaded: %s; trying again", error)
        await asyncio.sleep(restarts.next_pause_s())
    try:
        assert process.facts is not None  # noqa: S101 (a started worker has them)
        return process.facts
    finally:
        await process.stop()
