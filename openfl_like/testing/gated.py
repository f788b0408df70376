"""Any plan at a gate: its task runner waits for a `gate.Gate` at the beginning of each assignment."""

import json
from collections.abc import Callable, Mapping
from typing import Any, cast

from openfl_like import registry
from openfl_like.frameworks.runner import DataLoader, RunnerContext, TaskRunner
from openfl_like.plan.schema import Plan
from openfl_like.testing.gate import pass_gate


def gated_runner(
    loader: DataLoader[Any],
    context: RunnerContext,
    *,
    template: str,
    settings: Mapping[str, object],
    gate: str = "",
) -> TaskRunner:
    """Build a task runner that waits.

    Args:
        loader: As for any task runner.
        context: As for any task runner.
        template: The class of the task runner, as in a plan.
        settings: Its settings.
        gate: Address of the gate; empty: there is none, and nobody waits.
    """
    runner = cast("Callable[..., TaskRunner]", registry.resolve("task_runner", template))(loader, context, **settings)
    begin, initialise, own = runner.begin, runner.initialise, vars(runner)

    def wait_and_begin(seed: int) -> None:
        pass_gate(gate, seed)
        begin(seed)

    def initialise_at_once(seed: int) -> None:  # the first model is made before the first round, and may begin as well
        own["begin"] = begin
        initialise(seed)
        own["begin"] = wait_and_begin

    own |= {"begin": wait_and_begin, "initialise": initialise_at_once}
    return runner


def gated(plan: Plan) -> tuple[str, ...]:
    """Return the overrides by which a plan's task runner has the setting ``gate``."""
    inner = plan.task_runner
    settings = json.dumps({"template": inner.template, "settings": inner.settings})
    return f"task_runner.template={__name__}:gated_runner", f"task_runner.settings={settings}"
