"""``fx workspace``: make a workspace from a template, pass one on, lock what it needs."""

from pathlib import Path

import click

from openfl_like.cli.options import FILE, FOLDER, HELP, PLACE, check_output, complete_templates, overrides_option
from openfl_like.cli.output.console import emit, file_facts, json_option, tell


@click.group(context_settings=HELP)
def workspace() -> None:
    """Make a workspace (plan, code, requirements, example shards) from a template, and pass one on.

    Example: fx workspace create my-study -t torch_heart_disease
    """


@workspace.command()
@click.argument("target", metavar="NAME", type=PLACE)
@click.option(
    "-t",
    "--template",
    default="torch_digits",
    show_default=True,
    help="See 'fx workspace templates'.",
    shell_complete=complete_templates,
)
@json_option
def create(target: Path, template: str, *, as_json: bool) -> None:
    """Copy a template to the new directory NAME.

    Example: fx workspace create my-study -t torch_heart_disease
    """
    from openfl_like.plan.workspace import create_workspace

    path = create_workspace(target, template)
    tell(
        f"{path} is ready; try: fx simulate {path}/plan.yaml",
        {"workspace": str(path), "template": template},
        as_json=as_json,
    )


@workspace.command()
@json_option
def templates(*, as_json: bool) -> None:
    """List the installed templates.

    Example: fx workspace templates
    """
    from openfl_like.plan.workspace import template_about, template_path
    from openfl_like.plan.workspace import templates as installed

    about = "about" if as_json else "what it is"
    rows = [{"template": name, about: template_about(name), "path": str(template_path(name))} for name in installed()]
    emit(rows, as_json=as_json, title="workspace templates")


@workspace.command(name="export")
@click.argument("plan", metavar="[PLAN]", type=FILE, default=Path("plan.yaml"))
@click.option("-o", "--output", type=FILE, help="The file to write.  [default: the plan's name, with .tar]")
@overrides_option
@json_option
def export_(plan: Path, output: Path | None, overrides: tuple[str, ...], *, as_json: bool) -> None:
    """Write a plan and its workspace to one file, the same bytes for the same content.

    It holds what a submission would send, and lists it: the code that the plan names with what it imports, README and
    requirements, and what the plan's include: names. No data, no shard descriptors, no keys, nothing hidden.

    Example: fx workspace export my-study/plan.yaml -o my-study.tar
    """
    from dataclasses import asdict

    from openfl_like.cli.output.packing import tell_packing
    from openfl_like.plan.bundles.exchange import export_workspace
    from openfl_like.plan.digest import plan_digest
    from openfl_like.plan.load import load_plan
    from openfl_like.plan.workspace import find_plan

    check_output(output)
    path = find_plan(str(plan))
    target = output or Path(f"{load_plan(path, overrides).name}.tar")
    exported = export_workspace(path, target, overrides)
    facts = {**file_facts(target), "plan": plan_digest(exported.plan)}
    if as_json:
        emit({**facts, **asdict(exported.packing)}, as_json=True)
        return
    emit(facts, as_json=False)
    tell_packing(exported.packing, "in the archive")


@workspace.command(name="import")
@click.argument("archive", type=FILE)
@click.argument("target", metavar="NAME", type=FOLDER)
@json_option
def import_(archive: Path, target: Path, *, as_json: bool) -> None:
    """Make the new directory NAME from an exported workspace.

    The file may come from anybody: links, odd names and anything else that an export never has are refused, and nothing
    is run. Read the code before you run it. Shard descriptors are yours to write, in shards/.

    Example: fx workspace import my-study.tar their-study
    """
    from openfl_like.plan.bundles.exchange import import_workspace
    from openfl_like.plan.digest import plan_digest

    plan = import_workspace(archive, target)
    emit({"workspace": str(target), "name": plan.name, "plan": plan_digest(plan)}, as_json=as_json)


@workspace.command()
@click.argument("folder", metavar="[WORKSPACE]", type=FOLDER, default=Path())
@click.option("--wheelhouse", type=FOLDER, help="Choose only from the wheels in it.  [default: pip's index]")
@click.option("--leave-out", multiple=True, metavar="NAME", help="A package that the sites have; may be given again.")
@json_option
def lock(folder: Path, wheelhouse: Path | None, leave_out: tuple[str, ...], *, as_json: bool) -> None:
    """Write requirements.lock from requirements.txt: exact wheels with hashes, for sites that install them.

    Nothing is installed. The wheels are those for this machine's system and Python.

    Example: fx workspace lock my-study --leave-out torch --leave-out numpy
    """
    from openfl_like.authoring.requirements import lock_requirements
    from openfl_like.plan.lock import LOCK_NAME

    count = lock_requirements(folder, wheelhouse, leave_out)
    emit({"file": str(folder / LOCK_NAME), "packages": count}, as_json=as_json)
