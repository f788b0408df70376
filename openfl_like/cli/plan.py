"""``fx plan``: check a plan, show what it comes to, compare two, tell what one will take."""

import json
from pathlib import Path

import click

from openfl_like.cli.options import FILE, FOLDER, HELP, check_output, complete_plans, overrides_option, write_file
from openfl_like.cli.output.console import emit, file_facts, json_option, put, say, tell


@click.group(context_settings=HELP)
def plan() -> None:
    """Check plans, show them with every default filled in, compare and measure them.

    PLAN is a file, or the name of a ready-made plan.

    Example: fx plan check plan.yaml
    """


@plan.command()
@click.argument("plan_name", metavar="PLAN", shell_complete=complete_plans)
@overrides_option
@json_option
def check(plan_name: str, overrides: tuple[str, ...], *, as_json: bool) -> None:
    """List every mistake of a plan, or say that there is none; try whether its workspace can be sent to sites.

    Example: fx plan check plan.yaml -s aggregator.settings.rounds_to_train=3
    """
    from dataclasses import asdict

    from openfl_like.cli.output.packing import tell_parts, tell_what_stays
    from openfl_like.plan.bundles.packing import packing_of
    from openfl_like.plan.digest import plan_digest
    from openfl_like.plan.load import load_plan, workspace_of
    from openfl_like.plan.members import workspace_parts
    from openfl_like.plan.workspace import find_plan

    path = find_plan(plan_name)
    loaded = load_plan(path, overrides)
    workspace = workspace_of(path, loaded)
    packing = packing_of(workspace, loaded)
    digest = plan_digest(loaded)
    told = {
        "plan": str(path),
        "name": loaded.name,
        "workspace": str(workspace),
        "digest": digest,
        **asdict(packing),
    }
    if not as_json:
        tell_what_stays(packing)
        tell_parts(workspace_parts(loaded))
    tell(f"{path}: no mistakes; workspace {workspace}; digest {digest}", told, as_json=as_json)


@plan.command()
@click.argument("plan_name", metavar="PLAN", shell_complete=complete_plans)
@overrides_option
@json_option
def show(plan_name: str, overrides: tuple[str, ...], *, as_json: bool) -> None:
    """Show a plan with every default filled in, and its digest.

    Example: fx plan show plan.yaml --json
    """
    from openfl_like.cli.plan_file import plain_plan
    from openfl_like.plan.digest import freeze, plan_digest, plan_text
    from openfl_like.plan.limits import described

    loaded = plain_plan(plan_name, overrides)
    if as_json:
        found = {
            "digest": plan_digest(loaded),
            "plan": json.loads(freeze(loaded)),
            "limits": described(loaded.deadline),
        }
        emit(found, as_json=True)
        return
    click.echo(f"# digest: {plan_digest(loaded)}")
    click.echo(plan_text(loaded), nl=False)
    for key, limit in described(loaded.deadline).items():
        click.echo(f"# {key} is left out: {limit}")


@plan.command()
@click.argument("plan_name", metavar="PLAN", shell_complete=complete_plans)
@click.option("-o", "--output", type=FILE, help="The file to write.  [default: standard output]")
@overrides_option
@json_option
def freeze(plan_name: str, output: Path | None, overrides: tuple[str, ...], *, as_json: bool) -> None:
    """Write the canonical form of a plan, whose BLAKE3 digest identifies it; a .json file is read back as PLAN.

    Example: fx plan freeze plan.yaml -s seed=1 -o plan.json
    """
    from openfl_like.cli.plan_file import plain_plan
    from openfl_like.plan.digest import freeze as frozen
    from openfl_like.plan.digest import plan_digest

    check_output(output)
    loaded = plain_plan(plan_name, overrides)
    data = frozen(loaded)
    told: dict[str, object] = {"digest": plan_digest(loaded)}
    if output is not None:
        write_file(output, data)
        told |= file_facts(output)
    elif as_json:
        told["plan"] = json.loads(data)
    else:
        click.echo(data, nl=False)
    tell(f"digest: {told['digest']}", told, as_json=as_json)


@plan.command()
@click.argument("first", metavar="PLAN", shell_complete=complete_plans)
@click.argument("second", metavar="OTHER", shell_complete=complete_plans)
@json_option
def diff(first: str, second: str, *, as_json: bool) -> None:
    """List the keys in which two plans differ, defaults included; the workspace's files are not looked at.

    Example: fx plan diff plan.yaml other.yaml
    """
    from openfl_like.cli.plan_file import plain_plan
    from openfl_like.plan.difference import differences
    from openfl_like.plan.digest import plan_digest

    one, other = plain_plan(first), plain_plan(second)
    rows: list[dict[str, object]] = [
        {"key": item.key, first: item.first, second: item.second}
        if not as_json
        else {"key": item.key, "first": item.first, "second": item.second}
        for item in differences(one, other)
    ]
    if as_json:
        digests = {"first": plan_digest(one), "second": plan_digest(other)}
        emit({"equal": not rows, "digests": digests, "differences": rows}, as_json=True)
    elif rows:
        emit(rows, as_json=False)
    else:
        say(f"the plans are the same: {plan_digest(one)}")


