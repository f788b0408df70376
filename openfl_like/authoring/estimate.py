"""What an experiment will take: bytes on the lines, memory of each role, disk; measured where that is possible.

The workspace's own code makes the initial model and performs one assignment of each phase, in a worker process as at a
site. So the size of a model file is exact, that of an update too unless it is compressed, and the worker's memory is
measured; the rest follows from how the platform works.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from openfl_like.data.policy import Sandbox
from openfl_like.errors import SettingsError
from openfl_like.federation.components import build_encoding, build_evaluation_selector, build_selector
from openfl_like.federation.participation.assignment import calls_in_phase
from openfl_like.federation.participation.selection import expected_cohort
from openfl_like.federation.parts.source import REGISTERED, PartSource
from openfl_like.federation.seeds import derive_seed
from openfl_like.federation.task import Assignment, Phase
from openfl_like.plan.bundles.bundle import pack
from openfl_like.plan.digest import freeze
from openfl_like.plan.schema import Plan
from openfl_like.processes.worker_client import WorkerProcess, WorkerSettings
from openfl_like.tensors.manifest import file_digest

log = logging.getLogger(__name__)
EXACT, MEASURED, ESTIMATED = "exact", "measured", "estimated"
SITE = "estimate"

# Measured, see docs/benchmarks: none of these processes holds a model, so the size of one changes little.
MEMORY_BYTES = {"director": 60_000_000, "envoy": 45_000_000, "aggregator": 65_000_000, "collaborator": 45_000_000}
UNLIMITED_ROUNDS = 1000  # after so many the disk is measured, if the plan has no limit of them
MESSAGES_BYTES = 6_000  # what a site and the Aggregator tell each other in a round besides files, each way
FILE_OVERHEAD = 0.003  # TLS records, frames, digests of chunks
RECORD_BYTES = 400_000  # database and logs of an experiment
RECORD_ROUND_BYTES = 3_000  # and what a round and a site add to them


@dataclass(frozen=True, slots=True)
class Sizes:
    """What was seen of the workspace.

    Attributes:
        model: Bytes of a model file.
        update: Bytes of an update file; 0 if the plan trains nothing.
        bundle: Bytes of the bundle.
        worker: Peak resident memory of the worker in bytes.
    """

    model: int
    update: int
    bundle: int
    worker: int


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of an estimate.

    Attributes:
        name: What it is of; stable, for programs.
        size_bytes: The figure.
        kind: ``exact``, ``measured`` (on this machine, with this shard) or ``estimated``.
        meaning: For people.
    """

    name: str
    size_bytes: int
    kind: str
    meaning: str


async def measure(plan: Plan, workspace: Path, shard: Path, scratch: Path) -> Sizes:
    """Have a worker make the initial model, train once and evaluate once.

    Args:
        plan: The plan.
        workspace: Its code, which runs in a child process.
        shard: The shard.yaml of a site.
        scratch: An empty directory.

    Raises:
        ShardError: If the shard cannot be used.
        TaskError: If the workspace's code raises.
    """
    frozen, bundle = scratch / "plan.json", scratch / "bundle.tar"
    frozen.write_bytes(freeze(plan))
    pack(workspace, plan, bundle)
    threads = plan.collaborator.settings.threads
    work, own = scratch / "work", Sandbox.OFF  # the plan's author tries code on a machine of their own
    settings = WorkerSettings(shard, work, frozen, workspace, threads, owner=scratch, sandbox=own)
    worker = await WorkerProcess.start(settings, log.debug)
    try:
        model = await _initial(worker, plan, workspace, scratch)
        update = scratch / "update.safetensors"
        for phase in (Phase.TRAIN, Phase.EVALUATE):
            calls = calls_in_phase(plan.tasks, tuple(plan.tasks), phase)
            if calls:
                seed = derive_seed(plan.seed, SITE, phase.value)
                assignment = Assignment(1, phase, SITE, calls, file_digest(model), seed)
                await worker.perform(assignment, model, update)
        trained = update.stat().st_size if update.exists() else 0
        return Sizes(model.stat().st_size, trained, bundle.stat().st_size, worker.peak_bytes())
    finally:
        await worker.stop()


async def _initial(worker: WorkerProcess, plan: Plan, workspace: Path, scratch: Path) -> Path:
    given = plan.aggregator.settings.init_state_path
    if given is not None:
        if not (workspace / given).is_file():
            raise SettingsError(f"there is no initial model '{given}' in the workspace", place=str(workspace))
        return workspace / given
    model = scratch / "model.safetensors"
    calls = calls_in_phase(plan.tasks, tuple(plan.tasks), Phase.INITIALISE)
    seed = derive_seed(plan.seed, 0, "", Phase.INITIALISE.value)
    await worker.perform(Assignment(0, Phase.INITIALISE, SITE, calls, "", seed), None, model)
    return model


