"""Workspaces that move between people: written as a bundle, read as one that may come from anybody."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from openfl_like.errors import BundleError, ConflictError
from openfl_like.plan.bundles.bundle import STAGING, pack, unpack
from openfl_like.plan.bundles.packing import Packing
from openfl_like.plan.checks import check_plan
from openfl_like.plan.digest import plan_text
from openfl_like.plan.load import load_plan, workspace_of
from openfl_like.plan.names import PLAN_NAME
from openfl_like.plan.schema import Plan
from openfl_like.plan.section import PartOrigin


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: a plan, and what of its workspace."""

    plan: Plan
    packing: Packing


def export_workspace(plan_file: Path, out: Path, overrides: Sequence[str] = ()) -> Exported:
    """Write what a submission of the plan would send: the frozen plan and the workspace.

    Args:
        plan_file: The plan; its workspace goes with it.
        out: The archive; the same plan and files give the same bytes.
        overrides: As in `load_plan`.

    Raises:
        PlanError: If the plan has mistakes.
        BundleError: If a file of the workspace breaks a rule.
    """
    plan = load_plan(plan_file, overrides)
    return Exported(plan, pack(workspace_of(plan_file, plan), plan, out))


def import_workspace(archive: Path, target: Path) -> Plan:
    """Make a workspace of an archive; nothing of it is run, and nothing is left behind if it is refused.

    Args:
        archive: What `export_workspace` wrote; a bundle of an experiment is the same.
        target: A directory that does not exist yet. Its ``plan.yaml`` has every value written out.

    Raises:
        BundleError: If the archive is not exactly what `pack` would write.
        PlanError: If its plan has mistakes.
        ConflictError: If something is there already.
    """
    if target.exists() or target.is_symlink():
        raise ConflictError("there is something already", place=str(target), cure="name another directory")
    if not archive.is_file():
        raise BundleError("there is no such file", place=str(archive))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=STAGING, dir=target.parent) as scratch:
            made = Path(scratch) / "workspace"
            plan = unpack(archive, made)
            check_plan(plan, f"the plan of {archive.name}", PartOrigin.WORKSPACE)
            (made / PLAN_NAME).unlink()
            (made / "plan.yaml").write_text(plan_text(plan), encoding="utf-8")
            made.rename(target)
    except OSError as error:
        raise ConflictError(f"the workspace cannot be written: {error.strerror or error}", place=str(target)) from error
    return plan
