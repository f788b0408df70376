"""A dry run from beginning to end: a plan as it would travel, on data that is invented from what sites publish."""

import asyncio
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from openfl_like.authoring.dry_run.code import look_at_code
from openfl_like.authoring.dry_run.findings import DryRunFinding, DryRunReport, FindingKind, Findings, TriedKind
from openfl_like.authoring.dry_run.fit import asked_sites, look_at_cost, look_at_kinds, look_at_sites
from openfl_like.authoring.dry_run.forecast import ExpectedCost, expected_of, forecast_of, most_of
from openfl_like.authoring.dry_run.kinds import MOST_KINDS, MOST_NAMED, SiteKind, kinds_of
from openfl_like.authoring.dry_run.player import Player, Scene, come_all
from openfl_like.authoring.dry_run.rounds import BROKEN_OFF, Rounds, StepsDone
from openfl_like.authoring.dry_run.sites import KnownSite, KnownSites
from openfl_like.authoring.estimate import Figure, Sizes, figures
from openfl_like.data.shard import KINDS
from openfl_like.federation.parts.source import PartSource, WorkspaceParts
from openfl_like.plan.bundles.bundle import unpack
from openfl_like.plan.bundles.packing import Packing
from openfl_like.plan.digest import freeze, plan_digest
from openfl_like.plan.lock import LOCK_NAME
from openfl_like.plan.schema import Plan
from openfl_like.processes.sandbox.confinement import Wall
from openfl_like.services.aggregator.opening import place_initial_model
from openfl_like.store.files import ExperimentFiles

LIMIT_S = 60.0
"""How long code of the workspace may take for one thing that is asked of it."""


async def dry_run(
    bundle: Path, packing: Packing, known: KnownSites, scratch: Path, limit_s: float = LIMIT_S
) -> DryRunReport:
    """Try a plan on data that is invented from what its sites publish.

    Args:
        bundle: Plan and workspace as they would travel.
        packing: What is in it.
        known: The sites.
        scratch: A folder that nobody else uses.
        limit_s: How long code of the workspace may take for one thing that is asked of it.

    Raises:
        BundleError: If the bundle is none.
        PlanError: If a part of the round cannot be built.
        SettingsError: If the model that the plan begins with is missing.
    """
    begun = time.perf_counter()
    workspace = scratch / "workspace"
    plan = await asyncio.to_thread(unpack, bundle, workspace)
    findings, parts = Findings(), WorkspaceParts(workspace)
    findings.extend(look_at_sites(plan, known, parts))
    findings.extend(await asyncio.to_thread(lambda: list(look_at_code(workspace, packing))))
    sites = [site for site in asked_sites(plan, known) if site.takes_part]
    findings.extend(_unlocked(workspace, sites))
    kinds = kinds_of(plan, sites, parts)
    findings.extend(look_at_kinds(plan, kinds))
    tried = kinds[:MOST_KINDS]
    steps = await _played(plan, workspace, tried, scratch, limit_s, findings)
    if steps.rounds and not findings.has(BROKEN_OFF):
        confined = not findings.has((FindingKind.NOT_CONFINED,))
        findings.soften((FindingKind.MODULE_MISSING, *([FindingKind.LOCAL_FILE] if confined else [])))
    expected = [] if findings.has(BROKEN_OFF) else expected_of(tried, steps)
    findings.extend(look_at_cost(plan, sites, expected, steps.model_bytes))
    return DryRunReport(
        plan=plan.name,
        digest=plan_digest(plan),
        sites=known.count,
        tried=tuple(_told(kind, expected) for kind in tried),
        rounds=steps.rounds,
        evened=known.evened,
        findings=findings.sorted(),
        forecast=forecast_of(plan, expected, steps, known.count, parts),
        figures=_figures(plan, bundle, steps, expected, known.count, parts),
        seconds=time.perf_counter() - begun,
    )


async def _played(
    plan: Plan, workspace: Path, kinds: Sequence[SiteKind], scratch: Path, limit_s: float, findings: Findings
) -> StepsDone:
    """Have the kinds of sites play the rounds."""
    files = ExperimentFiles(scratch / "experiment")
    files.prepare()
    place_initial_model(plan, workspace, files)
    frozen = scratch / "plan.json"
    frozen.write_bytes(freeze(plan))
    scene = Scene(plan, frozen, workspace, files.directory / "models", scratch / "sites", limit_s)
    players = [Player(scene, kind, findings) for kind in kinds]
    try:
        await come_all(players, len(os.sched_getaffinity(0)))
        there = [player for player in players if player.there]
        if any(Wall.FILES in player.confinement.gaps for player in there):
            findings.add(DryRunFinding(FindingKind.NOT_CONFINED))
        return await Rounds(plan, files, there, findings, WorkspaceParts(workspace)).run()
    finally:
        await asyncio.gather(*(player.leave() for player in players))
        await asyncio.to_thread(shutil.rmtree, scratch / "sites", ignore_errors=True)


def _unlocked(workspace: Path, sites: Sequence[KnownSite]) -> list[DryRunFinding]:
    """Name the sites that do not install what the workspace needs."""
    names = tuple(site.name for site in sites if site.terms.installs_requirements is False)
    if not names or not (workspace / LOCK_NAME).is_file():
        return []
    return [DryRunFinding(FindingKind.PACKAGES_NOT_INSTALLED, names, file=LOCK_NAME)]


def _told(kind: SiteKind, expected: Sequence[ExpectedCost]) -> TriedKind:
    most = {name: most_of(kind, name) for name in KINDS}
    return TriedKind(
        sites=tuple(sorted(kind.names)[:MOST_NAMED]),
        count=len(kind.sites),
        samples=kind.data.samples.with_range,
        targets=str(kind.data.targets) if kind.data.classes else kind.data.targets.with_range,
        classes=kind.data.classes,
        invented=dict(kind.invented),
        most={name: count for name, count in most.items() if count},
        seconds=next((dict(one.seconds) for one in expected if one.kind is kind), {}),
    )


def _figures(
    plan: Plan, bundle: Path, steps: StepsDone, expected: Sequence[ExpectedCost], sites: int, parts: PartSource
) -> tuple[Figure, ...]:
    if not steps.model_bytes or not expected:
        return ()
    sizes = Sizes(steps.model_bytes, steps.update_bytes, bundle.stat().st_size, steps.peak_bytes)
    return tuple(figures(plan, sizes, max(1, sites), parts))
