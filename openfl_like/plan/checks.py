"""What the schema cannot say: rules between the parts of a plan, and the settings of registered components."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from math import inf

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from openfl_like import registry
from openfl_like.errors import FederationError, PlanError
from openfl_like.plan.mistakes import MOST_MISTAKES, KeyPath, Mistake, did_you_mean, explain, nearest, refuse
from openfl_like.plan.mode_checks import mode_mistakes
from openfl_like.plan.names import rule_against
from openfl_like.plan.participation_checks import participation_mistakes
from openfl_like.plan.schema import FILE, LOCAL, NO_ALGORITHM, PERSONAL, TASKS_ALONE, TRAINS, Plan, StopRule, Task
from openfl_like.plan.section import AlgorithmSection, Component, PartOrigin
from openfl_like.plan.simulation import Quantity, ShardChoice, SitesSection, is_shard_file

_REFERENCE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_CONDITIONS = ("rounds", "metric", "loss_max", "patience", "wall_s", "traffic_bytes")


_SPARSE = frozenset({"top_k", "random_k"})
"""Compressions that leave most elements as they are in the global model."""
_WORKSPACE_CURE = "have whoever runs the Director write 'referee: process' into director.yaml; or name one of"


def check_plan(plan: Plan, source: str = "plan", origin: PartOrigin = PartOrigin.REGISTERED) -> None:
    """Check a plan that came as a value, for example out of a bundle.

    Args:
        plan: The plan.
        source: What it is called in messages.
        origin: Where the parts of a round may come from.

    Raises:
        PlanError: Listing every mistake.
    """
    found = mistakes_in(plan, origin)
    if found:
        raise refuse(source, found, {}, PlanError)


def mistakes_in(plan: Plan, origin: PartOrigin = PartOrigin.REGISTERED) -> list[Mistake]:
    """List what is wrong in a plan that fits the schema, up to `MOST_MISTAKES`: after these, nobody looks further.

    Code of the workspace is not imported: whoever checks a plan need not be who brought it.
    """
    rules = (
        partial(_components, origin=origin),
        _server_half,
        _controllers,
        partial(_tensor_rules, origin=origin),
        _tasks,
        _best,
        _groups,
        participation_mistakes,
        _deltas,
        _stop_rules,
        _made_sites,
        mode_mistakes,
    )
    found = (mistake for rule in (*rules, _optimizer, _initial_model, _devices) for mistake in rule(plan))
    with registry.listed_once():
        return list(islice(found, MOST_MISTAKES))


def _components(plan: Plan, origin: PartOrigin) -> Iterator[Mistake]:
    for kind, component in (("task_runner", plan.task_runner), ("data_loader", plan.data_loader)):
        # They are not imported: they bring a framework, which the Director need not have.
        known = registry.names(kind)
        if component.template not in known and not _REFERENCE.fullmatch(component.template):
            yield _no_name(kind, component.template, known)
    yield from _algorithm(plan.algorithm, origin)
    for kind, place, component in named_parts(plan):
        yield from _component(kind, place, component, origin)


def named_parts(plan: Plan) -> list[tuple[str, KeyPath, Component]]:
    """List the parts that stand in the plan by their kinds: kind, place, component."""
    return [
        ("assigner", ("assigner",), plan.assigner),
        ("selector", ("selector",), plan.selector),
        ("selector", ("evaluation_selector",), plan.evaluation_selector),
        ("work", ("work",), plan.work),
        ("aggregation", ("aggregation",), plan.aggregation),
        ("server_optimizer", ("server_optimizer",), plan.server_optimizer),
        ("compression", ("compression_pipeline",), plan.compression_pipeline),
        ("lossless", ("compression_pipeline", "lossless"), plan.compression_pipeline.lossless),
        *(("validator", ("validator", index), component) for index, component in enumerate(plan.validator)),
        *(("controller", ("controllers", index), component) for index, component in enumerate(plan.controllers)),
        *(("callback", ("callbacks", index), component) for index, component in enumerate(plan.callbacks)),
    ]


_EXAMPLES = {
    "task_runner": "src.digits:DigitsRunner",
    "data_loader": "src.digits:DigitsLoader",
    "algorithm": "src.pull:Pull",
}
"""How a class of the workspace is named."""


def _no_name(kind: str, template: str, known: Sequence[str]) -> Mistake:
    write = f"write module:attr, for example {_EXAMPLES[kind]}, or one of {', '.join(known)}"
    return Mistake(
        (kind, "template"), f"'{template}' names nothing in the workspace", nearest(template, known) or write
    )


def _algorithm(component: AlgorithmSection, origin: PartOrigin) -> Iterator[Mistake]:
    template, known = component.template, registry.names("algorithm")
    if template == NO_ALGORITHM:
        if component.settings or component.server is not None:
            yield Mistake(("algorithm", "settings"), "there is no algorithm that they could be for", "leave them out")
    elif template in known:
        yield from _component("algorithm", ("algorithm",), component)
        if component.server is not None:
            told = f"'{template}' is built in, and so is its half at the Aggregator"
            yield Mistake(("algorithm", "server"), told, "leave it out")
    elif not _REFERENCE.fullmatch(template):  # code of the workspace, which only a worker loads
        yield _no_name("algorithm", template, (NO_ALGORITHM, *known))
    elif component.server is not None:
        yield from _server_of_workspace(component.server, component, origin)


def _server_of_workspace(server: str, component: AlgorithmSection, origin: PartOrigin) -> Iterator[Mistake]:
    half = Component(template=server, settings=component.settings)
    for found in _component("server_algorithm", (), half, origin):
        key = ("server",) if found.path == ("template",) else found.path
        yield replace(found, path=("algorithm", *key))


def _controllers(plan: Plan) -> Iterator[Mistake]:
    for place, component in enumerate(plan.controllers):
        settings, path = component.settings, ("controllers", place, "settings")
        task = settings.get("task", "train")
        if component.template != "schedule":
            continue
        if isinstance(task, str) and task not in plan.tasks:
            yield Mistake((*path, "task"), f"there is no task '{task}'", did_you_mean(task, tuple(plan.tasks)))
        if settings.get("shape") and settings.get("over") is None and plan.aggregator.settings.rounds is None:
            problem = "it is not said how many rounds the way takes, and the plan has no limit of them"
            yield Mistake((*path, "over"), problem, "write a number of rounds")


def _server_half(plan: Plan) -> Iterator[Mistake]:
    """Look whether an algorithm that does something at the Aggregator goes with what else is done there."""
    template, half = plan.algorithm.template, _server_class(plan)
    if getattr(half, "averages", False) and plan.aggregation.template != "fedavg":
        told = f"the algorithm '{template}' is a weighted average of updates, and no other rule can be had with it"
        yield Mistake(("aggregation", "template"), told, "write fedavg, or leave aggregation out")
    compression = plan.compression_pipeline.template
    if getattr(half, "sums", False) and compression in _SPARSE:
        told = f"what '{template}' adds up would grow with what '{compression}' does not send"
        cure = "use quantise, float16 or bfloat16, or leave compression_pipeline out"
        yield Mistake(("compression_pipeline", "template"), told, cure)
    if getattr(half, "slots", ()) and plan.server_optimizer.template != "none":
        told = f"the algorithm '{template}' steps the global model itself"
        yield Mistake(("server_optimizer", "template"), told, "write none, or leave server_optimizer out")


def _tensor_rules(plan: Plan, origin: PartOrigin) -> Iterator[Mistake]:
    """Look at the rules for some tensors; whether they match any, only who has the model can say."""
    averages = getattr(_server_class(plan), "averages", False)
    for index, part in enumerate(plan.aggregation.rules):
        path: KeyPath = ("aggregation", "rules", index, "rule")
        if not part.stays:
            yield from _tensor_rule(path, part.rule, plan.algorithm.template if averages else "", origin)
        elif part.rule.settings:
            yield Mistake((*path, "settings"), f"the rule '{LOCAL}' has no settings", "leave them out")
        elif plan.collaborator.settings.opt_treatment == "CONTINUE_GLOBAL":
            told = "sites would share their optimizers' state of tensors that stay with them"
            yield Mistake(("collaborator", "settings", "opt_treatment"), told, "use RESET or CONTINUE_LOCAL")


def _tensor_rule(path: KeyPath, rule: Component, averaging: str, origin: PartOrigin) -> Iterator[Mistake]:
    known = registry.names("aggregation")
    if rule.template not in known and ":" not in rule.template:
        told = f"there is no aggregation named '{rule.template}'"
        yield Mistake((*path, "template"), told, did_you_mean(rule.template, (LOCAL, *known)))
        return
    found = list(_component("aggregation", path, rule, origin))
    yield from found
    if found or ":" in rule.template:
        return
    part = registry.resolve("aggregation", rule.template)
    if not (hasattr(part, "reduce") or hasattr(part, "factors")):
        told = f"{rule.template} looks at whole updates, and cannot be the rule of some tensors"
        yield Mistake((*path, "template"), told, "choose fedavg, median or trimmed_mean, or write local")
    elif averaging:
        told = f"the algorithm '{averaging}' is a weighted average of updates, and no other rule can be had with it"
        yield Mistake((*path, "template"), told, "write local, or leave this rule out")


def _server_class(plan: Plan) -> object:
    """Return the class of an algorithm's half at the Aggregator; None: it has none, or one of the workspace."""
    template = plan.algorithm.server or plan.algorithm.template
    known = template in registry.names("server_algorithm")
    return registry.resolve("server_algorithm", template) if known else None


