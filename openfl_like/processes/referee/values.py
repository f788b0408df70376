"""What parts of a round are shown and answer, as JSON values: both sides read it here."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import JsonValue, TypeAdapter

from openfl_like.aggregation.steps import Contributors, Vector
from openfl_like.federation.control.decision import (
    Control,
    ControlView,
    Decision,
    EndExperiment,
    SetArgument,
    SkipSite,
    WeighSite,
)
from openfl_like.federation.participation.selection import SelectionView
from openfl_like.federation.participation.work import WorkView
from openfl_like.federation.parts.guards import MOST_STATE
from openfl_like.federation.task import Update, Work
from openfl_like.federation.validation.verdict import UpdateVerdict
from openfl_like.tensors.named import Schema, TensorSpec

MOST_TEXT = 2000
"""Characters of a text that a part answers."""
_DECISIONS: Mapping[str, TypeAdapter[Any]] = {
    kind.kind: TypeAdapter(kind) for kind in (EndExperiment, SkipSite, WeighSite, SetArgument)
}
_SELECTION, _WORK, _CONTROL = TypeAdapter(SelectionView), TypeAdapter(WorkView), TypeAdapter(ControlView)
_WORKS, _UPDATE, _VERDICTS = TypeAdapter(dict[str, Work]), TypeAdapter(Update), TypeAdapter(tuple[UpdateVerdict, ...])
_STATE: TypeAdapter[JsonValue] = TypeAdapter(JsonValue)


def _written(adapter: TypeAdapter[Any], value: object) -> Any:  # noqa: ANN401 (JSON)
    return adapter.dump_python(value, mode="json")


def selection_to(view: SelectionView) -> Any:  # noqa: ANN401 (JSON)
    """Write what a selector sees."""
    return _written(_SELECTION, replace(view, eligible=tuple(view.eligible), present=tuple(view.present)))


def selection_from(value: object) -> SelectionView:
    """Read what a selector sees."""
    found = _SELECTION.validate_python(value)
    return replace(found, eligible=tuple(found.eligible), present=tuple(found.present))


def work_view_to(view: WorkView) -> Any:  # noqa: ANN401 (JSON)
    """Write what a policy sees."""
    return _written(_WORK, replace(view, names=tuple(view.names)))


def work_view_from(value: object) -> WorkView:
    """Read what a policy sees."""
    found = _WORK.validate_python(value)
    return replace(found, names=tuple(found.names))


def works_to(works: Mapping[str, Work]) -> Any:  # noqa: ANN401 (JSON)
    """Write how much sites train."""
    return _written(_WORKS, dict(works))


def works_from(value: object) -> dict[str, Work]:
    """Read how much sites train; raises ValueError."""
    return _WORKS.validate_json(json.dumps(value), strict=True)


def control_view_to(view: ControlView) -> Any:  # noqa: ANN401 (JSON)
    """Write what a controller sees."""
    return _written(_CONTROL, replace(view, versions=tuple(view.versions), members=tuple(view.members)))


def control_view_from(value: object) -> ControlView:
    """Read what a controller sees."""
    found = _CONTROL.validate_python(value)
    return replace(found, versions=tuple(found.versions), members=tuple(found.members))


def control_to(control: Control) -> Any:  # noqa: ANN401 (JSON)
    """Write what a controller answers."""
    decisions = [[one.kind, _written(_DECISIONS[one.kind], one)] for one in control.decisions]
    return [decisions, _written(_STATE, control.state)]


def control_from(value: Any) -> Control:  # noqa: ANN401 (JSON)
    """Read what a controller answers; raises ValueError, LookupError or TypeError."""
    decisions, state = value
    found = tuple(
        _bounded(_DECISIONS[kind].validate_json(json.dumps(fields), strict=True)) for kind, fields in decisions
    )
    if len(json.dumps(state)) > MOST_STATE:
        raise ValueError(f"its state has more than {MOST_STATE:,} characters")
    return Control(found, _STATE.validate_python(state))


def _bounded(decision: Decision) -> Decision:
    if isinstance(decision, EndExperiment | SkipSite):
        return replace(decision, reason=decision.reason[:MOST_TEXT])
    return decision


def update_to(update: Update) -> Any:  # noqa: ANN401 (JSON)
    """Write what a site reports."""
    return _written(_UPDATE, update)


def update_from(value: object) -> Update:
    """Read what a site reports."""
    return _UPDATE.validate_python(value)


def verdicts_to(verdicts: tuple[UpdateVerdict, ...]) -> Any:  # noqa: ANN401 (JSON)
    """Write what a validator says."""
    return _written(_VERDICTS, verdicts)


def verdicts_from(value: object) -> tuple[UpdateVerdict, ...]:
    """Read what a validator says; raises ValueError."""
    return _VERDICTS.validate_json(json.dumps(value), strict=True)


def schema_to(schema: Schema) -> list[list[object]]:
    """Write which tensors a model has."""
    return [[spec.name, spec.dtype, list(spec.shape)] for spec in schema]


def schema_from(value: Any) -> Schema:  # noqa: ANN401 (JSON)
    """Read which tensors a model has."""
    return tuple(TensorSpec(name, dtype, tuple(shape)) for name, dtype, shape in value)


def contributors_to(given: Contributors) -> list[object]:
    """Write whose updates make a model; the weights go as an array."""
    return [given.round, list(given.names), given.eligible]


def contributors_from(value: Any, weights: Vector) -> Contributors:  # noqa: ANN401 (JSON)
    """Read whose updates make a model."""
    number, names, eligible = value
    return Contributors(weights, number, tuple(names), eligible)
