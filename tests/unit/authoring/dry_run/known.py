"""Sites and plans for the tests of dry runs."""

from collections.abc import Sequence

from openfl_like.authoring.dry_run.kinds import SiteKind, kinds_of
from openfl_like.authoring.dry_run.sites import KnownSite, known_of
from openfl_like.federation.parties import NO_TERMS, ShardFacts, SiteTerms
from openfl_like.plan.schema import Plan

TASKS = {"train": {"function": "train"}, "validate": {"function": "validate"}}


def plan_with(**sections: object) -> Plan:
    """A small plan with some sections."""
    fields: dict[str, object] = {
        "name": "scores",
        "task_runner": {"template": "src.scores:Runner"},
        "data_loader": {"template": "numpy", "settings": {"batch_size": 16}},
        "tasks": TASKS,
    }
    return Plan.model_validate({**fields, **sections})


def site(
    name: str, train: int | None = 100, *, features: int = 4, classes: int = 3, terms: SiteTerms = NO_TERMS
) -> KnownSite:
    """A site as it publishes itself."""
    counts = {} if train is None else {"counts": {"train": train, "validate": 20}}
    return known_of(name, ShardFacts((features,), (), schema={"classes": classes, **counts}, terms=terms))


def kinds(plan: Plan, sites: Sequence[KnownSite]) -> list[SiteKind]:
    """The kinds of some sites."""
    return kinds_of(plan, sites)
