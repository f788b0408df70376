"""Where two plans differ, key by key."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from openfl_like.plan.digest import plan_values
from openfl_like.plan.schema import Plan


@dataclass(frozen=True, slots=True)
class Difference:
    """A key that two plans do not agree on.

    Attributes:
        key: Dotted, as in an override.
        first: Its value in the first plan, None if the key is not there.
        second: Its value in the second one.
    """

    key: str
    first: object
    second: object


def differences(first: Plan, second: Plan) -> list[Difference]:
    """List the keys whose values differ, defaults filled in; another order of the tasks is the key ``tasks``."""
    one, other = plan_values(first), plan_values(second)
    found = list(_between(one, other, ""))
    order, other_order = list(first.tasks), list(second.tasks)
    if sorted(order) == sorted(other_order) and order != other_order:
        found.append(Difference("tasks", order, other_order))
    return found


def _between(first: object, second: object, key: str) -> Iterator[Difference]:
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        for name in [*first, *(name for name in second if name not in first)]:
            yield from _between(first.get(name), second.get(name), f"{key}.{name}" if key else str(name))
    elif json.dumps(first) != json.dumps(second):  # 1 and true are equal in Python
        yield Difference(key, first, second)