def _made_sites(plan: Plan) -> Iterator[Mistake]:
    """Look at what can be said without the data; code that is named by path is not imported."""
    made, path = plan.simulation.sites, ("simulation", "sites")
    if made is None:
        return
    if made.count is None and not plan.admission.collaborators:
        cure = "write a number, or name them in admission.collaborators"
        yield Mistake((*path, "count"), "it is not said how many sites are made", cure)
    if (made.shard is None) is (made.each is None):
        told = "there is shard as well as each" if made.shard else "it is not said what sites are made of"
        yield Mistake(path, told, "write shard, a data set that is dealt out, or each, a shard for every site")
        return
    for key, choice in (("shard", made.shard), ("each", made.each)):
        if choice is not None:
            yield from _shard((*path, key), choice)
    if made.each is not None:
        yield from _undealt(path, made)
    dealt = made.partitioner
    if dealt.template in registry.names("partitioner") or not _REFERENCE.fullmatch(dealt.template):
        yield from _component("partitioner", (*path, "partitioner"), dealt)


def _shard(path: KeyPath, choice: ShardChoice) -> Iterator[Mistake]:
    template, known = choice.template, registry.names("shard")
    if is_shard_file(template):
        if choice.params:
            yield Mistake((*path, "params"), "a file has its own params", "leave them out")
    elif template not in known and not _REFERENCE.fullmatch(template):
        cure = nearest(template, known) or f"write one of {', '.join(known)}, module:attr, or a file that ends in .yaml"
        yield Mistake((*path, "template"), f"there is no shard named '{template}'", cure)


