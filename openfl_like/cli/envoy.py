"""``fx envoy``: a site's standing presence."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from openfl_like.cli.options import FOLDER, HELP, director_options, own_certificates, site_options
from openfl_like.cli.output.console import emit, emit_line, json_option, print_table, say
from openfl_like.cli.site_history import history

if TYPE_CHECKING:
    from collections.abc import Sequence

    from openfl_like.federation.parties import ShardFacts


@click.group(context_settings=HELP)
def envoy() -> None:
    """Run a site's standing presence, or list the envoys a Director knows.

    Example: fx envoy list -d director.example.org:50050
    """


envoy.add_command(history)


@envoy.command()
@site_options
@click.option("--directory", type=FOLDER, default=None, help="Where workspaces and logs go.  [default: envoy-NAME]")
@click.option(
    "--spare-worker/--no-spare-worker",
    default=True,
    show_default=True,
    help="Have a worker wait with the imports of the last experiment done: the next one begins sooner.",
)
@click.option(
    "--keep",
    type=click.IntRange(1),
    metavar="N",
    help="Keep the last N experiments that have ended, in the site's record and on its disk.  [default: all]",
)
@click.option("--with-parent", is_flag=True, hidden=True, help="End when standard input is closed.")
@json_option
def start(
    shard_configs: tuple[Path, ...],
    name: str,
    director: str,
    certificates: Path | None,
    directory: Path | None,
    *,
    spare_worker: bool,
    keep: int | None,
    with_parent: bool,
    as_json: bool,
) -> None:
    """Start the Envoy of this site; it runs until it is sent SIGTERM or Ctrl-C.

    Example: fx envoy start -n cleveland -sc shard.yaml -d director.example.org:50050

    Example: fx envoy start -n cleveland -sc tables.yaml -sc pictures.yaml
    """
    import asyncio

    from openfl_like.errors import CredentialError
    from openfl_like.pki.files import load_credentials
    from openfl_like.services.daemon.run import live
    from openfl_like.services.envoy.service import EnvoySettings, run_envoy
    from openfl_like.store.sqlite.stores import SQLITE

    folder = certificates or Path("certs", "envoy", name)
    credentials = load_credentials(folder)
    if credentials.identity.name != name:
        raise CredentialError(
            f"the certificate is for {credentials.identity.uri}, not for '{name}'",
            cure=f"start it with --name {credentials.identity.name}, or name another folder with --certificates",
        )
    work, (first, *more) = directory or Path(f"envoy-{name}"), shard_configs
    settings = EnvoySettings(name, director, first, credentials, work, folder, spare_worker, tuple(more), keep)

    def ready(facts: "Sequence[ShardFacts]") -> None:
        if as_json:
            told = {"sample_shape": facts[0].sample_shape, "interfaces": [one.interface for one in facts]}
            emit_line({"kind": "attending", "envoy": name, "director": director, **told})
        else:
            say(f"envoy '{name}' attends {director}: {'; '.join(one.description for one in facts)}")

    asyncio.run(live(run_envoy(settings, SQLITE, ready), parent=with_parent))


@envoy.command(name="list")
@director_options
@json_option
def list_(director: str, certificates: Path | None, *, as_json: bool) -> None:
    """List the envoys a Director knows, with the state of their machines, and why nothing can run at one.

    Example: fx envoy list -d localhost:50050 --certificates certs/user/alice
    """
    import time
    from dataclasses import asdict

    from openfl_like.api.federation import Federation
    from openfl_like.cli.output.machine import filled, gpus, online, percent, running, samples, tell_problems
    from openfl_like.federation.parties import EnvoyRecord

    with Federation(director, own_certificates(certificates, "user")) as federation:
        records = federation.envoys()

    now = time.time()
    with_gpus = any(record.devices.gpus for record in records)

    def row(record: EnvoyRecord) -> dict[str, object]:
        devices = record.devices
        row: dict[str, object] = {
            "envoy": record.name,
            "online": online(record, now),
            "version": record.version,
            "samples": samples(record),
            "cpu": percent(devices.cpu_percent),
            "ram": filled(devices.memory_used_bytes, devices.memory_total_bytes),
        }
        return row | ({"gpus": gpus(record)} if with_gpus else {}) | {"running": running(record)}

    emit([asdict(r) for r in records] if as_json else [row(r) for r in records], as_json=as_json, title="envoys")
    if not as_json:
        tell_problems(records)


@envoy.command()
@click.argument("name")
@director_options
@json_option
def show(name: str, director: str, certificates: Path | None, *, as_json: bool) -> None:
    """Show one envoy: its session, certificate, shard, machine, and how that was over the last hour and day.

    Example: fx envoy show cleveland -d localhost:50050
    """
    import time
    from dataclasses import asdict

    from openfl_like.api.federation import Federation
    from openfl_like.cli.output.machine import course, summary

    with Federation(director, own_certificates(certificates, "user")) as federation:
        detail = federation.envoy(name)
    if as_json:
        emit(asdict(detail), as_json=True)
        return
    emit(summary(detail, time.time()), as_json=False)
    for title, series in zip(("the last hour", "the last day"), detail.history, strict=False):
        rows = course(series)
        if rows and (len(series.times) > 1 or series is detail.history[0]):
            click.echo()
            print_table(rows, f"{title}, in means of {series.slot_s:g} s")
