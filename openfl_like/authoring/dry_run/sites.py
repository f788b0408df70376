"""What is known of a federation's sites without asking them: of its shard files here, or of the Director's roster."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from openfl_like.data.made_sites import source_of
from openfl_like.data.parts import shard_text
from openfl_like.data.policy import Sandbox
from openfl_like.data.published import PublishedData, published_of
from openfl_like.data.shard_file import load_shard_config, terms_of
from openfl_like.errors import ShardError, UsageError
from openfl_like.federation.parties import NO_TERMS, DataProblem, EnvoyRecord, ShardFacts, SiteTerms
from openfl_like.numbered_names import NumberedNames
from openfl_like.plan.schema import Plan
from openfl_like.plan.simulation import ShardChoice
from openfl_like.plan.workspace import check_site_name
from openfl_like.processes.worker_client import WorkerProcess, WorkerSettings
from openfl_like.services.simulation import shards_of

log = logging.getLogger(__name__)
MOST_NAMED = 1000
"""So many of the sites that a plan makes have a name in a dry run: they are alike."""


@dataclass(frozen=True, slots=True)
class KnownSite:
    """What is known of a site.

    Attributes:
        name: Its name.
        data: What its data looks like; None: it has none of the plan's interface, or what it says cannot be.
        problem: Why that cannot be.
        terms: What it takes of an experiment.
        memory_bytes: Memory of its machine; None: it does not tell.
        gpus: How many GPUs its machine has; None: it does not tell.
        revoked: Whether its certificate was revoked.
        changed: Why it takes no orders at present; None: it does.
        busy: Whether it works for as many experiments as it bears.
    """

    name: str
    data: PublishedData | None
    problem: str = ""
    terms: SiteTerms = NO_TERMS
    memory_bytes: int | None = None
    gpus: int | None = None
    revoked: bool = False
    changed: DataProblem | None = None
    busy: bool = False

    @property
    def takes_part(self) -> bool:
        """Whether it would be given work."""
        return self.data is not None and not self.revoked and self.changed is None


@dataclass(frozen=True, slots=True)
class KnownSites:
    """What is known of a federation's sites.

    Attributes:
        sites: By name; of very many that are alike only some.
        count: How many there are.
        evened: Whether how many samples each has is a mean: the plan deals them out by labels, which are not looked at.
    """

    sites: tuple[KnownSite, ...]
    count: int
    evened: bool = False

    @classmethod
    def of(cls, sites: Sequence[KnownSite]) -> "KnownSites":
        """Return sites of which each is known."""
        return cls(tuple(sorted(sites, key=lambda site: site.name)), len(sites))


def known_of(name: str, facts: ShardFacts) -> KnownSite:
    """Read what a site published of its shard; what cannot be read becomes the site's problem."""
    try:
        return KnownSite(name, published_of(facts), terms=facts.terms)
    except ValueError as error:
        return KnownSite(name, None, str(error), facts.terms)


def roster_sites(records: Sequence[EnvoyRecord], interface: str | None) -> KnownSites:
    """Return the sites that a Director knows and that are connected.

    Args:
        records: Its roster.
        interface: Of the data that the plan is for; None: the federation has one kind.

    Raises:
        UsageError: If a site is called as none can be: names become those of folders.
    """
    for record in records:
        check_site_name(record.name)
    return KnownSites.of([_of_record(record, interface or "") for record in records if record.online])


def _of_record(record: EnvoyRecord, interface: str) -> KnownSite:
    facts = next((shard for shard in record.shards if shard.interface == interface), None)
    known = KnownSite(record.name, None) if facts is None else known_of(record.name, facts)
    return replace(
        known,
        memory_bytes=record.devices.memory_total_bytes,
        gpus=len(record.devices.gpus),
        revoked=record.revoked,
        changed=record.problem,
        busy=len(record.running) >= record.experiments_at_once,
    )


async def simulated_sites(
    plan: Plan, workspace: Path, named: Mapping[str, Path], scratch: Path, limit_s: float
) -> KnownSites:
    """Return the sites that a simulation of the plan would have; their data is not asked for.

    Args:
        plan: The plan.
        workspace: Where its code, and its shard files, are.
        named: Site -> shard.yaml of those that are named; empty: those that the plan makes, or else the workspace's.
        scratch: An empty folder.
        limit_s: How long a shard may take until it says what its data looks like.

    Raises:
        UsageError: If there are none.
        ShardError: If a shard cannot be made.
        SettingsError: If a shard file has mistakes.
    """
    section = plan.simulation.sites
    if section is None or named:
        files = dict(named) or shards_of(workspace, plan)
        for name in files:
            check_site_name(name)
        return KnownSites.of(await _described(files, scratch, limit_s))
    choice = section.shard or section.each
    if choice is None:
        raise UsageError("it is not said what the sites are made of", place="simulation.sites", cure="write shard")
    each = section.shard is None
    file, modules = _file_of(choice, workspace, scratch, each=each)
    (whole,) = await _described({"data-set": file}, scratch, limit_s, modules)
    count = section.count or len(plan.admission.collaborators)
    if count < 1:
        raise UsageError("it is not said how many sites are made", place="simulation.sites", cure="write count")
    data = whole.data
    if data is not None and not each:  # how many samples each has depends on labels, which nobody looks at
        data = replace(data, counts={kind: -(-total // count) for kind, total in data.counts.items()})
    names = plan.admission.collaborators or NumberedNames("site-", len(str(count)), count)
    made = [replace(whole, name=name, data=data) for name in islice(names, MOST_NAMED)]
    return KnownSites(tuple(sorted(made, key=lambda site: site.name)), len(names), evened=not each)


def _file_of(choice: ShardChoice, workspace: Path, scratch: Path, *, each: bool) -> tuple[Path, Path | None]:
    """Return a shard.yaml of the data set of sites that are made, and the folder of its modules."""
    source, reads = source_of(choice, workspace)
    params = {**source.choice.params, **({"site": 1} if each else {})}
    file = scratch / "data-set.yaml"
    file.write_text(shard_text(source.choice.template, params, None, reads), encoding="utf-8")
    return file, source.folder


async def _described(
    files: Mapping[str, Path], scratch: Path, limit_s: float, modules: Path | None = None
) -> tuple[KnownSite, ...]:
    """Have one process make the shards, one after the other, and say what they promise; none gives its data."""
    configs = await asyncio.to_thread(lambda: {name: load_shard_config(file) for name, file in files.items()})
    worker: WorkerProcess | None = None
    told = []
    try:
        for name, config in configs.items():
            settings = WorkerSettings(
                files[name], scratch / "described", sandbox=Sandbox.OFF, unread=True, modules=modules
            )
            async with asyncio.timeout(limit_s):
                if worker is None:
                    worker = await WorkerProcess.start(settings, log.debug)
                    facts = worker.facts or ShardFacts((), ())
                else:
                    facts = await worker.describe(settings)
            told.append(known_of(name, replace(facts, terms=terms_of(config))))
    except TimeoutError:
        cure = "give --limit SECONDS if it only takes long to make the shard"
        raise ShardError(
            f"it did not say within {limit_s:g} s what its data is", place=str(files[name]), cure=cure
        ) from None
    except ShardError as error:
        if modules is None:  # a file of somebody's own: which one of many?
            error.place = f"{files[name]}, {error.place}" if error.place else str(files[name])
        raise
    finally:
        if worker is not None:
            await worker.stop()
    return tuple(told)
