"""``fx worker``: a host's part in a simulation that runs on another one."""

from pathlib import Path

import click

from openfl_like.cli.options import ADDRESS, FOLDER, HELP
from openfl_like.cli.output.console import json_option, tell


@click.group(context_settings=HELP)
def worker() -> None:
    """Work for a simulation that runs on another host.

    Example: fx worker start -n worker-1 -a lab.example.org:7000
    """


@worker.command()
@click.option("-n", "--name", required=True, help="The worker's name, as in its certificate.")
@click.option("-a", "--address", type=ADDRESS, required=True, help="HOST:PORT of the simulation's --listen.")
@click.option("--certificates", type=FOLDER, help="Folder of its certificate.  [default: certs/collaborator/NAME]")
@click.option("--directory", type=FOLDER, help="Where code, models and updates go.  [default: worker-NAME]")
@click.option("--workers", type=click.IntRange(min=1), help="How many work at once.  [default: one a processor]")
@json_option
def start(
    name: str, address: str, certificates: Path | None, directory: Path | None, workers: int | None, *, as_json: bool
) -> None:
    """Ask the simulation for jobs and do them, in processes of their own, until it has ended.

    The simulation is one with --runtime leased. Its code runs here: what the plan's code needs must be installed. The
    certificate is that of a Collaborator of an experiment that is called as the plan is.

    Example: fx worker start -n worker-1 -a lab.example.org:7000 --workers 4
    """
    import asyncio

    from openfl_like.errors import CredentialError
    from openfl_like.pki.files import load_credentials
    from openfl_like.runtimes.process import processors
    from openfl_like.services.daemon.run import live
    from openfl_like.services.job_worker import JobWorkerArguments, run_job_worker

    credentials = load_credentials(certificates or Path("certs", "collaborator", name))
    if credentials.identity.name != name:
        raise CredentialError(
            f"the certificate is for {credentials.identity.uri}, not for '{name}'",
            cure=f"start it with --name {credentials.identity.name}, or name another folder with --certificates",
        )
    settings = JobWorkerArguments(
        simulation=address,
        credentials=credentials,
        directory=directory or Path(f"worker-{name}"),
        processes=workers or processors(),
    )
    ended = asyncio.run(live(run_job_worker(settings), parent=False))
    reason = "the simulation has ended" if ended else "stopped by a signal"
    tell(f"worker '{name}': {reason}", {"worker": name, "ended": bool(ended), "reason": reason}, as_json=as_json)
