"""Reading a plan for a command: plan.yaml, or the frozen plan.json that daemons hand to their children."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from openfl_like.errors import PlanError, UsageError

if TYPE_CHECKING:
    from openfl_like.plan.schema import Plan


def read_plan(path: Path, workspace: Path | None, overrides: Sequence[str] = ()) -> "tuple[Plan, Path]":
    """Return the plan, a file or an installed one by name, and the directory of its code.

    Raises:
        PlanError: If the plan has mistakes or its workspace is missing.
    """
    from openfl_like.plan.digest import thaw
    from openfl_like.plan.load import load_plan, workspace_of
    from openfl_like.plan.workspace import find_plan

    if path.suffix == ".json" and workspace is not None:
        try:
            return thaw(path.read_bytes()), workspace
        except OSError as error:
            raise PlanError(f"cannot be read: {error.strerror}", place=str(path)) from error
    path = find_plan(str(path))
    plan = load_plan(path, overrides)
    return plan, workspace or workspace_of(path, plan)


def plain_plan(named: str, overrides: Sequence[str] = ()) -> "Plan":
    """Return a plan without looking for its workspace: a file, a ready-made one by name, or a frozen one (``.json``).

    Raises:
        PlanError: If it has mistakes.
        UsageError: If a frozen one is to be changed.
    """
    from openfl_like.plan.checks import check_plan
    from openfl_like.plan.digest import thaw
    from openfl_like.plan.load import load_plan
    from openfl_like.plan.section import PartOrigin
    from openfl_like.plan.workspace import find_plan

    path = Path(named)
    if path.suffix != ".json":
        return load_plan(find_plan(named), overrides)
    if overrides:
        raise UsageError("a frozen plan cannot be changed", place=named, cure="name the plan.yaml")
    try:
        plan = thaw(path.read_bytes(), named)
    except OSError as error:
        raise PlanError(f"cannot be read: {error.strerror}", place=named) from error
    check_plan(plan, named, PartOrigin.WORKSPACE)
    return plan
