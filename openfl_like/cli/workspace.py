"""``fx workspace``: make a workspace from a template."""

from pathlib import Path

import click

from openfl_like.cli.options import HELP
from openfl_like.cli.output import emit, json_option


@click.group(context_settings=HELP)
def workspace() -> None:
    """Make a workspace (plan, code, example shards) from a template."""


@workspace.command()
@click.argument("target", type=click.Path(path_type=Path))
@click.option("-t", "--template", default="torch_digits", show_default=True, help="See 'fx workspace templates'.")
def create(target: Path, template: str) -> None:
    """Copy a template to a new directory.

    Example: fx workspace create my-study -t torch_heart_disease
    """
    from openfl_like.plan.workspace import create_workspace

    path = create_workspace(target, template)
    click.echo(f"{path} is ready; try: fx simulate {path}/plan.yaml")


@workspace.command()
@json_option
def templates(*, as_json: bool) -> None:
    """List the installed templates.

    Example: fx workspace templates
    """
    from openfl_like.plan.workspace import template_path
    from openfl_like.plan.workspace import templates as installed

    rows = [{"template": name, "path": str(template_path(name))} for name in installed()]
    emit(rows, as_json=as_json, title="workspace templates")
