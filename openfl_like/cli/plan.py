"""``fx plan``: check a plan, and show what it comes to."""

import json

import click

from openfl_like.cli.options import HELP
from openfl_like.cli.output import emit, json_option, say

_override = click.option(
    "-s", "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change the plan; may be given again."
)


@click.group(context_settings=HELP)
def plan() -> None:
    """Check plans and show them with every default filled in.

    PLAN is a file, or the name of a ready-made plan.

    Example: fx plan check plan.yaml
    """


@plan.command()
@click.argument("plan_name", metavar="PLAN")
@_override
def check(plan_name: str, overrides: tuple[str, ...]) -> None:
    """List every mistake of a plan, or say that there is none.

    Example: fx plan check plan.yaml -s aggregator.settings.rounds_to_train=3
    """
    from openfl_like.plan.digest import plan_digest
    from openfl_like.plan.load import load_plan, workspace_of
    from openfl_like.plan.workspace import find_plan

    path = find_plan(plan_name)
    loaded = load_plan(path, overrides)
    workspace = workspace_of(path, loaded)
    say(f"{path}: no mistakes; workspace {workspace}; digest {plan_digest(loaded)}")


@plan.command()
@click.argument("plan_name", metavar="PLAN")
@_override
@json_option
def show(plan_name: str, overrides: tuple[str, ...], *, as_json: bool) -> None:
    """Show a plan with every default filled in, and its digest.

    Example: fx plan show plan.yaml --json
    """
    import yaml

    from openfl_like.plan.digest import freeze, plan_digest
    from openfl_like.plan.load import load_plan
    from openfl_like.plan.workspace import find_plan

    loaded = load_plan(find_plan(plan_name), overrides)
    values = json.loads(freeze(loaded))
    if as_json:
        emit({"digest": plan_digest(loaded), "plan": values}, as_json=True)
        return
    click.echo(f"# digest: {plan_digest(loaded)}")
    click.echo(yaml.safe_dump(values, sort_keys=False), nl=False)
