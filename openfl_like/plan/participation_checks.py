"""Rules between the parts of a plan that say who takes part, how many are needed, and how long they are waited for."""

from collections.abc import Iterator

from openfl_like import registry
from openfl_like.plan.mistakes import KeyPath, Mistake, did_you_mean
from openfl_like.plan.schema import Plan

FEWEST_COMPARED = 3
"""Of so many updates one can be told from the others."""


def participation_mistakes(plan: Plan) -> Iterator[Mistake]:
    """Yield what is wrong with who takes part, how many a round needs, and its deadlines."""
    for rule in (_admission, _named_sites, _participation, _compared, _cross_evaluation, _times):
        yield from rule(plan)


def _admission(plan: Plan) -> Iterator[Mistake]:
    if plan.admission.late_join == "current_round" and plan.assigner.template == "random":
        problem = "the groups of a round are drawn among those who are there when it begins"
        yield Mistake(("admission", "late_join"), problem, "write next_round, or assigner.template: static")
    asked, least = plan.admission.collaborators, plan.admission.min_collaborators
    seen: set[str] = set()
    for index, name in enumerate(asked):
        if name in seen:
            yield Mistake(("admission", "collaborators", index), f"'{name}' is there twice")
        seen.add(name)
    if asked and least is not None and least > len(asked):
        problem = f"{least} must be there, but only {len(asked)} {'is' if len(asked) == 1 else 'are'} asked"
        yield Mistake(("admission", "min_collaborators"), problem)
    if least is not None and least < len(asked) and plan.participation.policy == "exact":
        problem = f"{least} of {len(asked)} sites may begin, but participation.policy is exact: every round needs all"
        yield Mistake(
            ("admission", "min_collaborators"), problem, "leave it out, or write participation.policy: quorum"
        )


def _named_sites(plan: Plan) -> Iterator[Mistake]:
    """Look whether the sites that a selector or rule goes by are among those that the plan asks, if it names them."""
    asked = plan.admission.collaborators
    named: list[tuple[KeyPath, object]] = [
        (("aggregation", "settings", "trusted"), plan.aggregation.settings.get("trusted"))
    ]
    for key, selector in (("selector", plan.selector), ("evaluation_selector", plan.evaluation_selector)):
        lists = selector.settings.get("rounds")
        for number, names in enumerate(lists if isinstance(lists, list) else []):
            path: KeyPath = (key, "settings", "rounds", number)
            named += [((*path, place), name) for place, name in enumerate(names if isinstance(names, list) else [])]
    named += [(("sample_limit", "sites", name), name) for name in plan.sample_limit.sites]
    for path, name in named if asked else ():
        if isinstance(name, str) and name not in asked:
            yield Mistake(path, f"the plan asks for no collaborator '{name}'", did_you_mean(name, asked))


def _participation(plan: Plan) -> Iterator[Mistake]:
    found, section = plan.participation, "participation"
    given = {key: getattr(found, key) for key in ("min_fraction", "min_updates") if getattr(found, key) is not None}
    if found.policy == "exact":
        for key in given:
            cure = "write participation.policy: quorum, or leave this out"
            yield Mistake((section, key), "the policy is exact, which needs everybody who was selected", cure)
        return
    if not given:
        yield Mistake((section, "policy"), "a quorum of how many?", "give min_fraction or min_updates, or write exact")
    if found.min_fraction == 1:
        yield Mistake(
            (section, "min_fraction"), "a quorum of everybody is not a quorum", "write participation.policy: exact"
        )
    start = plan.admission.min_collaborators or len(plan.admission.collaborators)
    if start and (found.min_updates or 1) > start:
        problem = f"a round needs {found.min_updates} updates, but may start with {start} collaborators"
        yield Mistake((section, "min_updates"), problem, "raise admission.min_collaborators, or lower this")


