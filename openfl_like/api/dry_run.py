"""A dry run for the sites that a Director knows: it is asked for its roster, and nothing else happens there."""

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from openfl_like.api.client import AsyncFederation
from openfl_like.api.experiments import pack_submission, refuse_parts
from openfl_like.authoring.dry_run.findings import DryRunReport
from openfl_like.authoring.dry_run.perform import LIMIT_S, dry_run
from openfl_like.authoring.dry_run.sites import roster_sites
from openfl_like.plan.bundles.packing import Packing
from openfl_like.plan.load import load_plan
from openfl_like.plan.workspace import find_plan


async def dry_run_of(
    client: AsyncFederation,
    plan: str | Path,
    overrides: Sequence[str] = (),
    *,
    initial_model: str | Path | None = None,
    limit_s: float = LIMIT_S,
    on_packed: Callable[[Packing], None] | None = None,
) -> DryRunReport:
    """Try a plan on data that is invented from what the connected sites publish; nothing is submitted.

    Args:
        client: Of the Director.
        plan: The plan file, or the name of an installed plan.
        overrides: Changes like ``deadline.train_s=30``.
        initial_model: A model to start from, as for `Experiments.submit`.
        limit_s: How long code of the workspace may take for one thing that is asked of it.
        on_packed: Called with what would travel.

    Raises:
        PlanError: If the plan has mistakes, or names code that the Director does not run.
        BundleError: If the workspace cannot be packed.
        UnreachableError: If the Director does not answer.
    """
    checked = await asyncio.to_thread(load_plan, find_plan(str(plan)), overrides)
    await refuse_parts(client.director, checked)
    with tempfile.TemporaryDirectory(prefix="fx-dry-run-") as directory:
        scratch = Path(directory)
        bundle = scratch / "bundle.tar"
        packing = await asyncio.to_thread(pack_submission, plan, overrides, initial_model, None, bundle)
        if on_packed is not None:
            on_packed(packing)
        known = roster_sites(await client.envoys.envoys(), checked.interface)
        return await dry_run(bundle, packing, known, scratch, limit_s)
