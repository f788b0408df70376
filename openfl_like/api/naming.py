"""What a user means by an id of an experiment: all of it, a beginning that no other has, or ``last``."""

import re
from collections.abc import Sequence

from openfl_like.errors import NotFoundError, UsageError
from openfl_like.federation.parties import ExperimentSummary
from openfl_like.plan.mistakes import did_you_mean
from openfl_like.plan.names import EXPERIMENT_PATTERN

LAST = "last"
"""The experiment that was submitted last, of those that the user may see."""
_SHOWN = 5


def is_whole(text: str) -> bool:
    """Whether a text ends as an id does, and so needs no list of experiments to be understood."""
    return bool(re.fullmatch(EXPERIMENT_PATTERN, text))


def experiment_id(text: str, known: Sequence[ExperimentSummary]) -> str:
    """Return the id that a text means.

    Args:
        text: As a user writes it.
        known: The experiments that the user may see, oldest first.

    Raises:
        NotFoundError: If there is none; with the nearest one.
        UsageError: If several begin like that.
    """
    ids = list(dict.fromkeys(summary.id for summary in known))
    if text == LAST and ids:
        return ids[-1]
    found = [name for name in ids if name == text] or [name for name in ids if text and name.startswith(text)]
    if len(found) == 1:
        return found[0]
    if not found:
        told = did_you_mean(text, ids[-_SHOWN:]) if ids else "'fx experiment submit' makes one"
        raise NotFoundError(f"there is no experiment '{text}' that you may see", cure=told)
    newest = ", ".join(reversed(found[-_SHOWN:])) + (", …" if len(found) > _SHOWN else "")
    raise UsageError(f"the ids of {len(found)} experiments begin with '{text}'", cure=f"write more of it: {newest}")
