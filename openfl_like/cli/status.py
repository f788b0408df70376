"""``fx status``: one look at the whole federation."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from openfl_like.cli.experiment.outcome import reason_of
from openfl_like.cli.options import HELP, director_options, own_certificates
from openfl_like.cli.output.colours import BAD, ODD
from openfl_like.cli.output.console import clock, emit, json_option, put

if TYPE_CHECKING:
    from openfl_like.api.overview import Overview


@click.command(context_settings=HELP)
@director_options
@json_option
def status(director: str, certificates: Path | None, *, as_json: bool) -> None:
    """Look at the whole federation: the Director's health, envoys, experiments, certificates that end soon.

    Experiments that have ended are shown for a day. The exit code is 0 if the Director answered, however it is.

    Example: fx status -d director.example.org:50050
    """
    import time

    from openfl_like.api.federation import Federation
    from openfl_like.api.overview import overview

    folder = own_certificates(certificates, "user")
    with Federation(director, folder) as federation:
        found = overview(federation, time.time())
    ends = (*found.director.warnings, *_own_warnings(folder))
    if as_json:
        emit(_fields(found, director, ends), as_json=True)
    else:
        _show(found, director, ends)


def _own_warnings(folder: Path) -> tuple[str, ...]:
    """What is about to end of the user's own certificate; the authorities are in the Director's warnings."""
    from datetime import UTC, datetime

    from openfl_like.pki.files import load_credentials
    from openfl_like.pki.lifetime import warnings

    credentials = load_credentials(folder)
    own = f"the certificate of {credentials.identity.uri}"
    return tuple(text for what, _, text in warnings(credentials, datetime.now(UTC)) if what == own)


def _fields(found: "Overview", address: str, ends: tuple[str, ...]) -> dict[str, object]:
    from dataclasses import asdict

    director = found.director
    health = {
        "address": address,
        "health": director.health,
        "version": director.version,
        "places": director.places,
    }
    return {
        "director": {**health, "problems": list(director.problems)},
        "ends": list(ends),
        "envoys": {"connected": [asdict(one) for one in found.connected], "away": [asdict(one) for one in found.away]},
        "experiments": {
            "queued": [asdict(item) for item in found.queued],
            "running": [asdict(item) for item in found.running],
            "ended": [asdict(item) for item in found.ended],
        },
    }


def _show(found: "Overview", address: str, ends: tuple[str, ...]) -> None:
    from openfl_like.cli.output.machine import tell_problems

    put(f"director at {address}: {found.director.health}, version {found.director.version}")
    for text in found.director.problems:
        put(f"problem: {text}", style=BAD, hang=9)
    for text in ends:
        put(f"warning: {text}", style=ODD, hang=9)
    put("")
    envoys: list[dict[str, object]] = [
        {
            "envoy": one.name,
            "state": "revoked" if one.revoked else state,
            "version": one.version,
            "last seen": clock(one.last_seen),
            "running": list(one.running),
        }
        for state, records in (("connected", found.connected), ("away", found.away))
        for one in records
    ]
    emit(envoys, as_json=False, title=f"envoys: {len(found.connected)} connected, {len(found.away)} away")
    tell_problems((*found.connected, *found.away))
    put("")
    experiments: list[dict[str, object]] = [
        {
            "experiment": item.id,
            "status": item.standing,
            "owner": item.owner,
            "since": clock(item.ended_at or item.started_at or item.submitted_at),
            "reason": reason_of(item),
        }
        for item in (*found.running, *found.queued, *found.ended)
    ]
    numbers = f"{len(found.running)} running, {len(found.queued)} queued, {len(found.ended)} ended within a day"
    emit(experiments, as_json=False, title=f"experiments: {numbers}")
