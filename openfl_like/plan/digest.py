"""The canonical form of a plan, and the digest that identifies an experiment in logs and receipts."""

import json
import math
import re
from collections.abc import Mapping, Sequence

import yaml
from blake3 import blake3
from pydantic import ValidationError

from openfl_like.errors import PlanError
from openfl_like.peer_json import read_peer_json
from openfl_like.plan.document import MAX_BYTES
from openfl_like.plan.mistakes import explain, refuse
from openfl_like.plan.schema import TRAINS, Plan, Task

SOURCE = "plan.json"
_LATE_KEYS = frozenset(
    {
        "algorithm",
        "server_optimizer",
        "include",
        "exclude",
        "interface",
        "tags",
        "simulation",
        "evaluation_selector",
        "work",
        "sample_limit",
        "cross_evaluation",
        "controllers",
        "mode",
        "callbacks",
    }
)
"""Keys that came after 0.1.0: left out where they have their default, so that the digests of plans that do not know
them stay, and with them the records of their experiments."""
_LATE_WITHIN = (("deadline", "grace_s"), ("model_store", "accepted_margin"), ("algorithm", "server"))
"""The same of keys within a section."""
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./:-]*[A-Za-z0-9_/-]|[A-Za-z_]")


def freeze(plan: Plan) -> bytes:
    """Write a plan as canonical JSON: no spaces, ASCII, ``workspace`` left out.

    Every default is filled in, but for the keys that came after the first version: with their defaults they are left
    out, so that a plan without them has the digest that it always had.

    Keys are sorted, but for the names of the tasks: they are performed in the plan's order, which is part of the plan.

    Raises:
        PlanError: If a setting cannot be written as JSON.
    """
    return _write(frozen_values(plan), plan.name)


def plan_values(plan: Plan) -> dict[str, object]:
    """Return every value of a plan as JSON values, every default filled in, in the order of the canonical form."""
    values = _sorted(plan.model_dump(mode="json", exclude={"workspace", "tasks"}))
    values["tasks"] = {name: _sorted(task.model_dump(mode="json")) for name, task in plan.tasks.items()}
    return {key: values[key] for key in sorted(values)}


def _write(values: Mapping[str, object], name: str) -> bytes:
    try:
        return json.dumps(values, separators=(",", ":"), allow_nan=False).encode()
    except ValueError as error:
        raise PlanError(f"the plan cannot be frozen: {error}", place=name) from error


def frozen_values(plan: Plan) -> dict[str, object]:
    """Return the values that `freeze` writes."""
    late = {key for key in _LATE_KEYS if getattr(plan, key) == Plan.model_fields[key].default}
    values = {key: value for key, value in plan_values(plan).items() if key not in late}
    if not plan.aggregation.rules:
        parts = plan.aggregation.model_dump(mode="json", exclude={"rules"})
        values["aggregation"] = _sorted(parts)
    for section, key in _LATE_WITHIN:
        part = values.get(section)
        if isinstance(part, dict) and part[key] is None:
            values[section] = {name: value for name, value in part.items() if name != key}
    if "simulation" in values:
        parts = plan.simulation.model_dump(mode="json", exclude_none=False)
        values["simulation"] = {key: _sorted_value(parts[key]) for key in sorted(parts) if parts[key] is not None}
    return {**values, "tasks": {name: _frozen_task(task) for name, task in plan.tasks.items()}}


def _frozen_task(task: Task) -> dict[str, object]:
    """Return the values of a task, without ``trains`` where its function's name says it, as all did before it came.

    ``metrics`` came later, too, and is left out where it is empty.
    """
    values = _sorted(task.model_dump(mode="json"))
    if not task.metrics:
        del values["metrics"]
    if task.trains is TRAINS.get(task.function):
        del values["trains"]
    return values


def thaw(data: bytes, source: str = SOURCE) -> Plan:
    """Read what `freeze` wrote; the rules beyond the schema are for `check_plan`.

    Args:
        data: The frozen plan.
        source: What it is called in messages.

    Raises:
        PlanError: If it is no plan.
    """
    if len(data) > MAX_BYTES:
        raise PlanError(f"the plan is larger than {MAX_BYTES} bytes", place=source)
    try:
        values = read_peer_json(data, MAX_BYTES, object_pairs_hook=_once, parse_constant=_finite, parse_float=_finite)
    except ValueError as error:
        raise PlanError(f"this is not a frozen plan: {error}", place=source) from error
    try:
        return Plan.model_validate(values)
    except ValidationError as error:
        raise refuse(source, explain(error, Plan), {}, PlanError) from error


def plan_text(plan: Plan) -> str:
    """Write a plan as YAML with every value filled in; `load_plan` gives a plan of the same digest for it."""
    return yaml.dump(
        json.loads(_write(plan_values(plan), plan.name)), Dumper=_Dumper, sort_keys=False, allow_unicode=True
    )


def plan_digest(plan: Plan) -> str:
    """BLAKE3 of the frozen form, hex."""
    return str(blake3(freeze(plan)).hexdigest())


def _sorted(values: Mapping[str, object]) -> dict[str, object]:
    return {key: _sorted_value(values[key]) for key in sorted(values)}


def _sorted_value(value: object) -> object:
    if isinstance(value, Mapping):
        return _sorted(value)
    return [_sorted_value(inner) for inner in value] if isinstance(value, list) else value


def _once(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands there twice")
    return found


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a finite number")
    return value


class _Dumper(yaml.SafeDumper):
    """Quotes all text that could be read as something else; `document` reads YAML 1.2, PyYAML writes 1.1."""


def _quoted(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if _PLAIN.fullmatch(text) else '"')


_Dumper.add_representer(str, _quoted)
