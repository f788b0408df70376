"""``fx simulate``: a plan with all its sites on one machine."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from openfl_like.cli.experiment.progress import Screen
from openfl_like.cli.options import (
    FILE,
    FOLDER,
    HELP,
    check_output,
    complete_plans,
    initial_model_option,
    named_files,
    overrides_option,
)
from openfl_like.cli.output.console import emit, emit_line, json_option, put
from openfl_like.cli.output.packing import tell_what_stays

if TYPE_CHECKING:
    from openfl_like.services.simulation import Simulation


@click.command(context_settings=HELP)
@click.argument("plan_file", metavar="PLAN", type=FILE, shell_complete=complete_plans)
@click.option("--shard", "shards", multiple=True, metavar="NAME=FILE", help="A simulated site; may be repeated.")
@click.option(
    "--directory",
    type=FOLDER,
    help="Where the record goes; an interrupted run there goes on, with the same plan, code and data.",
)
@click.option("-o", "--output", type=FILE, help="Write the last model here.")
@click.option(
    "--runtime",
    default="local",
    show_default=True,
    help="Where tasks run: local, one site after the other in this process; process, each site in one of its own.",
)
@click.option("--sandbox", is_flag=True, help="Confine each site's process as at a site; with --runtime process.")
@initial_model_option
@overrides_option
@json_option
def simulate(
    plan_file: Path,
    shards: tuple[str, ...],
    directory: Path | None,
    output: Path | None,
    runtime: str,
    initial_model: Path | None,
    overrides: tuple[str, ...],
    *,
    sandbox: bool,
    as_json: bool,
) -> None:
    """Run a plan with all its sites on this machine; the final model has the same bytes as in the real federation.

    The sites are those of shards/*.yaml in the plan's workspace. Workspaces that no site could get are refused.

    Example: fx simulate plans/digits_fedavg.yaml -s aggregator.settings.rounds_to_train=3
    """
    import asyncio
    import shutil
    import tempfile

    from openfl_like.authoring.baselines import load_shards
    from openfl_like.authoring.models import prepare_initial_model
    from openfl_like.cli.experiment.outcome import raise_unless_finished
    from openfl_like.cli.plan_file import read_plan
    from openfl_like.services.simulation import Simulation, SimulationResult, SimulationSettings, shards_of
    from openfl_like.store.files import ExperimentFiles
    from openfl_like.store.sqlite.stores import SQLITE
    from openfl_like.tasks import TaskOwner

    check_output(output)
    _check_sandbox(runtime, sandbox=sandbox)
    plan, workspace = read_plan(plan_file, None, overrides)
    files = named_files(shards, "--shard") or shards_of(workspace, plan)
    sites = load_shards(files)
    screen = Screen(as_json=as_json)

    async def run(simulation: Simulation) -> SimulationResult:
        running = TaskOwner().start(simulation.run())
        running.add_done_callback(lambda _: simulation.bus.close())
        async for event in simulation.bus.tail():
            screen.event(event)
        return await running

    with tempfile.TemporaryDirectory(prefix="fx-simulate-") as scratch:
        models, record = Path(scratch), directory or Path(scratch) / "record"
        if initial_model is not None:
            plan = prepare_initial_model(initial_model, plan, workspace, models)
        settings = SimulationSettings(
            plan,
            workspace,
            sites,
            record,
            models if initial_model else None,
            files=files,
            runtime=runtime,
            kept=directory is not None,
            sandbox=sandbox,
        )
        with Simulation(settings, SQLITE) as simulation:
            _tell_beginning(simulation, as_json=as_json)
            result = asyncio.run(run(simulation))
        raise_unless_finished(result.outcome)
        last = result.versions[-1]
        if output is not None:
            shutil.copyfile(ExperimentFiles(record).model(last.version.round), output)
    fields: dict[str, object] = {
        "status": result.outcome.status.value,
        "reason": result.outcome.reason,
        "rounds": last.version.round,
        "metrics": last.version.metrics,
        "sha256": last.sha256,
    }
    if as_json:
        emit_line({"kind": "result", "had_ended": simulation.had_ended, **fields})
    else:
        emit(fields, as_json=False)


def _tell_beginning(simulation: "Simulation", *, as_json: bool) -> None:
    tell_what_stays(simulation.packing)
    if simulation.had_ended and not as_json:
        put("the record is complete: nothing is trained, this is its result")


def _check_sandbox(runtime: str, *, sandbox: bool) -> None:
    from openfl_like.errors import UsageError

    if sandbox and runtime == "local":
        raise UsageError(
            "--sandbox: in the runtime 'local' all sites work in this very process", cure="add --runtime process"
        )
