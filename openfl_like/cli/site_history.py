"""``fx envoy history``: what ran at this site, for whom, and how it ended; read from the site's own record."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from openfl_like.cli.options import FOLDER
from openfl_like.cli.output.console import clock, emit, json_option, print_table

if TYPE_CHECKING:
    from openfl_like.federation.history.site import SitePart


@click.command()
@click.option("-n", "--name", default="", help="The site's name.")
@click.option("--directory", type=FOLDER, default=None, help="Where its Envoy works.  [default: envoy-NAME]")
@click.option("--csv", "as_csv", is_flag=True, help="A line for each time that tasks were performed, for spreadsheets.")
@json_option
def history(name: str, directory: Path | None, *, as_csv: bool, as_json: bool) -> None:
    """Print what this site took part in: for whom, which tasks in which rounds, and how it ended.

    It reads the Envoy's own record at the site, and asks nobody; the Envoy may run or not.

    Example: fx envoy history -n cleveland

    Example: fx envoy history --directory /var/lib/fx/envoy --csv > history.csv
    """
    from openfl_like.errors import UsageError

    if as_csv and as_json:
        raise UsageError("--csv and --json exclude each other", cure="leave one of them out")
    if directory is None and not name:
        raise UsageError("which site?", cure="name it with --name, or its Envoy's folder with --directory")
    folder = directory or Path(f"envoy-{name}")
    parts, standings = _read(folder)
    if as_csv:
        _print_csv(parts, standings)
    elif as_json:
        emit([_facts(part, standing) for part, standing in zip(parts, standings, strict=True)], as_json=True)
    else:
        rows = [_row(part, standing) for part, standing in zip(parts, standings, strict=True)]
        print_table(rows, "history")
        failures = [row for part in parts for row in _last_failure(part)]
        if failures:
            print_table(failures, "what failed at this site")


def _read(folder: Path) -> "tuple[list[SitePart], list[str]]":
    """Return the parts of the record, with what is noted so far of those that have not ended, and how each stands."""
    from contextlib import closing
    from dataclasses import replace

    from openfl_like.errors import NotFoundError
    from openfl_like.services.daemon.lock import holder
    from openfl_like.services.envoy.record import SiteRecord
    from openfl_like.store.site_files import SiteFiles
    from openfl_like.store.site_journal import notes
    from openfl_like.store.sqlite.site import site_database
    from openfl_like.store.sqlite.stores import SQLITE

    files = SiteFiles(folder)
    if not site_database(files).exists():
        cure = "name the folder with --directory; an Envoy of this version makes the record when it starts"
        raise NotFoundError("there is no record of a site", place=str(folder), cure=cure)
    running = holder(folder) is not None
    with closing(SQLITE.site(files)) as store:
        record, parts = SiteRecord(store, files), store.parts()
    for i, part in enumerate(parts):
        if part.end is None:
            parts[i] = replace(part, performed=notes(record.noted(part.experiment))[0])
    open_one = "running" if running else "no end recorded"
    return parts, [open_one if part.end is None else part.end.value for part in parts]


def _facts(part: "SitePart", standing: str) -> dict[str, object]:
    from dataclasses import asdict

    return {**asdict(part), "standing": standing}


def _row(part: "SitePart", standing: str) -> dict[str, object]:
    from openfl_like.federation.history.site import spans, task_counts

    failed = sum(bool(item.failure) for item in part.performed)
    return {
        "experiment": part.experiment,
        "for": part.identity,
        "began": clock(part.began_at),
        "ended": clock(part.ended_at),
        "rounds": spans([item.round for item in part.performed]),
        "tasks": {**task_counts(part.performed), **({"failed": failed} if failed else {})},
        "end": standing,
        "reason": part.reason,
    }


def _last_failure(part: "SitePart") -> list[dict[str, object]]:
    """Return the newest failure of a part, in the site's own words: `reason` is what the Director was told of it."""
    failed = [item for item in part.performed if item.failure]
    return [
        {"experiment": part.experiment, "round": item.round, "phase": item.phase.value, "failure": item.failure}
        for item in failed[-1:]
    ]


def _print_csv(parts: "Sequence[SitePart]", standings: Sequence[str]) -> None:
    from openfl_like.cli.output.spreadsheet import print_csv, utc

    columns = (
        "number", "experiment", "identity", "bundle", "began_utc", "ended_utc", "standing", "reason",
        "time_utc", "round", "phase", "tasks", "failure",
    )  # fmt: skip
    rows: list[dict[str, object]] = []
    for part, standing in zip(parts, standings, strict=True):
        times = {"began_utc": utc(part.began_at), "ended_utc": utc(part.ended_at)}
        head = {**_facts(part, standing), **times}
        for item in part.performed:
            done = {"time_utc": utc(item.time), "round": item.round, "phase": item.phase.value, "failure": item.failure}
            rows.append({**head, **done, "tasks": " ".join(item.tasks)})
        if not part.performed:
            rows.append(head)
    print_csv(columns, rows)
