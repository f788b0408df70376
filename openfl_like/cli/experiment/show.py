"""``fx experiment show``: one experiment with its models and what its sites reported."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from openfl_like.cli.experiment.metrics import table_of
from openfl_like.cli.experiment.named import id_argument, one_experiment
from openfl_like.cli.experiment.outcome import reason_of, shortfall_text
from openfl_like.cli.options import director_options
from openfl_like.cli.output.colours import ODD
from openfl_like.cli.output.console import clock, emit, json_option, print_table, put

if TYPE_CHECKING:
    from openfl_like.api.evaluations import Matrix
    from openfl_like.federation.callback_end import CallbackEnded
    from openfl_like.federation.history.metrics import MetricRecord
    from openfl_like.federation.history.rounds import RoundRecord
    from openfl_like.federation.parties import ExperimentRecord, PublishedVersion


MOST_JUDGED = 20
"""So many verdicts and rejections are shown."""


@dataclass(frozen=True, slots=True)
class _Shown:
    record: "ExperimentRecord"
    matrix: "Matrix"
    metrics: "Sequence[MetricRecord]"
    rounds: "Sequence[RoundRecord]"
    callbacks: "Sequence[CallbackEnded]"


@click.command()
@id_argument
@director_options
@json_option
def show(experiment_id: str, director: str, certificates: Path | None, *, as_json: bool) -> None:
    """Show one experiment: its models, what each site reported last, and how it found each model that was given.

    Example: fx experiment show heart_disease-1a2b3c4d
    """
    from dataclasses import asdict

    from openfl_like.api.evaluations import matrix
    from openfl_like.federation.announcements import Announced, only
    from openfl_like.federation.callback_end import CallbackEnded

    with one_experiment(experiment_id, director, certificates) as (federation, found_id):
        record = federation.experiment(found_id)
        found = matrix(federation, record)
        metrics = federation.ask(lambda client: client.experiments.metrics(found_id, per_site=True))
        history = [item for item in federation.watch(found_id, stored=True) if isinstance(item, Announced)]
        rounds = list(federation.rounds(found_id))
    callbacks = only(history, CallbackEnded)
    if as_json:
        judged = [asdict(verdict) | {"round": one.round} for one in rounds for verdict in one.verdicts]
        told = {
            "verdicts": judged,
            "scores": [asdict(one.scored) for one in rounds if one.scored is not None],
            "rejected": [asdict(one.rejected) for one in rounds if one.rejected is not None],
            "callbacks_ended": [asdict(one) for one in callbacks],
        }
        emit({**asdict(record), "matrix": found, **told}, as_json=True)
    else:
        _show(_Shown(record, found, metrics, rounds, callbacks))


def _show(shown: _Shown) -> None:
    from openfl_like.cli.experiment.sentences import sentence

    record, summary = shown.record, shown.record.summary
    fields: dict[str, object] = {
        "experiment": summary.id,
        "status": summary.standing,
        "reason": reason_of(summary),
        "shortfalls": {name: shortfall_text(failure) for name, failure in summary.shortfalls.items()},
        "update surplus": _surplus(record.update_surplus),
        "owner": summary.owner,
        "plan": summary.plan_digest,
        "submitted": clock(summary.submitted_at),
        "started": clock(summary.started_at),
        "ended": clock(summary.ended_at),
    }
    emit({name: value for name, value in fields.items() if value}, as_json=False)
    for text in _missing_metrics(record):
        put(f"missing: {text}", style=ODD)
    for ended in shown.callbacks:
        put(sentence(ended), style=ODD)
    _show_judged(shown.rounds)
    put("")
    _show_models(record.versions)
    if shown.metrics:
        last = max(record.round for record in shown.metrics)
        put("")
        rows = table_of([record for record in shown.metrics if record.round == last], per_site=True)
        print_table(
            [{k: v for k, v in row.items() if k != "round"} for row in rows], f"what sites reported in round {last}"
        )
    if shown.matrix:
        put("")
        print_table([{"site": site, **row} for site, row in shown.matrix.items()], "given models")


def _show_judged(rounds: "Sequence[RoundRecord]") -> None:
    """Say which updates did not count as they were, and which models did not go on; the last ones if there are many."""
    from openfl_like.cli.experiment.sentences import rejected

    texts = [
        text
        for one in rounds
        for text in (
            *(f"round {one.round}: {verdict.collaborator}: {verdict}" for verdict in one.verdicts),
            *([f"round {one.round}: {rejected(one.rejected)}"] if one.rejected is not None else []),
        )
    ]
    if len(texts) > MOST_JUDGED:
        put(f"validation: {len(texts) - MOST_JUDGED} more before these (fx experiment rounds lists all)", style=ODD)
    for text in texts[-MOST_JUDGED:]:
        put(f"validation: {text}", style=ODD)


def _missing_metrics(record: "ExperimentRecord") -> list[str]:
    """Say which metrics the plan goes by and the newest version lacks; nothing if it is of another release."""
    from openfl_like.cli.experiment.sentences import sentence
    from openfl_like.errors import FederationError
    from openfl_like.federation.stopping import metrics_lacked
    from openfl_like.federation.unmeasured import MetricMissing
    from openfl_like.plan.digest import thaw

    try:
        plan = thaw(record.plan.encode())
    except FederationError:
        return []
    last = [item.version for item in record.versions][-1:]
    lacked = [(version, item) for version in last for item in metrics_lacked(plan, version).items()]
    told = (MetricMissing(version.round, name, keys, tuple(version.metrics)) for version, (name, keys) in lacked)
    return [sentence(item) for item in told]


def _show_models(versions: "Sequence[PublishedVersion]") -> None:
    """The metrics of each version, and whether its model can be fetched.

    The digests stand below the table: they are as wide as a terminal.
    """
    best = max((item.version.round for item in versions if item.version.best), default=-1)
    metrics = dict.fromkeys(name for item in versions for name in item.version.metrics)
    rows: list[dict[str, object]] = [
        {
            "round": item.version.round,
            **{name: item.version.metrics.get(name) for name in metrics},
            "best": "best" if item.version.round == best else "",
            **({} if item.kept is None else {"model": "kept" if item.kept else "gone"}),
        }
        for item in versions
    ]
    print_table(rows, "model versions")
    for item in versions:
        if item.sha256:
            put(f"sha256 of round {item.version.round}: {item.sha256}")


def _surplus(sites: Mapping[str, Mapping[str, int]]) -> str:
    counted = {name: ", ".join(f"{count} {kind}" for kind, count in counts.items()) for name, counts in sites.items()}
    return "; ".join(f"{name}: {text}" for name, text in counted.items())
