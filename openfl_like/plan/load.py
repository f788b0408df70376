"""From a plan file to a plan: YAML, defaults, overrides, and every mistake at once."""

import copy
from collections.abc import Sequence
from pathlib import Path

from openfl_like.errors import PlanError
from openfl_like.plan.checks import mistakes_in
from openfl_like.plan.defaults import load_tree
from openfl_like.plan.document import Tree, validate
from openfl_like.plan.mistakes import KeyPath, Mistake, did_you_mean, refuse
from openfl_like.plan.overrides import overridden
from openfl_like.plan.paths import written_path
from openfl_like.plan.schema import Plan
from openfl_like.plan.section import PartOrigin
from openfl_like.plan.workspace import template_path, templates


def load_plan(path: Path, overrides: Sequence[str] = ()) -> Plan:
    """Read a plan.

    Args:
        path: The plan file.
        overrides: Changes like ``deadline.train_s=30``; see `overridden`.

    Raises:
        PlanError: If the file is missing or has mistakes; then all of them are listed with line and YAML path.
    """
    tree = overridden(load_tree(path), overrides, Plan)
    plan, mistakes = checked(tree)
    if plan is None or mistakes:
        raise refuse(tree.source, mistakes, tree.places, PlanError)
    return plan


def checked(tree: Tree) -> tuple[Plan | None, list[Mistake]]:
    """Read a plan from a tree, and list its mistakes; it is None if the schema found some."""
    plan, mistakes = validate(tree, Plan)
    known = {mistake.path for mistake in mistakes}
    more = mistakes_in(plan, PartOrigin.WORKSPACE) if plan else _beyond(tree, mistakes)
    return plan, mistakes + [mistake for mistake in more if mistake.path not in known]


def workspace_of(plan_path: Path, plan: Plan) -> Path:
    """Find the workspace of a plan: a directory beside the plan file, or an installed template.

    Raises:
        PlanError: If there is neither.
    """
    try:
        directory = plan_path.parent / written_path(plan.workspace)
    except ValueError as error:
        raise PlanError(f"workspace: {error}", place=str(plan_path)) from error
    if directory.is_dir():
        return directory
    if plan.workspace in templates():
        return template_path(plan.workspace)
    cure = did_you_mean(plan.workspace, templates())
    message = f"the workspace '{plan.workspace}' is neither a directory beside the plan nor an installed template"
    raise PlanError(message, place=str(plan_path), cure=cure)


# What a plan cannot do without, so that the rest of one that lacks it can still be looked at.
_REQUIRED: dict[str, object] = {
    "name": "unnamed",
    "task_runner": {"template": "any:thing"},
    "data_loader": {"template": "any:thing"},
    "tasks": {"train": {"function": "train"}},
}


def _beyond(tree: Tree, mistakes: list[Mistake]) -> list[Mistake]:
    """Look for mistakes beyond the schema in what is left of a plan when its faulty entries are taken out.

    Sections in which the schema found something are not looked at twice: a second message there could be a consequence.
    """
    data = copy.deepcopy(tree.data)
    for mistake in mistakes:
        _remove(data, mistake.path)
    faulty = {mistake.path[:1] for mistake in mistakes}
    if isinstance(data, dict):
        data |= {key: stand_in for key, stand_in in _REQUIRED.items() if key not in data or (key,) in faulty}
    plan, _ = validate(Tree(tree.source, data), Plan)
    return (
        [mistake for mistake in mistakes_in(plan, PartOrigin.WORKSPACE) if mistake.path[:1] not in faulty]
        if plan
        else []
    )


def _remove(data: object, path: KeyPath) -> None:
    for key in path[:-1]:
        if isinstance(data, dict):
            data = data.get(key)
        elif isinstance(data, list) and isinstance(key, int) and key < len(data):
            data = data[key]
    if isinstance(data, dict) and path:
        data.pop(path[-1], None)
