"""``fx experiment metrics``: the metrics of each round, over all sites or of each one."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from openfl_like.cli.experiment.named import id_argument, one_experiment
from openfl_like.cli.options import director_options
from openfl_like.cli.output.console import emit, json_option, print_table

if TYPE_CHECKING:
    from openfl_like.federation.history.metrics import MetricRecord


@click.command()
@id_argument
@click.option(
    "--per-site", is_flag=True, help="What each site reported, by task, instead of the values over all sites."
)
@click.option("--csv", "as_csv", is_flag=True, help="One value a line, with a heading, for spreadsheets.")
@director_options
@json_option
def metrics(
    experiment_id: str, director: str, certificates: Path | None, *, per_site: bool, as_csv: bool, as_json: bool
) -> None:
    """Print the metrics of each finished round, while the experiment runs, too.

    Example: fx experiment metrics heart_disease-1a2b3c4d

    Example: fx experiment metrics heart_disease-1a2b3c4d --per-site --csv > metrics.csv
    """
    from dataclasses import asdict

    from openfl_like.errors import UsageError

    if as_csv and as_json:
        raise UsageError("--csv and --json exclude each other", cure="leave one of them out")
    with one_experiment(experiment_id, director, certificates) as (federation, found_id):
        records = federation.ask(lambda client: client.experiments.metrics(found_id, per_site=per_site))
    if as_csv:
        _print_csv(records)
    elif as_json:
        emit([asdict(record) for record in records], as_json=True)
    else:
        print_table(table_of(records, per_site=per_site), "metrics")


def table_of(records: "Sequence[MetricRecord]", *, per_site: bool) -> list[dict[str, object]]:
    """Return a row for each round, or for each round and site, with a column for each metric."""
    columns = dict.fromkeys(_column(record) for record in records)
    rows: dict[tuple[int, str], dict[str, object]] = {}
    for record in records:
        head: dict[str, object] = {"round": record.round} | ({"site": record.site} if per_site else {})
        row = rows.setdefault((record.round, record.site), {**head, **dict.fromkeys(columns)})
        row[_column(record)] = record.value
    return list(rows.values())


def _column(record: "MetricRecord") -> str:
    return f"{record.task} {record.metric}" if record.task else record.metric


def _print_csv(records: "Sequence[MetricRecord]") -> None:
    from dataclasses import asdict, fields

    from openfl_like.cli.output.spreadsheet import print_csv
    from openfl_like.federation.history.metrics import MetricRecord

    print_csv([item.name for item in fields(MetricRecord)], map(asdict, records))