def _compared(plan: Plan) -> Iterator[Mistake]:
    """Look whether validators that compare updates have enough of them."""
    least = plan.participation.min_updates
    if plan.participation.policy == "exact" or least is None or least >= FEWEST_COMPARED:
        return
    for part in plan.validator:
        alone = part.template == "norm" and "bound" in part.settings
        known = part.template in registry.names("validator") and not alone
        if known and hasattr(registry.resolve("validator", part.template), "looks"):
            told = f"the validator '{part.template}' can tell nothing of fewer than {FEWEST_COMPARED} updates"
            yield Mistake(("participation", "min_updates"), told, f"write {FEWEST_COMPARED} or more")
            return


def _cross_evaluation(plan: Plan) -> Iterator[Mistake]:
    """Look whether there is anything to score, and by what."""
    section, place = plan.cross_evaluation, "cross_evaluation"
    if section is None:
        return
    if not any(task.is_training for task in plan.tasks.values()):
        told = "no task of the plan trains, so that there are no updates"
        yield Mistake((place,), told, "leave cross_evaluation out")
    tasks = [name for name, task in plan.tasks.items() if not task.is_training and task.apply == "global"]
    task, _, _ = section.metric.rpartition(".")
    if not tasks:
        told = "an update is scored by the tasks that evaluate the global model, and the plan has none"
        yield Mistake((place,), told, "add a task with the function validate")
    elif task in plan.tasks and task not in tasks:
        told = f"the task '{task}' does not evaluate the global model, so that it scores no update"
        yield Mistake((place, "metric"), told, did_you_mean(task, tasks))
    if section.mode is None:
        told = f"it is not said whether more or less of '{section.metric}' is better"
        yield Mistake((place, "mode"), told, "write mode: max or mode: min")
    yield from _limit_of_scores(plan)


_WEIGHTED = {"fedavg": True, "norm_bounded_mean": False, "geometric_median": False}
"""Rules that go by samples if their setting ``weighted`` says so, and what it is by default."""
_ALIKE = frozenset({"median", "trimmed_mean", "krum", "multi_krum", "bulyan", "centered_clipping", "fltrust"})
"""Rules that never do."""


def _limit_of_scores(plan: Plan) -> Iterator[Mistake]:
    section, place = plan.cross_evaluation, "cross_evaluation"
    if section is None:
        return
    if (section.threshold is None) == (section.margin is None):
        told = "it is not said how bad a score may be" if section.margin is None else "there are two limits"
        yield Mistake((place,), told, "write threshold, or margin (from the median of the scores)")
    elif section.result == "reweigh" and section.margin is None:
        told = "how much less an update counts goes by margin, and there is none"
        yield Mistake((place, "result"), told, "write margin in place of threshold, or result: drop")
    rule = plan.aggregation
    weighted = rule.settings.get("weighted", _WEIGHTED.get(rule.template, rule.template not in _ALIKE))
    if section.result == "reweigh" and not weighted:
        told = f"with this aggregation ('{rule.template}') every update counts alike, whatever its samples"
        yield Mistake((place, "result"), told, "write result: drop, or a rule that goes by samples, such as fedavg")
    least = plan.participation.min_updates
    few = plan.participation.policy != "exact" and least is not None and least < FEWEST_COMPARED
    if section.margin is not None and few:
        told = f"of fewer than {FEWEST_COMPARED} scores no median can be told, and then every update counts"
        yield Mistake(("participation", "min_updates"), told, f"write {FEWEST_COMPARED} or more, or give a threshold")


def _times(plan: Plan) -> Iterator[Mistake]:
    limit = plan.deadline.round_s
    if plan.deadline.grace_s is not None and plan.deadline.train_s is None:
        cure = "write deadline.train_s, or leave this out"
        yield Mistake(("deadline", "grace_s"), "there is no deadline.train_s that it could follow", cure)
    for key, what in (("train_s", "training"), ("rejoin_s", "coming back")):
        value = getattr(plan.deadline, key)
        if limit is not None and value is not None and value > limit:
            problem = f"{what} may take {value:g} s, but the round ends after {limit:g} s (deadline.round_s)"
            yield Mistake(("deadline", key), problem, f"at most {limit:g}, or leave it out")