def figures(plan: Plan, sizes: Sizes, sites: int, parts: PartSource = REGISTERED) -> list[Figure]:
    """Return everything that follows from the plan and what was measured.

    Args:
        plan: The plan.
        sizes: What `measure` gave.
        sites: How many sites take part.
        parts: Builds its selector.
    """
    return [*_files(plan, sizes), *_traffic(plan, sizes, sites, parts), *_memory(sizes), *_disk(plan, sizes, sites)]


def _files(plan: Plan, sizes: Sizes) -> Iterator[Figure]:
    kind = EXACT if build_encoding(plan) is None else MEASURED
    yield Figure("model", sizes.model, EXACT, "the file of a model")
    yield Figure("update", sizes.update, kind, "the file of an update")
    yield Figure("bundle", sizes.bundle, EXACT, "plan and workspace, fetched once by every site")


def _traffic(plan: Plan, sizes: Sizes, sites: int, parts: PartSource) -> Iterator[Figure]:
    """Every model is fetched once by a site: to evaluate it, and it trains on the same file in the round after.

    Where updates are scored by other sites, a site that trains fetches one of these as well.
    """
    cohort = expected_cohort(build_selector(plan, parts), sites) if _any(plan, train=True) else 0
    looks = _any(plan, train=False)
    evaluators = expected_cohort(build_evaluation_selector(plan, parts), sites) if looks else 0
    receivers = min(sites, evaluators + cohort)  # at most: who evaluates and trains next fetches a model once
    down, up = _sent(sizes.model), _sent(sizes.update) if cohort else MESSAGES_BYTES
    scored = down if plan.cross_evaluation is not None and cohort > 1 else 0
    yield Figure("to_site_per_round", down + scored, ESTIMATED, "from the Aggregator to one site, in a round")
    yield Figure("from_site_per_round", up, ESTIMATED, "from one site to the Aggregator, in a round")
    yield Figure("to_sites_per_round", receivers * down + cohort * scored, ESTIMATED, f"to {_sites(receivers)}")
    total = cohort * up + (sites - cohort) * MESSAGES_BYTES
    yield Figure("from_sites_per_round", total, ESTIMATED, f"from {_sites(cohort or sites)}")


def _sites(count: int) -> str:
    return "one site" if count == 1 else f"{count} sites together"


def _any(plan: Plan, *, train: bool) -> bool:
    wanted = Phase.TRAIN if train else Phase.EVALUATE
    return bool(calls_in_phase(plan.tasks, tuple(plan.tasks), wanted)) and (
        not train or any(task.is_training for task in plan.tasks.values())
    )


def _sent(size: int) -> int:
    return round(size * (1 + FILE_OVERHEAD)) + MESSAGES_BYTES


def _memory(sizes: Sizes) -> Iterator[Figure]:
    for role, size in MEMORY_BYTES.items():
        yield Figure(f"memory_{role}", size, ESTIMATED, f"peak of the {role}, whatever the size of the model")
    yield Figure("memory_worker", sizes.worker, MEASURED, "peak of the worker here, with this shard")


def _disk(plan: Plan, sizes: Sizes, sites: int) -> Iterator[Figure]:
    rounds = plan.aggregator.settings.rounds or UNLIMITED_ROUNDS
    unlimited = "" if plan.aggregator.settings.rounds else f", after {rounds} rounds"
    keep = plan.model_store.keep
    kept = rounds + 1 if keep == "all" else min(rounds + 1, keep.last + 1)
    record = 3 * sizes.bundle + RECORD_BYTES + RECORD_ROUND_BYTES * rounds * sites
    decoded = sites * sizes.model if plan.cross_evaluation is not None and build_encoding(plan) is not None else 0
    running = (kept + 1) * sizes.model + 2 * (sites * sizes.update + decoded) + record  # rounds overlap
    yield Figure("disk_aggregator", running, ESTIMATED, f"at the Director, at most, while it runs{unlimited}")
    ended = f"at the Director, at most, when it has ended{unlimited}"
    yield Figure("disk_record", kept * sizes.model + record, ESTIMATED, ended)
    site = 2 * (sizes.model + max(sizes.model, sizes.update)) + 3 * sizes.bundle
    yield Figure("disk_site", site, ESTIMATED, "at each site, at most")
