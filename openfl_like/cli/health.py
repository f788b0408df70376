"""``fx health``: whether the daemons that work in a folder are alive, for supervisors."""

from pathlib import Path

import click

from openfl_like.cli.options import FOLDER, HELP
from openfl_like.cli.output.console import emit, json_option


@click.command(context_settings=HELP)
@click.argument("folder", type=FOLDER, default=Path())
@click.option("--ready", is_flag=True, help="They must be able to work, too: listen, or be attended to.")
@json_option
def health(folder: Path, *, ready: bool, as_json: bool) -> None:
    """Say whether the daemons that work in FOLDER, or directly below it, are alive; the exit code is 0 if all are.

    For health checks of containers and probes of clusters. Only a file of each daemon is looked at, no certificate is
    needed and nobody is connected to. A site whose Director is away is alive, but not ready.

    Example: fx health --ready
    """
    from openfl_like.errors import UnreachableError
    from openfl_like.services.daemon.liveness import STALE_S, beats

    found = beats(folder)
    if not found:
        raise UnreachableError(
            "no daemon works here, or it has not begun yet", place=str(folder.absolute()), cure="look at its log"
        )
    rows = [
        {"directory": str(one.directory), "role": one.role, "alive": one.alive, "ready": one.alive and one.ready}
        for one in found
    ]
    if not as_json:  # that has one document: these rows, or the error
        emit(rows, as_json=False)
    for one in found:
        if not one.alive:
            message = f"the {one.role} has not said for {STALE_S:g} s that it is alive"
            raise UnreachableError(message, place=str(one.directory), cure="it has ended or hangs; look at its log")
        if ready and not one.ready:
            cure = "'fx doctor envoy' looks for the reason"
            raise UnreachableError(f"the {one.role} is not connected", place=str(one.directory), cure=cure)
    if as_json:
        emit(rows, as_json=True)
