"""The sites of a simulation, as every runtime is given them."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from openfl_like.data.shard import ShardDescriptor
from openfl_like.errors import UsageError
from openfl_like.federation.components import build_encoding
from openfl_like.federation.reports.progress import TaskProgressed
from openfl_like.frameworks.batched.obstacles import NotBatched
from openfl_like.pki.files import Credentials
from openfl_like.plan.schema import Plan
from openfl_like.runtimes.loop import Runtime
from openfl_like.runtimes.models import ModelRepository

log = logging.getLogger(__name__)


def log_reason(reason: NotBatched) -> None:
    """Log why sites work alone, where nobody wants to be told."""
    log.warning("%s", reason)


@dataclass(frozen=True, slots=True)
class Listening:
    """Where workers of other hosts find a simulation.

    Attributes:
        address: ``host:port``; port 0 takes a free one.
        credentials: Certificate and key of the role aggregator, for the plan's name.
        ready: Is told the address when workers can connect.
    """

    address: str
    credentials: Credentials
    ready: Callable[[str], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class WorkerWishes:
    """What the workers of a simulation are like, where its runtime has any.

    Attributes:
        count: How many there are; None: as many as there is room for.
        cpus: Processors that each takes, for Ray.
        gpus: GPUs that each takes, or a part of one, for Ray.
        listening: Where those of other hosts find the simulation, for leased jobs; None: nowhere.
    """

    count: int | None = None
    cpus: float = 1.0
    gpus: float = 0.0
    listening: Listening | None = None


NO_WISHES = WorkerWishes()


@dataclass(frozen=True, slots=True)
class SimulatedSites:
    """What a simulation knows of its sites.

    Attributes:
        plan: What they agreed on.
        workspace: Where its code is.
        directory: The simulation's record; what a runtime needs goes into a folder of its own in it.
        shards: Site name -> its data in this process; that of a site which is made comes into being here.
        files: Site name -> its shard.yaml; empty where the data comes from elsewhere. A site's that is made is written
            when it is asked for, so a runtime asks only for those that work.
        device: What the sites compute on.
        sandbox: Whether what runs in processes of its own is confined as at a site.
        workers: What workers are like.
        examine: Is called with the site and whatever goes wrong in this process, where it went wrong; None: nobody is.
        tell: Is told why sites work alone, by a runtime that has many of them work at once.
        progress: Is told, on any thread, how far tasks are, by a runtime that has them in this process; None: nobody.
    """

    plan: Plan
    workspace: Path
    directory: Path
    shards: Mapping[str, ShardDescriptor]
    files: Mapping[str, Path] = field(default_factory=dict)
    device: str = "cpu"
    sandbox: bool = False
    workers: WorkerWishes = NO_WISHES
    examine: Callable[[str, Exception], None] | None = None
    tell: Callable[[NotBatched], None] = log_reason
    progress: Callable[[TaskProgressed], None] | None = None

    def folder(self, site: str) -> Path:
        """Return where a site keeps what is its own, whatever the runtime."""
        return self.directory / "workers" / site


class RuntimeFactory(Protocol):
    """Makes the runtime of a simulation; the kind ``runtime`` of the registry."""

    def __call__(self, sites: SimulatedSites, repository: ModelRepository) -> Runtime:
        """Return a runtime for these sites.

        Args:
            sites: Where tasks are performed.
            repository: Where models are found and updates go.

        Raises:
            UsageError: If it cannot run these sites.
        """


def refuse_workers(sites: SimulatedSites, why: str, *, but_count: bool = False) -> None:
    """Refuse wishes that a runtime cannot go by.

    Args:
        sites: With the wishes.
        why: What decides instead.
        but_count: Whether it goes by the number of workers.

    Raises:
        UsageError: If there are any.
    """
    wishes, usual = sites.workers, NO_WISHES
    if (wishes.count is not None and not but_count) or (wishes.cpus, wishes.gpus) != (usual.cpus, usual.gpus):
        told = "--worker-cpus and --worker-gpus" if but_count else "--workers, --worker-cpus and --worker-gpus"
        cure = "use --runtime ray" if but_count else "use --runtime process or ray, or leased for --workers"
        raise UsageError(f"this runtime does not go by {told}: {why}", cure=f"leave them out, or {cure}")


def keeps_in_memory(plan: Plan) -> bool:
    """Whether a site keeps something between rounds that changes results, and is in no file."""
    return build_encoding(plan) is not None
