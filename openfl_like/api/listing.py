"""What experiments differ in: keys of their plans that others of the same name have otherwise, and their metrics."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from openfl_like.api.client import AsyncFederation
from openfl_like.errors import FederationError, NotFoundError
from openfl_like.federation.events import ModelVersion
from openfl_like.federation.parties import ExperimentRecord
from openfl_like.plan.difference import differences
from openfl_like.plan.digest import thaw
from openfl_like.plan.schema import Plan

_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Listed:
    """What tells an experiment from others.

    Attributes:
        tags: Words that its user gave it.
        differs: Keys of its plan, as in overrides, that the first experiment of the same name has with another value,
            or not at all -> their values; None: the plan is of another release, and cannot be compared.
        last: The last version of its model; None: there is none yet.
        best: The best one; None: no round had the metric that it goes by.
    """

    tags: tuple[str, ...]
    differs: Mapping[str, object] | None
    last: ModelVersion | None
    best: ModelVersion | None


def compare(records: Sequence[ExperimentRecord]) -> dict[str, Listed]:
    """Compare experiments, oldest first, each with the first one of its name; by id."""
    first: dict[str, Plan] = {}
    found = {}
    for record in records:
        plan = _plan_of(record)
        differs = None
        if plan is not None:
            base = first.setdefault(record.summary.name, plan)
            differs = {one.key: one.second for one in differences(base, plan) if one.key != "tags"}
        versions = sorted((item.version for item in record.versions), key=lambda version: version.round)
        best = [version for version in versions if version.best]
        last = versions[-1] if versions else None
        tags = plan.tags if plan is not None else ()
        found[record.summary.id] = Listed(tags, differs, last, best[-1] if best else None)
    return found


async def listed(federation: AsyncFederation, ids: Sequence[str]) -> dict[str, Listed]:
    """Ask for some experiments, oldest first, and compare them; one that is removed meanwhile is left out."""
    at_once = asyncio.Semaphore(_AT_ONCE)

    async def ask(name: str) -> ExperimentRecord | None:
        async with at_once:
            try:
                return await federation.experiments.get(name)
            except NotFoundError:
                return None

    records = await asyncio.gather(*(ask(name) for name in ids))
    return compare([record for record in records if record is not None])


def as_overrides(differs: Mapping[str, object], most: int = 4) -> str:
    """Write values as somebody would set them on the command line, as many as can be read at once."""
    shown = [f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in differs.items()]
    left = len(shown) - most
    return ", ".join(shown[:most]) + (f" and {left} more" if left > 0 else "")


def _plan_of(record: ExperimentRecord) -> Plan | None:
    try:
        return thaw(record.plan.encode())
    except FederationError:
        return None