def _undealt(path: KeyPath, made: SitesSection) -> Iterator[Mistake]:
    """Refuse what says how a data set is dealt out where none is."""
    usual = SitesSection()
    for key in ("partitioner", "seed", "without_samples", "label_noise"):
        if getattr(made, key) != getattr(usual, key):
            yield Mistake((*path, key), "with each no data set is dealt out, so nobody goes by it", "leave it out")


def _devices(plan: Plan) -> Iterator[Mistake]:
    """Look at what simulated devices are like; files are read when the simulation begins."""
    section, path = plan.simulation.devices, ("simulation", "devices")
    if section is None:
        return
    if section.unit == "steps" and not isinstance(plan.data_loader.settings.get("batch_size"), int):
        cure = "write data_loader.settings.batch_size, or unit: samples"
        yield Mistake((*path, "unit"), "it is not said how many samples a step has", cure)
    yield from _batches(plan)
    network, power = section.network, section.power
    yield from _quantity((*path, "speed"), section.speed, above=True)
    yield from _quantity((*path, "network", "down_bytes_per_s"), network.down_bytes_per_s, above=True)
    yield from _quantity((*path, "network", "up_bytes_per_s"), network.up_bytes_per_s, above=True)
    yield from _quantity((*path, "network", "latency_s"), network.latency_s)
    for key in ("computing_w", "sending_w", "idle_w"):
        yield from _quantity((*path, "power", key), getattr(power, key))
    yield from _quantity((*path, "failures"), section.failures, most=1)
    place = (*path, "availability")
    found = list(_component("availability", place, section.availability))
    yield from found
    built = None if found else _built("availability", section.availability)
    yield from _quantity((*place, "settings", "probability"), getattr(built, "probability", None), most=1)
    yield from _bounds(place, built, most=1)


