"""``--dry-run`` of the commands that run a plan: here, and in a federation."""

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

from openfl_like.api.dry_run import dry_run_of
from openfl_like.api.federation import Federation
from openfl_like.authoring.dry_run.findings import DryRunReport
from openfl_like.authoring.dry_run.perform import LIMIT_S, dry_run
from openfl_like.authoring.dry_run.sites import simulated_sites
from openfl_like.authoring.models import INITIAL_MODEL, prepare_initial_model
from openfl_like.cli.options import named_files
from openfl_like.cli.output.dry_run import show_report
from openfl_like.cli.output.packing import tell_packing
from openfl_like.cli.plan_file import read_plan
from openfl_like.plan.bundles.bundle import pack
from openfl_like.plan.schema import Plan
from openfl_like.processes.own_end import terminated_like_interrupted

TRAVELS = "would travel to the Director and every site"


def simulation_dry_run(
    plan_file: Path,
    shards: Sequence[str],
    initial_model: Path | None,
    overrides: Sequence[str],
    limit_s: float | None,
    *,
    as_json: bool,
) -> int:
    """Try a plan for the sites that its simulation would have; return the exit code.

    Raises:
        DryRunError: If anything would go wrong.
    """
    plan, workspace = read_plan(plan_file, None, overrides)
    named = named_files(tuple(shards), "--shard")
    with terminated_like_interrupted(), tempfile.TemporaryDirectory(prefix="fx-dry-run-") as directory:
        report = asyncio.run(_simulated(plan, workspace, named, initial_model, Path(directory), limit_s or LIMIT_S))
    return show_report(report, as_json=as_json)


async def _simulated(
    plan: Plan, workspace: Path, named: dict[str, Path], initial_model: Path | None, scratch: Path, limit_s: float
) -> DryRunReport:
    added = {}
    if initial_model is not None:
        plan = prepare_initial_model(initial_model, plan, workspace, scratch)
        added[INITIAL_MODEL] = scratch / INITIAL_MODEL
    bundle = scratch / "bundle.tar"
    packing = pack(workspace, plan, bundle, added)
    known = await simulated_sites(plan, workspace, named, scratch, limit_s)
    return await dry_run(bundle, packing, known, scratch, limit_s)


def submission_dry_run(
    federation: Federation,
    plan: Path,
    initial_model: Path | None,
    overrides: Sequence[str],
    limit_s: float | None,
    *,
    as_json: bool,
) -> int:
    """Try a plan for the sites that are connected; return the exit code.

    Raises:
        DryRunError: If anything would go wrong.
    """
    with terminated_like_interrupted():
        report = federation.ask(
            lambda client: dry_run_of(
                client, plan, overrides, initial_model=initial_model, limit_s=limit_s or LIMIT_S,
                on_packed=lambda packing: tell_packing(packing, TRAVELS),
            )
        )  # fmt: skip
    return show_report(report, as_json=as_json)
