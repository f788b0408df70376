"""``fx experiment list``: the experiments that a user may see, and what tells them apart."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from openfl_like.cli.experiment.outcome import reason_of
from openfl_like.cli.options import director_options, own_certificates, tags_option
from openfl_like.cli.output.console import clock, emit, json_option, shown

if TYPE_CHECKING:
    from openfl_like.api.listing import Listed
    from openfl_like.federation.events import ModelVersion
    from openfl_like.federation.parties import ExperimentSummary

MOST_COMPARED = 50
"""The newest ones, of which plan and metrics are asked for; with ``--tag``, all of them are."""
_TELLING = ("tags", "differs", "last", "best")
"""Columns that are left out where no experiment has anything to tell in them."""


@click.command(name="list")
@tags_option("Only those with this tag; given again, those with all of them.")
@director_options
@json_option
def list_(tags: tuple[str, ...], director: str, certificates: Path | None, *, as_json: bool) -> None:
    """List all experiments, oldest first, with their metrics and what their plans differ in.

    Of the newest 50, with --tag of all that have it, DIFFERS names what the first one of the same name has otherwise,
    and LAST and BEST have the metrics.

    Example: fx experiment list --tag sweep
    """
    from openfl_like.api.federation import Federation
    from openfl_like.api.listing import listed

    with Federation(director, own_certificates(certificates, "user")) as federation:
        summaries = federation.experiments()
        asked = [item.id for item in (summaries if tags else summaries[-MOST_COMPARED:])]
        found: Mapping[str, Listed] = federation.ask(lambda client: listed(client, asked)) if asked else {}
    wanted = [item for item in summaries if not tags or (item.id in found and {*tags} <= {*found[item.id].tags})]
    if as_json:
        emit([_fields(item, found.get(item.id)) for item in wanted], as_json=True)
        return
    rows = [_row(item, found.get(item.id)) for item in wanted]
    idle = {name for name in _TELLING if not any(row[name] for row in rows)}
    emit([{name: row[name] for name in row if name not in idle} for row in rows], as_json=False, title="experiments")


def _row(item: "ExperimentSummary", more: "Listed | None") -> dict[str, object]:
    from openfl_like.api.listing import as_overrides

    better = more is not None and more.best is not None and more.best is not more.last
    return {
        "experiment": item.id,
        "status": item.standing,
        "owner": item.owner,
        "submitted": clock(item.submitted_at),
        "tags": more.tags if more else (),
        "differs": as_overrides(more.differs or {}) if more else "",
        "last": _metrics(more.last) if more else "",
        "best": _metrics(more.best) if more and better else "",
        "reason": reason_of(item),
    }


def _metrics(version: "ModelVersion | None") -> str:
    """Tell the metrics of the global model; those of single tasks (``train.loss``) are in the record."""
    if version is None:
        return ""
    plain = {name: value for name, value in version.metrics.items() if "." not in name}
    return f"round {version.round}: {shown(plain)}" if plain else f"round {version.round}"


def _fields(item: "ExperimentSummary", more: "Listed | None") -> dict[str, object]:
    from dataclasses import asdict

    return {**asdict(item), "listed": asdict(more) if more else None}