def _batches(plan: Plan) -> Iterator[Mistake]:
    """Look whether it is known what devices do until a time, where they stop at a batch."""
    if isinstance(plan.data_loader.settings.get("batch_size"), int):
        return
    cure = "write data_loader.settings.batch_size"
    if plan.deadline.train_s is not None:
        problem = "simulated devices stop at a batch, and it is not said how many samples one has"
        yield Mistake(("deadline", "train_s"), problem, cure)
    if plan.work.template != TASKS_ALONE:
        problem = "it is not said how many samples a batch of simulated devices has, and so how long work takes them"
        yield Mistake(("work", "template"), problem, cure)


def _quantity(path: KeyPath, quantity: Quantity | None, most: float = inf, *, above: bool = False) -> Iterator[Mistake]:
    """Look at a number of devices, which must be at least 0, or above it."""
    if quantity is None:
        return
    found = list(_component("generator", path, quantity))
    yield from found
    yield from _bounds(path, None if found else _built("generator", quantity), most, above=above)


def _built(kind: str, component: Component) -> object:
    """Build a part whose settings were looked at; None: it is of an installed package, and refuses what it is for."""
    part = registry.resolve(kind, component.template)
    try:
        return part(**component.settings) if isinstance(part, type) else None
    except (TypeError, ValueError):
        return None


def _bounds(path: KeyPath, part: object, most: float = inf, *, above: bool = False) -> Iterator[Mistake]:
    """Look at what the numbers that a part gives may be, if it says so."""
    low, high = getattr(part, "bounds", (inf, -inf))
    if low < 0 or (above and low <= 0):
        wanted = "be more than 0" if above else "not be less than 0"
        yield Mistake(path, f"must {wanted}, {_shown_bound(low, other=high)}", "give it other numbers")
    if high == inf:
        yield Mistake(path, "may be larger than any number that is reckoned with", "give it other numbers")
    elif high > most:
        told = f"must not be more than {most:g}, {_shown_bound(high, other=low)}"
        yield Mistake(path, told, "give it other numbers")


def _shown_bound(bound: float, *, other: float) -> str:
    return f"and is {bound:g}" if bound == other else f"and may be {bound:g}"


