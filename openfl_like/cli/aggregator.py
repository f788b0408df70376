"""``fx aggregator``: one experiment, by hand or as the Director's child."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from openfl_like.cli.experiment.progress import Screen
from openfl_like.cli.options import FILE, FOLDER, HELP, WrittenAddress, overrides_option
from openfl_like.cli.output.console import emit_line, json_option, say

if TYPE_CHECKING:
    from openfl_like.events.bus import EventBus
    from openfl_like.federation.parties import Outcome
    from openfl_like.services.aggregator.service import AggregatorArguments


DATA_PORT_HELP = "Port for large files; 0 takes a free one.  [default: the plan's; a free one with --listen]"


@click.group(context_settings=HELP)
def aggregator() -> None:
    """Run the Aggregator of one experiment; a Director does the same for you.

    Example: fx aggregator start -p plan.yaml
    """


@aggregator.command()
@click.option("-p", "--plan", "plan_file", type=FILE, default=Path("plan.yaml"), show_default=True, help="The plan.")
@click.option("-e", "--experiment", help="Id of the experiment.  [default: the plan's name]")
@click.option("-l", "--listen", type=WrittenAddress(0), help="HOST:PORT.  [default: the plan's network settings]")
@click.option("--data-port", type=click.IntRange(0, 65535), help=DATA_PORT_HELP)
@click.option("--no-data-port", is_flag=True, help="Carry large files over the port of --listen, which is slower.")
@click.option("--certificates", type=FOLDER, help="Folder of its certificate.  [default: certs/aggregator/EXPERIMENT]")
@click.option("--workspace", type=FOLDER, help="Where the plan's code is.  [default: as the plan says]")
@click.option("--directory", type=FOLDER, help="Where the record goes.  [default: experiments/EXPERIMENT]")
@click.option("--expect", multiple=True, metavar="NAME", help="A collaborator to wait for; may be repeated.")
@click.option(
    "--revocations", type=FILE, help="The site CA's signed list of what was revoked; read again when it changes."
)
@click.option("--code", type=click.Choice(["here", "referee", "refused"]), default="here", hidden=True)
@click.option("--referee-limits", type=(float, float, int), metavar="DECISION_S BLOCK_S MEMORY_MB", hidden=True)
@click.option("--with-parent", is_flag=True, hidden=True, help="End when standard input is closed.")
@overrides_option
@json_option
def start(
    plan_file: Path,
    experiment: str | None,
    listen: str | None,
    data_port: int | None,
    certificates: Path | None,
    workspace: Path | None,
    directory: Path | None,
    expect: tuple[str, ...],
    revocations: Path | None,
    code: str,
    referee_limits: tuple[float, float, int] | None,
    overrides: tuple[str, ...],
    *,
    no_data_port: bool,
    with_parent: bool,
    as_json: bool,
) -> None:
    """Start the Aggregator; it ends with its experiment, with exit code 0 if that FINISHED.

    Example: fx aggregator start -p plan.yaml
    """
    from openfl_like.cli.plan_file import read_plan
    from openfl_like.pki.files import load_credentials
    from openfl_like.plan.address import joined_address
    from openfl_like.processes.referee.limits import USUAL, RefereeLimits
    from openfl_like.services.aggregator.service import AggregatorArguments, WorkspaceCode

    plan, folder = read_plan(plan_file, workspace, overrides)
    name = experiment or plan.name
    network = plan.network.settings
    if data_port is None:
        data_port = 0 if listen else network.data_port
    settings = AggregatorArguments(
        experiment=name,
        plan=plan,
        workspace=folder,
        directory=directory or Path("experiments", name),
        listen=listen or joined_address(network.host, network.port),
        data_port=None if no_data_port else data_port,
        credentials=load_credentials(certificates or Path("certs", "aggregator", name)),
        expected=expect,
        revocations=revocations,
        code=WorkspaceCode(code),
        limits=RefereeLimits(*referee_limits) if referee_limits else USUAL,
    )
    _run(settings, with_parent=with_parent, as_json=as_json)


def _run(settings: "AggregatorArguments", *, with_parent: bool, as_json: bool) -> None:
    import asyncio
    import logging

    from openfl_like.cli.experiment.outcome import raise_unless_finished
    from openfl_like.services.aggregator.service import run_aggregator
    from openfl_like.services.daemon.run import live
    from openfl_like.store.sqlite.stores import SQLITE
    from openfl_like.tasks import TaskOwner

    log = logging.getLogger(__name__)
    screen = Screen(as_json=as_json)
    tasks, following = TaskOwner(), list[asyncio.Task[None]]()

    async def follow(bus: "EventBus") -> None:
        async for event in bus.tail():
            screen.event(event)

    def ready(address: str, bus: "EventBus") -> None:
        if as_json:
            emit_line({"kind": "listening", "address": address})
        else:
            say(f"aggregator of '{settings.experiment}' listening on {address}")
        if with_parent:  # nobody reads its screen; its log goes to the Director's users
            log.info("aggregator of '%s' listening on %s", settings.experiment, address)
        else:
            following.append(tasks.start(follow(bus)))

    async def work() -> "Outcome":
        outcome = await run_aggregator(settings, SQLITE, ready)
        if with_parent:
            log.info("'%s' is %s: %s", settings.experiment, outcome.status, outcome.reason)
        await asyncio.gather(*following)
        return outcome

    raise_unless_finished(asyncio.run(live(work(), parent=with_parent)))
