"""``fx director``: the central node."""

from pathlib import Path

import click

from openfl_like.cli.options import FILE, HELP
from openfl_like.cli.output.console import emit_line, json_option, say


@click.group(context_settings=HELP)
def director() -> None:
    """Run the central node: it keeps the queue and the roster and starts an Aggregator per experiment.

    Example: fx director start -c director.yaml
    """


@director.command()
@click.option("-c", "--config", type=FILE, default=Path("director.yaml"), show_default=True, help="Its settings.")
@click.option("--with-parent", is_flag=True, hidden=True, help="End when standard input is closed.")
@json_option
def start(config: Path, *, with_parent: bool, as_json: bool) -> None:
    """Start the Director; it runs until it is sent SIGTERM or Ctrl-C.

    Example: fx director start -c director.yaml
    """
    import asyncio

    from openfl_like.pki.files import load_credentials
    from openfl_like.services.daemon.run import live
    from openfl_like.services.director.service import run_director
    from openfl_like.services.director.settings import load_director_file
    from openfl_like.store.sqlite.stores import SQLITE

    settings = load_director_file(config)
    credentials = load_credentials(settings.certificates)

    def ready(address: str) -> None:
        if as_json:
            emit_line({"kind": "listening", "address": address})
        else:
            say(f"director of '{credentials.identity.federation}' listening on {address}")

    asyncio.run(live(run_director(settings, credentials, SQLITE, ready), parent=with_parent))