def _component(
    kind: str, path: KeyPath, component: Component, origin: PartOrigin = PartOrigin.REGISTERED
) -> Iterator[Mistake]:
    template = component.template
    known = registry.names(kind)
    if ":" in template and kind in registry.OF_A_ROUND:
        yield from _of_workspace(kind, (*path, "template"), template, origin)
        return
    if ":" in template:
        problem = f"'{template}' is not a registered name: the Aggregator runs no code of a workspace"
        cure = f"known: {', '.join(known)}; a package at the Director can register one (openfl_like.{kind})"
        yield Mistake((*path, "template"), problem, cure)
        return
    if template not in known:
        yield Mistake((*path, "template"), f"there is no {kind} named '{template}'", did_you_mean(template, known))
        return
    try:
        part = registry.resolve(kind, template)
        if isinstance(part, type):
            TypeAdapter(part).validate_python(dict(component.settings))
    except ValidationError as failure:
        yield from explain(failure, part, (*path, "settings"))
    except PydanticUserError:
        return  # an installed class that pydantic cannot describe checks its settings itself
    except FederationError as failure:
        yield Mistake((*path, "settings"), failure.message, failure.cure)


def _of_workspace(kind: str, path: KeyPath, template: str, origin: PartOrigin) -> Iterator[Mistake]:
    """Look at a part of a round that the workspace brings, without importing it."""
    known = ", ".join(registry.names(kind))
    if origin is PartOrigin.REGISTERED:
        problem = f"'{template}' is code of the workspace, and this Director runs none"
        yield Mistake(path, problem, f"{_WORKSPACE_CURE} {known}")
    elif not _REFERENCE.fullmatch(template):
        yield Mistake(path, f"'{template}' names nothing in the workspace", f"write module:attr, or one of {known}")


def _tasks(plan: Plan) -> Iterator[Mistake]:
    for name, task in plan.tasks.items():
        if not task.function.isidentifier() or task.function.startswith("_"):
            cure = "name a public method of the task runner"
            yield Mistake(
                ("tasks", name, "function"), f"'{task.function}' is not a function that a task can have", cure
            )
        yield from _training(name, task)
        yield from _metrics(name, task)
        choice = task.kwargs.get("apply", "global")
        path = ("tasks", name, "kwargs", "apply")
        if task.of_file:
            yield from _given_model(task, path)
        elif choice == PERSONAL:
            yield from _personal(plan.algorithm, path)
        elif choice not in {"global", "local"}:
            cure = did_you_mean(choice, ("global", "local", PERSONAL))
            yield Mistake(path, f"must be global, local, personal or file:PATH, not '{choice}'", cure)


def _personal(algorithm: Component, path: KeyPath) -> Iterator[Mistake]:
    """Look whether sites have a model of their own; an algorithm of the workspace says it when it is asked."""
    known = [name for name in registry.names("algorithm") if hasattr(registry.resolve("algorithm", name), "personal")]
    if algorithm.template not in known and not _REFERENCE.fullmatch(algorithm.template):
        told = f"the algorithm '{algorithm.template}' keeps no model at the sites"
        yield Mistake(path, told, f"write local, or choose the algorithm {' or '.join(known)}")


def _metrics(name: str, task: Task) -> Iterator[Mistake]:
    """Look at the metrics that a task names; code of the workspace is not imported."""
    known, seen = registry.names("metric"), set[str]()
    for index, choice in enumerate(task.metrics):
        path: KeyPath = ("tasks", name, "metrics", index)
        if choice.published == "loss":
            yield Mistake(path, "the loss is measured without being named", "leave it out")
            continue
        if choice.published in seen:
            yield Mistake(path, f"there are two metrics '{choice.published}'", "give one of them a name")
        seen.add(choice.published)
        if choice.template in known or not _REFERENCE.fullmatch(choice.template):
            yield from _component("metric", path, choice)


def _training(name: str, task: Task) -> Iterator[Mistake]:
    if task.trains is None:
        problem = f"it is not said whether '{task.function}' trains"
        cure = "write trains: true if it changes the model, trains: false if it only evaluates it"
        yield Mistake(("tasks", name), problem, cure)
    elif task.trains is not TRAINS.get(task.function, task.trains):
        cure = f"leave it out, or give the function another name than {task.function}"
        yield Mistake(
            ("tasks", name, "trains"), f"{task.function} {'trains' if not task.trains else 'does not train'}", cure
        )
    if task.trains and "apply" in task.kwargs:
        problem = "a task that trains goes on with the model as the tasks before it left it"
        cure = "leave apply out; if the function only evaluates, write trains: false"
        yield Mistake(("tasks", name, "kwargs", "apply"), problem, cure)


