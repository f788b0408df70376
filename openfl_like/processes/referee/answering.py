"""In the referee: builds the parts of the workspace and asks them, one message at a time."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from openfl_like.aggregation.gram import Gram
from openfl_like.aggregation.guarded import guarded_numbers, ways_of
from openfl_like.aggregation.steps import Block, Blockwise, Linear, Step, Vector
from openfl_like.aggregation.validation.compared import Compared
from openfl_like.errors import FederationError, PlanError, UpdateRefusedError
from openfl_like.federation.failure import FailedPartError
from openfl_like.federation.parts.guards import called, guarded
from openfl_like.federation.parts.source import load_part, name_of
from openfl_like.plan.section import Component
from openfl_like.processes.referee import values
from openfl_like.processes.referee.channel import MOST_SHOWN_BYTES, Channel, Memory
from openfl_like.processes.referee.readers import PulledModel, PulledNumbers
from openfl_like.tensors.named import Array

MOST_STEPS = 64
"""So many steps of rules are remembered, the newest ones: a round that is begun anew asks for new ones."""
Answer = tuple[Any, Sequence[Array]]


class Answerer:
    """Answers one Aggregator.

    Args:
        channel: To it.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._memory: Memory | None = None
        self._parts: dict[int, Any] = {}
        self._steps: OrderedDict[int, Any] = OrderedDict()
        self._begun = 0

    def serve(self) -> None:
        """Answer until the other side closes its end."""
        while True:
            message = self._channel.receive(most_bytes=MOST_SHOWN_BYTES)
            if "memory" in message:
                self._memory = self._channel.receive_memory()
                continue
            self._channel.send(self._answer(message))

    def _answer(self, message: Mapping[str, Any]) -> dict[str, object]:
        try:
            if "build" in message:
                return {"value": self._build(message["build"], message["part"])}
            arrays = self._memory.views(message["arrays"]) if self._memory is not None else []
            end = self._memory.end if self._memory is not None else 0
            with np.errstate(all="ignore"):  # the Aggregator looks at what comes of it
                value, made = called("", lambda: self._ask(message, arrays, end))
            told = [] if self._memory is None else self._memory.put([np.array(array) for array in made], end)
        except UpdateRefusedError as error:
            return {"refused": [error.message, error.cure]}
        except PlanError as error:
            return _told(error, built="build" in message)
        except FailedPartError as error:
            return {"failed": [error.failure.message, error.failure.file, error.failure.line]}
        except (FederationError, TypeError, ValueError) as error:  # what it answered cannot be written
            return {"failed": [f"answered what cannot be written: {error}", "", 0]}
        return {"value": value, "arrays": told}

    def _build(self, named: Sequence[Any], number: int) -> dict[str, object]:
        kind, template, settings, place = named
        component = Component(template=template, settings=settings)
        part: Any = load_part(kind, component, place)
        name = name_of(kind, component)
        self._parts[number] = guarded(kind, name, guarded_numbers(kind, name, part))
        facts = {name: getattr(part, name) for name in ("averages", "remembers", "sums") if hasattr(part, name)}
        facts["needs"] = sorted(map(str, getattr(part, "needs", ())))
        ways = ways_of(part)
        slots = list(getattr(part, "slots", ()))
        return {**facts, "slots": slots, "ways": ways, "looks": int(part.looks) if hasattr(part, "looks") else None}

    def _ask(self, message: Mapping[str, Any], arrays: list[Array], end: int) -> Answer:
        method, value = message["method"], message["value"]
        if "step" in message:
            return self._ask_step(self._steps[message["step"]], method, arrays)
        part = self._parts[message["part"]]
        if method in _DECISIONS:
            return _DECISIONS[method](part, value), ()
        asked = PulledNumbers(self._channel, self._memory, end)
        match method:
            case "check":
                update, base = PulledModel(asked, "update", value["update"]), value["base"]
                model = None if base is None else PulledModel(asked, "base", base)
                return part.check(update, model, values.update_from(value["facts"])), ()
            case "judge":
                updates = tuple(values.update_from(one) for one in value)
                return values.verdicts_to(tuple(part.judge(Compared(updates, arrays[0], arrays[1])))), ()
            case "begin":
                return self._step(part.begin(arrays[0], value))
            case _:
                return None, _NUMBERS[method](part, value, arrays, asked.told)

    def _ask_step(self, step: Any, method: str, arrays: list[Array]) -> Answer:  # noqa: ANN401 (of the workspace)
        if method == "end":
            return self._step(step.end(arrays[0]))
        block = Block(*arrays)
        return None, ([step.see(block)] if method == "see" else [step.combine(block), block.state])

    def _step(self, step: Step) -> Answer:
        if isinstance(step, Linear):
            return ["linear", float(step.base)], [step.factors]
        self._begun += 1
        self._steps[self._begun] = step
        while len(self._steps) > MOST_STEPS:
            self._steps.popitem(last=False)
        return ["blockwise" if isinstance(step, Blockwise) else "pass", self._begun], ()


def _told(error: PlanError, *, built: bool) -> dict[str, object]:
    """Tell of a mistake; over what is being built it is the end of an experiment, and why."""
    if built:
        return {"failed": [": ".join((error.message, *error.problems)), "", 0]}
    return {"plan": [error.message, error.place, error.cure, list(error.problems)]}


def _deal(part: Any, value: Any) -> dict[str, list[str]]:  # noqa: ANN401 (of the workspace)
    return {name: list(tasks) for name, tasks in part.deal(*value).items()}


_DECISIONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "wanted": lambda part, value: part.wanted(values.selection_from(value)),
    "eligible": lambda part, value: list(part.eligible(value)),
    "select": lambda part, value: list(part.select(values.selection_from(value))),
    "deal": _deal,
    "assign": lambda part, value: values.works_to(part.assign(values.work_view_from(value))),
    "decide": lambda part, value: values.control_to(part.decide(values.control_view_from(value))),
}
"""What is answered without arrays."""

_NUMBERS: Mapping[str, Callable[[Any, Any, list[Array], Callable[[str], Vector]], Sequence[Array]]] = {
    "factors": lambda part, _value, arrays, _told: [part.factors(arrays[0])],
    "reduce": lambda part, _value, arrays, _told: [part.reduce(arrays[0], arrays[1])],
    "gram_factors": lambda part, value, arrays, _told: [
        part.gram_factors(Gram(arrays[0], arrays[1], value[0], tuple(value[1])), arrays[2])
    ],
    "optimizer_step": lambda part, value, arrays, _told: [part.step(*arrays, value), arrays[2]],
    "weigh": lambda part, value, arrays, told: [
        part.weigh(arrays[0], told, values.contributors_from(value, arrays[1]))
    ],
    "algorithm_step": lambda part, value, arrays, _told: [
        part.step(*arrays[:3], values.contributors_from(value, arrays[3])),
        arrays[2],
    ],
    "own": lambda part, value, arrays, _told: [part.own(*arrays[:2], values.contributors_from(value, arrays[2]))],
}
"""What is answered by arrays."""
