"""A site's data: shard.yaml, the shard that it names, and whether the federation wants data of that kind."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from openfl_like.data.shard_file import ShardConfig, load_shard_config
from openfl_like.doctor.checks import Check, Deferred
from openfl_like.doctor.finding import Finding, failure, fine, refusal
from openfl_like.errors import ShardError, ShardMismatchError, TaskError
from openfl_like.federation.participation.admission import check_interface
from openfl_like.federation.parties import Interface, ShardFacts
from openfl_like.processes.worker_client import WorkerSettings, shard_facts
from openfl_like.services.daemon.thread import in_thread

SHOWN = 60
"""Characters of a description."""


@dataclass(slots=True)
class Site:
    """The checks of a site's data.

    Args:
        path: Its shard.yaml.
        name: The site's name.
        limit_s: How long loading may take.
        interfaces: Gives the data interfaces of the federation, and who says so.
    """

    path: Path
    name: str
    limit_s: float
    interfaces: Callable[[], Awaitable[tuple[Sequence[Interface], str]]]
    config: Deferred[ShardConfig] = field(init=False)
    facts: Deferred[ShardFacts] = field(init=False)

    def __post_init__(self) -> None:
        self.config = Deferred("shard.yaml", lambda: in_thread(lambda: load_shard_config(self.path)))
        self.facts = Deferred("shard", self._load)

    def checks(self) -> list[Check]:
        """Return the checks."""
        return [
            Check("shard.yaml", self._config),
            Check("shard", self._shard, self.limit_s + 10),
            Check("interface", self._interface, self.limit_s + 30),
        ]

    async def _config(self) -> Finding:
        found = await self.config.get()
        return fine("shard.yaml", f"{self.path}: no mistakes; the shard is '{found.template}'")

    async def _load(self) -> ShardFacts:
        config = await self.config.given()
        with tempfile.TemporaryDirectory(prefix="fx-doctor-") as scratch:
            async with asyncio.timeout(self.limit_s):
                facts = await shard_facts(WorkerSettings(self.path, Path(scratch)), lambda _: None)
        return replace(facts, interface=config.interface or "")

    async def _shard(self) -> Finding:
        try:
            facts = await self.facts.get()
        except ShardError as error:
            cause = "the shard's own code, its params in shard.yaml, or the data that it reads is not in order"
            return refusal("shard", error, cause)
        except TaskError as error:
            cause = "its process was killed or ended itself, for example since the machine has too little memory"
            return refusal("shard", error, cause, "load the shard by hand in Python, and watch its memory")
        except TimeoutError:
            cause = "the data is large or on a slow disk, or the code waits for something that does not come"
            cure = "give --limit SECONDS if it only takes long: an Envoy waits for it, however long that is"
            return failure("shard", f"it was not loaded within {self.limit_s:g} s", cause, cure)
        counts = facts.schema.get("counts", {})
        shapes = f"samples {list(facts.sample_shape)}, targets {list(facts.target_shape)}"
        said = facts.description if len(facts.description) <= SHOWN else f"{facts.description[:SHOWN]}…"
        return fine("shard", f"{shapes}, {_counted(counts)}: {said}")

    async def _interface(self) -> Finding:
        facts = await self.facts.given()
        agreed, whose = await self.interfaces()
        try:
            check_interface(self.name, facts, agreed)
        except ShardMismatchError as error:
            cause = f"the descriptor gives other data than the federation agreed on ({whose})"
            return refusal("interface", error, cause)
        named = f" for '{facts.interface}'" if facts.interface else ""
        return fine("interface", f"the shapes are those of {whose}{named}")


def _counted(counts: object) -> str:
    if not isinstance(counts, dict):
        return "no counts"
    return " and ".join(f"{count} to {kind}" for kind, count in counts.items())
