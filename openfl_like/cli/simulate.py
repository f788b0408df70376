"""``fx simulate``: a plan with all its sites on one machine."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from openfl_like.cli.options import (
    FILE,
    FOLDER,
    HELP,
    WrittenAddress,
    check_dry_run,
    check_model_output,
    complete_plans,
    dry_run_options,
    initial_model_option,
    named_files,
    overrides_option,
)
from openfl_like.cli.output.console import json_option, say

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from openfl_like.runtimes.sites import Listening


@click.command(context_settings=HELP)
@click.argument("plan_file", metavar="PLAN", type=FILE, shell_complete=complete_plans)
@click.option("--shard", "shards", multiple=True, metavar="NAME=FILE", help="A simulated site; may be repeated.")
@click.option(
    "--directory",
    type=FOLDER,
    help="Where the record goes; an interrupted run there goes on, with the same plan, code and data.",
)
@click.option("--results", type=FOLDER, help="Where the plan's callbacks write.  [default: results in --directory]")
@click.option("-o", "--output", type=FILE, help="Write the last model here.")
@click.option(
    "--runtime",
    default="local",
    show_default=True,
    help="Where tasks run: local, one site after the other in this process; batched, many sites' PyTorch models at "
    "once in this process; process, on all processors; mpi, in the other ranks that mpiexec has started; ray, on a "
    "Ray cluster (RAY_ADDRESS), or Ray on this machine; leased, on other hosts ('fx worker').",
)
@click.option(
    "--workers", type=click.IntRange(min=1), help="How many work at once; with --runtime process, ray or leased."
)
@click.option(
    "--worker-cpus",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="Processors that a worker takes; with --runtime ray.",
)
@click.option(
    "--worker-gpus",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="GPUs that a worker takes, or a part of one; with --runtime ray.",
)
@click.option("-l", "--listen", type=WrittenAddress(0), help="HOST:PORT where workers find it; with --runtime leased.")
@click.option(
    "--certificates",
    type=FOLDER,
    help="Folder of its certificate; with --runtime leased.  [default: certs/aggregator/NAME, the plan's]",
)
@click.option("--pdb", "debugger", is_flag=True, help="Open Python's debugger where code raises; with --runtime local.")
@click.option("--sandbox", is_flag=True, help="Confine each site's process as at a site; with --runtime process.")
@dry_run_options
@initial_model_option
@overrides_option
@json_option
def simulate(
    plan_file: Path,
    shards: tuple[str, ...],
    directory: Path | None,
    results: Path | None,
    output: Path | None,
    runtime: str,
    workers: int | None,
    worker_cpus: float,
    worker_gpus: float,
    listen: str | None,
    certificates: Path | None,
    limit_s: float | None,
    initial_model: Path | None,
    overrides: tuple[str, ...],
    *,
    dry: bool,
    debugger: bool,
    sandbox: bool,
    as_json: bool,
) -> int:
    """Run a plan with all its sites on this machine; the final model has the same bytes as in the real federation.

    The sites are those that --shard names, or else those that the plan's simulation.sites makes from one data set, or
    else those of shards/*.yaml in the plan's workspace. Workspaces that no site could get are refused.
    With --runtime batched the model has the numbers of the others to within 1e-5, not their bytes.

    Example: fx simulate plans/digits_fedavg.yaml -s aggregator.settings.rounds_to_train=3

    Example: mpiexec -n 5 fx simulate plans/digits_fedavg.yaml --runtime mpi

    Example: fx simulate plans/digits_fedavg.yaml --runtime ray --workers 2

    Example: fx simulate digits_dirichlet --runtime leased --listen 0.0.0.0:7000

    Example: fx simulate digits_dirichlet -s simulation.sites.partitioner.settings.alpha=10

    With --dry-run nothing is simulated: the code does two rounds on data that is invented from what the sites' shards
    say of themselves, and every mistake that shows is listed. The exit code is 1 if there is one.

    Example: fx simulate plan.yaml --dry-run
    """
    check_dry_run(dry=dry, limit_s=limit_s)
    if dry:
        from openfl_like.cli.dry_run import simulation_dry_run

        return simulation_dry_run(plan_file, shards, initial_model, overrides, limit_s, as_json=as_json)
    from openfl_like.authoring.models import prepare_initial_model
    from openfl_like.cli.experiment.outcome import raise_unless_finished
    from openfl_like.cli.output.post_mortem import post_mortem
    from openfl_like.cli.plan_file import read_plan
    from openfl_like.cli.simulated import Follower, KeptRecord, results_of, sites_of, tell_result
    from openfl_like.processes.own_end import ended_by_us_alone, terminated_like_interrupted
    from openfl_like.runtimes.sites import WorkerWishes
    from openfl_like.services.simulation import SimulationSettings

    check_model_output(output)
    _check_ranks(runtime)
    _check_processes(runtime, sandbox=sandbox, debugger=debugger)
    with _ranks(runtime) as leading:
        if not leading:
            return 0
        output, directory, results = (
            path and path.absolute() for path in (output, directory, results)
        )  # whatever the code makes of the cwd
        plan, workspace = read_plan(plan_file, None, overrides)
        named = named_files(shards, "--shard")
        follower = Follower(as_json=as_json, wanted=output is not None, bar=not debugger)
        with ended_by_us_alone(), terminated_like_interrupted(), KeptRecord() as scratch:
            models, record = scratch.folder, directory or scratch.folder / "record"
            sites, files = sites_of(plan, workspace, named, record, as_json=as_json)
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
                workers=WorkerWishes(
                    workers, worker_cpus, worker_gpus, _listening(listen, certificates, plan.name, runtime)
                ),
                examine=post_mortem if debugger else None,
                tell=follower.not_batched,
                results=results_of(plan, directory, results),
            )
            try:
                result, had_ended = follower.run(settings)
            except KeyboardInterrupt:
                kept = "what is recorded is kept, and the same command goes on"
                say(f"interrupted: {kept if directory else 'without --directory nothing is kept'}")
                raise
            if output is not None:
                scratch.place(result, record, output)
        if follower.unread is not None:
            raise follower.unread
        tell_result(result, had_ended=had_ended, as_json=as_json)
        if not result.as_simulated:
            raise_unless_finished(result.outcome, seen=follower.screen.end_was_seen)
        return 0


def _listening(address: str | None, certificates: Path | None, name: str, runtime: str) -> "Listening | None":
    """Return where workers of other hosts find the simulation, if they are to."""
    from openfl_like.errors import UsageError
    from openfl_like.pki.files import load_credentials
    from openfl_like.runtimes.sites import Listening

    if runtime != "leased" and (address or certificates):
        raise UsageError("--listen and --certificates are for workers of other hosts", cure="add --runtime leased")
    if address is None:
        return None
    credentials = load_credentials(certificates or Path("certs", "aggregator", name))
    return Listening(address, credentials, _say_where)


def _say_where(place: str) -> None:
    """Say where workers find the simulation; an address that stands for all is none that they can dial."""
    host, _, port = place.rpartition(":")
    dialled = f"HOST:{port}" if host in {"0.0.0.0", "[::]"} else place  # noqa: S104 - nothing is bound here
    say(f"workers find the simulation at {place}: fx worker start -n NAME -a {dialled}")


def _ranks(runtime: str) -> "AbstractContextManager[bool]":
    """Join the other ranks of an MPI run, which work for the leading one; without MPI there is nobody else."""
    from contextlib import nullcontext

    if runtime != "mpi":
        return nullcontext(True)  # noqa: FBT003 (it leads)
    from openfl_like.runtimes.mpi import ranks

    return ranks()


def _check_ranks(runtime: str) -> None:
    """Refuse to run the whole of a simulation in each rank."""
    from os import environ

    from openfl_like.errors import UsageError

    counts = [int(environ[name]) for name in ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE") if environ.get(name, "").isdecimal()]
    if runtime != "mpi" and max(counts, default=1) > 1:
        raise UsageError(
            f"mpiexec has started {max(counts)} of these, and each would run the whole simulation",
            cure="add --runtime mpi, or start it without mpiexec",
        )


def _check_processes(runtime: str, *, sandbox: bool, debugger: bool) -> None:
    """Refuse what needs other processes than the runtime has."""
    from openfl_like.errors import UsageError

    if debugger and runtime != "local":
        raise UsageError("--pdb: the debugger looks into this process", cure="use --runtime local")
    if sandbox and runtime in {"local", "batched"}:
        raise UsageError(
            f"--sandbox: in the runtime '{runtime}' all sites work in this very process",
            cure="add --runtime process",
        )