@plan.command()
@click.argument("plan_name", metavar="PLAN", shell_complete=complete_plans)
@click.option("--shard", type=FILE, help="A site's shard.yaml to measure with.  [default: the first of shards/]")
@click.option("--sites", type=click.IntRange(min=1), help="How many sites there are.  [default: as the plan says]")
@overrides_option
@json_option
def estimate(
    plan_name: str, shard: Path | None, sites: int | None, overrides: tuple[str, ...], *, as_json: bool
) -> None:
    """Tell what a plan takes: bytes in a round, memory of each role, disk.

    The workspace's code makes its initial model here, and trains and evaluates once on one shard, in a process of its
    own. Each figure says whether it is exact, measured in that, or estimated.

    Example: fx plan estimate plan.yaml --sites 40
    """
    import asyncio
    import tempfile
    from dataclasses import asdict

    from openfl_like.authoring.estimate import figures, measure
    from openfl_like.authoring.models import first_shard
    from openfl_like.federation.parts.source import WorkspaceParts
    from openfl_like.plan.load import load_plan, workspace_of
    from openfl_like.plan.workspace import find_plan, shards_in

    path = find_plan(plan_name)
    loaded = load_plan(path, overrides)
    workspace = workspace_of(path, loaded)
    made = loaded.simulation.sites
    here = len(shards_in(workspace)) if made is None else made.count
    count = sites or len(loaded.admission.collaborators) or (here if shard is None else 1) or 1
    with tempfile.TemporaryDirectory(prefix="fx-estimate-") as scratch, tempfile.TemporaryDirectory() as folder:
        measured_with = shard or first_shard(workspace, loaded, Path(folder))
        sizes = asyncio.run(measure(loaded, workspace, measured_with, Path(scratch)))
    found = figures(loaded, sizes, count, WorkspaceParts(workspace))
    if as_json:
        told = "simulation.sites" if measured_with.is_relative_to(folder) else str(measured_with)
        emit({"sites": count, "shard": told, "figures": [asdict(item) for item in found]}, as_json=True)
        return
    rows = [
        {"figure": item.name, "size": _size(item.size_bytes), "how": item.kind, "meaning": item.meaning}
        for item in found
    ]
    emit(rows, as_json=False, title=f"{loaded.name} with {count} sites")


@plan.command()
@click.argument("kind", required=False)
@click.argument("name", required=False)
@json_option
def plugins(kind: str | None, name: str | None, *, as_json: bool) -> None:
    """List what plans and settings can name: every kind of part, or one KIND, or one NAME of it with all it says.

    Parts of installed packages are listed with the package that brings them; the others come with the platform.

    Example: fx plan plugins selector
    """
    from dataclasses import asdict

    from openfl_like.authoring.plugins import find_plugin, plugins_of
    from openfl_like.cli.output.plugins import show_kinds, show_plugin, show_plugins
    from openfl_like.registry import BUILTIN

    if kind is not None and name is not None:
        found = [find_plugin(kind, name)]
    else:
        found = [plugin for each in ([kind] if kind is not None else BUILTIN) for plugin in plugins_of(each)]
    if as_json:
        emit([asdict(plugin) for plugin in found], as_json=True)
    elif kind is None:
        show_kinds(found)
    elif name is None:
        show_plugins(found)
    else:
        show_plugin(found[0])


@plan.command()
@click.argument("plan_name", metavar="PLAN", shell_complete=complete_plans)
@click.option("--picture", type=FILE, help="Draw what each site has into this file: .png, .svg or .pdf.")
@click.option("--shards", type=FOLDER, help="Write the shard.yaml of each site into this folder.")
@overrides_option
@json_option
def sites(
    plan_name: str, picture: Path | None, shards: Path | None, overrides: tuple[str, ...], *, as_json: bool
) -> None:
    """Show what each site has that a plan makes from one data set.

    It is the plan's simulation.sites that says how they are made; nothing is trained.

    Example: fx plan sites digits_dirichlet -s simulation.sites.count=10 --picture sites.png
    """
    from dataclasses import asdict

    from openfl_like.cli.output.sites import draw_sites, facts_of, rows_of, write_shards
    from openfl_like.cli.plan_file import read_plan
    from openfl_like.data.made_sites import make_sites
    from openfl_like.errors import UsageError

    check_output(picture)
    loaded, workspace = read_plan(Path(plan_name), None, overrides)
    made = make_sites(loaded, workspace)
    if made is None:
        cure = "write simulation.sites, as in the plan digits_dirichlet"
        raise UsageError("the plan makes no sites: each has a shard file of its own", place=plan_name, cure=cure)
    if picture is not None:
        draw_sites(made, picture)
        say(f"the picture is in {picture}")
    if shards is not None:
        say(f"{write_shards(made, shards)} shard files are in {shards}")
    if as_json:
        each = [asdict(one) for one in facts_of(made)]
        emit({"count": len(each), **made.distribution.facts, "sites": each}, as_json=True)
    else:
        put(made.summary)
        emit(rows_of(made), as_json=False)


def _size(size: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.4g} GB"