def _best(plan: Plan) -> Iterator[Mistake]:
    best = plan.model_store.best
    if best.mode is None:
        problem = f"it is not said whether more or less of '{best.metric}' is better"
        yield Mistake(("model_store", "best"), problem, "write mode: max or mode: min")
    if plan.model_store.accepted_margin is not None and not any(task.is_training for task in plan.tasks.values()):
        problem = "no task trains, so that there is no model that could be rejected"
        yield Mistake(("model_store", "accepted_margin"), problem, "leave it out")


def _given_model(task: Task, path: KeyPath) -> Iterator[Mistake]:
    rule = rule_against(task.apply.removeprefix(FILE))
    if rule:
        yield Mistake(path, f"'{task.apply}' is not a file that a bundle can hold: {rule}")


def _groups(plan: Plan) -> Iterator[Mistake]:
    groups = plan.assigner.settings.get("groups")
    for index, group in enumerate(groups if isinstance(groups, list) else []):
        tasks = group.get("tasks") if isinstance(group, dict) else None
        for position, task in enumerate(tasks if isinstance(tasks, list) else []):
            if task not in plan.tasks:
                path = ("assigner", "settings", "groups", index, "tasks", position)
                yield Mistake(path, f"there is no task '{task}'", did_you_mean(task, tuple(plan.tasks)))


def _deltas(plan: Plan) -> Iterator[Mistake]:
    template = plan.compression_pipeline.template
    if plan.collaborator.settings.delta_updates is not False or template not in registry.names("compression"):
        return
    try:
        part = registry.resolve("compression", template)
    except FederationError:
        return  # it is a mistake of the component's already
    if getattr(part, "needs_delta", False):
        path = ("collaborator", "settings", "delta_updates")
        cure = "leave it out, or use float16 or bfloat16"
        yield Mistake(path, f"{template} compresses differences to the global model only", cure)


def _optimizer(plan: Plan) -> Iterator[Mistake]:
    if plan.collaborator.settings.opt_treatment == "CONTINUE_GLOBAL" and plan.compression_pipeline.template != "none":
        problem = "the optimizer's state would be compressed with loss, and some of it must not lose its sign"
        cure = "use the compression none (a lossless one may follow), or RESET or CONTINUE_LOCAL"
        yield Mistake(("collaborator", "settings", "opt_treatment"), problem, cure)


def _initial_model(plan: Plan) -> Iterator[Mistake]:
    initial = plan.aggregator.settings.init_state_path
    if initial is not None and (rule := rule_against(initial)):
        yield Mistake(
            ("aggregator", "settings", "init_state_path"), f"'{initial}' is not a file of a workspace: {rule}"
        )


def _stop_rules(plan: Plan) -> Iterator[Mistake]:
    if plan.aggregator.settings.rounds is None and not (plan.stop.any or plan.stop.all):
        problem, cure = "nothing ends the experiment", "write a rule into stop, or a number of rounds"
        yield Mistake(("aggregator", "settings", "rounds_to_train"), problem, cure)
    for section, rules in (("any", plan.stop.any), ("all", plan.stop.all)):
        for index, rule in enumerate(rules):
            problem = _stop_rule(rule)
            if problem:
                yield Mistake(("stop", section, index), problem)


def _stop_rule(rule: StopRule) -> str:
    given = [name for name in _CONDITIONS if getattr(rule, name) is not None]
    if len(given) != 1:
        found = ", ".join(given) or "none"
        return f"must have exactly one of {', '.join(_CONDITIONS)}, not {found}"
    bounds = sum(bound is not None for bound in (rule.min, rule.max))
    if given == ["metric"] and bounds != 1:
        return "metric needs exactly one of min and max"
    return "min and max go with metric only" if given != ["metric"] and bounds else ""
