"""How long is waited where a plan does not say: by what the experiment has shown to need so far.

None of these limits touches what a run computes as long as it is not hit.
"""

import math
from collections.abc import Iterable

from openfl_like.plan.schema import GRACE_S, REJOIN_S, Deadline

FIRST_TASK_S = 86_400.0
"""How long the tasks of a phase may take that no site has finished yet: a day."""
LEAST_TASK_S = 3_600.0
"""The shortest limit that is made of observed times: an hour."""
TASK_FACTOR = 10
"""How many times the longest observed time a task may take."""
SILENT_FACTOR = 2
"""For how many of these limits a phase may stay without an answer: models have to travel, too."""
RETURN_FACTOR = 2
"""How many times the longest observed time a site may take to come back; one that waits loses no more than a round."""
MOST_RETURN_S = 3_600.0
LOOK_S = 60.0
"""How often is looked whether a phase has become silent."""


def task_limit_s(own_s: float | None, longest_s: float | None) -> float:
    """Return how long a site may take for its tasks of a phase.

    A limit made of observed times is an hour, doubled until it suffices: the same after every restart, although no
    two measurements are the same.

    Args:
        own_s: The plan's limit, if it has one.
        longest_s: The longest time in which an answer to this phase has come so far; None: none has come.
    """
    if own_s is not None:
        return own_s
    if longest_s is None:
        return FIRST_TASK_S
    needed = max(1.0, TASK_FACTOR * longest_s / LEAST_TASK_S)
    return math.ldexp(LEAST_TASK_S, math.ceil(math.log2(needed)))


def silence_limit_s(limit_s: float) -> float:
    """Return how long a phase may stay without an answer if its tasks have this limit and the plan no ``round_s``."""
    return SILENT_FACTOR * max(limit_s, LEAST_TASK_S)


def return_limit_s(deadline: Deadline, longest_s: Iterable[float]) -> float:
    """Return how long a site may take to come back after its connection broke.

    Args:
        deadline: The plan's.
        longest_s: The longest time in which an answer to each phase has come so far.
    """
    if deadline.rejoin_s is not None:
        return deadline.rejoin_s
    patience_s = min(MOST_RETURN_S, max(REJOIN_S, *(RETURN_FACTOR * each for each in longest_s), 0.0))
    return patience_s if deadline.round_s is None else min(patience_s, deadline.round_s)


def described(deadline: Deadline) -> dict[str, str]:
    """Say what holds for the keys that a plan leaves out: key -> limit."""
    told: dict[str, str] = {}
    derived = (
        f"{TASK_FACTOR} times the longest so far, at least {LEAST_TASK_S:g} s; {FIRST_TASK_S:g} s while there is none"
    )
    if deadline.train_s is None:
        if deadline.round_s is None:
            told["deadline.train_s"] = derived
    elif deadline.grace_s is None:
        told["deadline.grace_s"] = f"{deadline.given_grace_s:g} s: a quarter of train_s, at least {GRACE_S:g} s"
    if deadline.round_s is None:
        silent = f"a phase ends that brings no answer for {SILENT_FACTOR} times as long"
        told["deadline.round_s"] = f"for initial models and evaluations {derived}; {silent}"
    if deadline.rejoin_s is None:
        most = min(MOST_RETURN_S, deadline.round_s or MOST_RETURN_S)
        least = min(REJOIN_S, most)
        told["deadline.rejoin_s"] = f"{RETURN_FACTOR} times the longest so far, from {least:g} to {most:g} s"
    return told
