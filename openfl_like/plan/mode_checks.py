"""What does not go with the mode ``buffered``, and why."""

from collections.abc import Iterator

from openfl_like import registry
from openfl_like.plan.mistakes import Mistake
from openfl_like.plan.schema import NO_ALGORITHM, Plan

_OF_SITES_ALONE = (NO_ALGORITHM, "fedprox", "per_fedavg")
"""Algorithms that send nothing but the model, and keep nothing between rounds."""


def mode_mistakes(plan: Plan) -> Iterator[Mistake]:
    """Yield what is wrong with the plan's mode: what would not be sound, or what nobody would go by."""
    if plan.mode.settings is None:
        return
    if not any(task.is_training for task in plan.tasks.values()):
        told = "no task of the plan trains, so that no update would ever come"
        yield Mistake(("mode", "template"), told, "leave mode out")
    if plan.selector.template != "all":
        told = f"with it sites are drawn one by one, and the selector '{plan.selector.template}' is never asked"
        cure = "write all (include and exclude count); mode.settings.concurrency is how many train at once"
        yield Mistake(("selector", "template"), f"the mode is buffered: {told}", cure)
    if plan.participation.policy == "skip":
        told = "with the mode buffered no round can be skipped: a version waits until its updates are there"
        yield Mistake(("participation", "policy"), told, "write quorum")
    if plan.work.template == "best_round_time":
        told = "with the mode buffered sites are asked one by one, so that each would be the fastest of those asked"
        yield Mistake(("work", "template"), told, "write equal_time, static or uniform")
    yield from _unsound(plan)


def _unsound(plan: Plan) -> Iterator[Mistake]:
    """Yield what is made for updates that all start from one model."""
    if plan.algorithm.template not in _OF_SITES_ALONE:
        told = f"the mode is buffered, and '{plan.algorithm.template}' may need that all sites start from one model"
        yield Mistake(("algorithm", "template"), told, f"write {', '.join(_OF_SITES_ALONE)}, or leave mode out")
    for index, part in enumerate(plan.validator):
        known = part.template in registry.names("validator")
        if known and hasattr(registry.resolve("validator", part.template), "looks"):
            told = "it compares updates, and with the mode buffered these start from different models"
            cure = "leave it out; aggregation median, trimmed_mean and krum can be had"
            yield Mistake(("validator", index, "template"), told, cure)
    if plan.collaborator.settings.opt_treatment == "CONTINUE_GLOBAL":
        told = "with the mode buffered, optimizers' states of different versions would be combined"
        yield Mistake(("collaborator", "settings", "opt_treatment"), told, "use RESET or CONTINUE_LOCAL")
    if plan.cross_evaluation is not None:
        told = "with the mode buffered, sites train on while a version is made: there is no time to score updates in"
        yield Mistake(("cross_evaluation",), told, "leave it out")
    if plan.model_store.accepted_margin is not None:
        told = "with the mode buffered, sites train on a version while it is evaluated: it cannot be taken back"
        yield Mistake(("model_store", "accepted_margin"), told, "leave it out")
