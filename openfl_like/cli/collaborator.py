"""``fx collaborator``: one site's part in one experiment, by hand or as the Envoy's child."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from openfl_like.cli.options import ADDRESS, FILE, FOLDER, HELP, overrides_option
from openfl_like.cli.output.console import json_option, tell

if TYPE_CHECKING:
    from openfl_like.services.collaborator import CollaboratorArguments


@click.group(context_settings=HELP)
def collaborator() -> None:
    """Take part in one experiment; an Envoy does the same for you.

    Example: fx collaborator start -p plan.yaml -n cleveland
    """


@collaborator.command()
@click.option("-p", "--plan", "plan_file", type=FILE, default=Path("plan.yaml"), show_default=True, help="The plan.")
@click.option("-n", "--name", required=True, help="The site's name, as in its certificate.")
@click.option("-e", "--experiment", help="Id of the experiment.  [default: the plan's name]")
@click.option("-a", "--aggregator", type=ADDRESS, help="HOST:PORT of it.  [default: the plan's network settings]")
@click.option("-sc", "--shard-config", type=FILE, help="The site's data.  [default: shards/NAME.yaml in the workspace]")
@click.option("--certificates", type=FOLDER, help="Folder of its certificate.  [default: certs/collaborator/NAME]")
@click.option("--workspace", type=FOLDER, help="Where the plan's code is.  [default: as the plan says]")
@click.option("--directory", type=FOLDER, help="Where models and updates go.  [default: collaborator-NAME]")
@click.option("--python", type=FILE, help="Interpreter of the worker.  [default: the one of this command]")
@click.option("--device", help="Device of the worker: cpu, cuda:0 …  [default: by the plan and shard.yaml]")
@click.option("--with-parent", is_flag=True, hidden=True, help="End when standard input is closed.")
@overrides_option
@json_option
def start(
    plan_file: Path,
    name: str,
    experiment: str | None,
    aggregator: str | None,
    shard_config: Path | None,
    certificates: Path | None,
    workspace: Path | None,
    directory: Path | None,
    python: Path | None,
    device: str | None,
    overrides: tuple[str, ...],
    *,
    with_parent: bool,
    as_json: bool,
) -> None:
    """Start the Collaborator; it ends with its experiment.

    Example: fx collaborator start -p plan.yaml -n cleveland
    """
    from openfl_like.cli.plan_file import read_plan
    from openfl_like.federation.devices.placement import check_device
    from openfl_like.pki.files import load_credentials
    from openfl_like.plan.address import joined_address
    from openfl_like.services.collaborator import CollaboratorArguments

    plan, code = read_plan(plan_file, workspace, overrides)
    network = plan.network.settings
    settings = CollaboratorArguments(
        experiment=experiment or plan.name,
        plan=plan,
        workspace=code,
        shard=shard_config or code / "shards" / f"{name}.yaml",
        aggregator=aggregator or joined_address(network.host, network.port),
        credentials=load_credentials(certificates or Path("certs", "collaborator", name)),
        directory=directory or Path(f"collaborator-{name}"),
        supervised=with_parent,
        python=python.absolute() if python is not None else None,
        device=check_device(device) if device is not None else None,
    )
    _run(settings, name, with_parent=with_parent, as_json=as_json)


def _run(settings: "CollaboratorArguments", name: str, *, with_parent: bool, as_json: bool) -> None:
    import asyncio

    from openfl_like.processes.spare_worker import SPARE_WORKER
    from openfl_like.services.collaborator import run_collaborator
    from openfl_like.services.daemon.run import live

    with asyncio.Runner(loop_factory=SPARE_WORKER.loop) as runner:
        dismissal = runner.run(live(run_collaborator(settings), parent=with_parent))
    status, reason = (dismissal.status, dismissal.reason) if dismissal is not None else ("", "stopped by a signal")
    if dismissal is not None or as_json:
        told = {"collaborator": name, "status": status, "reason": reason}
        tell(f"collaborator '{name}': {status}: {reason}", told, as_json=as_json)
