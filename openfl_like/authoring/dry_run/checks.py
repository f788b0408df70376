"""What is looked at of each update and of each round, besides what the plan's own validators do."""

import math
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from openfl_like.aggregation.validators import Finite
from openfl_like.authoring.dry_run.findings import DryRunFinding, FindingKind, Severity
from openfl_like.errors import TensorError
from openfl_like.federation.events import ModelVersion
from openfl_like.federation.metrics import round_metrics
from openfl_like.federation.stopping import metrics_lacked, metrics_wanted
from openfl_like.federation.task import Update, undefined_metrics
from openfl_like.plan.schema import Plan
from openfl_like.tensors.container import TensorFile
from openfl_like.tensors.encoded import ModelReader, Sent, open_update
from openfl_like.tensors.named import compare


def look_at_update(file: Path, sent: Sent | None, base: TensorFile, update: Update) -> Iterator[DryRunFinding]:
    """Compare an update with the model that it started from.

    Args:
        file: The update's.
        sent: How it is encoded; None: it is a model file.
        base: The model.
        update: What was said of it.
    """
    if not update.num_samples:
        yield DryRunFinding(FindingKind.NO_SAMPLES, phase=update.phase, round=update.round)
    try:
        reader = open_update(file, sent, verify=True)
    except TensorError as error:
        yield DryRunFinding(FindingKind.UPDATE_REFUSED, said=error.message, phase=update.phase, round=update.round)
        return
    with closing(reader):
        difference = compare(base.schema, reader.schema)
        if difference:
            yield DryRunFinding(FindingKind.TENSORS_DIFFER, said=difference, phase=update.phase, round=update.round)
            return
        infinite = Finite().check(reader, base, update)
        if infinite:
            yield DryRunFinding(FindingKind.NOT_FINITE, said=infinite, phase=update.phase, round=update.round)
        elif all(_same(reader, base, spec.name) for spec in base.schema):
            yield DryRunFinding(FindingKind.NOT_TRAINED, phase=update.phase, round=update.round)


def _same(update: ModelReader, base: TensorFile, name: str) -> bool:
    return np.array_equal(np.asarray(update.tensor(name)), np.asarray(base.tensor(name)))


def look_at_metrics(plan: Plan, update: Update) -> Iterator[DryRunFinding]:
    """Name the metrics of an answer that are not finite numbers."""
    wanted = metrics_wanted(plan)
    for task, metrics in undefined_metrics(update).items():
        for name, value in metrics.items():
            keys = wanted.get(name, ()) + wanted.get(f"{task}.{name}", ())
            counts = bool(keys) or (task in plan.tasks and plan.tasks[task].is_training)
            yield DryRunFinding(
                FindingKind.METRIC_NOT_FINITE,
                phase=update.phase,
                round=update.round,
                task=task,
                name=name,
                key=", ".join(keys),
                other=Severity.ERROR if counts else Severity.WARNING,
                said="infinite" if math.isinf(value) else "no number (NaN)",
            )


def look_at_round(
    plan: Plan, number: int, trained: Mapping[str, Update], evaluated: Mapping[str, Update]
) -> Iterator[DryRunFinding]:
    """Name the metrics that the plan goes by and that nobody reported.

    Args:
        plan: The plan.
        number: Of the round.
        trained: Updates of the training, by site.
        evaluated: Updates of the evaluation, by site.
    """
    told = round_metrics(
        plan.tasks, *({site: _zeros(one) for site, one in each.items()} for each in (trained, evaluated))
    )
    for metric, keys in metrics_lacked(plan, ModelVersion(number, "", told)).items():
        stops = any(key.startswith("stop.") for key in keys)  # without it, only no version is ever called the best
        severity = Severity.ERROR if stops else Severity.WARNING
        known = tuple(sorted(told))
        yield DryRunFinding(FindingKind.METRIC_MISSING, name=metric, key=", ".join(keys), lines=known, other=severity)


def _zeros(update: Update) -> Update:
    """Return an update with the metrics that it has, whether or not they are numbers."""
    zeros = {task: dict.fromkeys(metrics, 0.0) for task, metrics in update.metrics.items()}
    return replace(update, metrics=zeros)
