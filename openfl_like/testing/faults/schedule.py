"""Which faults a seed means: who is hit, with what, when and for how long; nothing here looks at what is running."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from openfl_like.failpoints import POINTS

ROLES = ("director", "envoy", "aggregator", "collaborator", "worker")
ONE_ROLE_S = (0.5, 9.0)
FREEZE_S = (1.0, 25.0)


class FaultKind(StrEnum):
    """What is done; for those of lines see `testing.proxy.Faults`."""

    KILL = "kill"
    FREEZE = "freeze"
    FAILPOINT = "failpoint"
    CUT = "cut"
    RESET = "reset"
    REFUSE = "refuse"
    BLACK_HOLE = "black-hole"
    ONE_WAY = "one-way"
    LATE = "late"


LINES = frozenset(
    {FaultKind.CUT, FaultKind.RESET, FaultKind.REFUSE, FaultKind.BLACK_HOLE, FaultKind.ONE_WAY, FaultKind.LATE}
)


@dataclass(frozen=True, slots=True)
class Mix:
    """What a schedule is drawn from.

    Attributes:
        kinds: Kind -> its weight.
        roles: Who is killed and frozen.
        pause_s: Seconds between two faults; more when all hit the same, which has to get somewhere in between.
    """

    kinds: Mapping[FaultKind, int]
    roles: Sequence[str]
    pause_s: tuple[float, float] = (0.3, 4.0)


MIXES = {
    "mixed": Mix(
        {
            FaultKind.KILL: 50, FaultKind.FREEZE: 18, FaultKind.FAILPOINT: 12, FaultKind.CUT: 6, FaultKind.RESET: 4,
            FaultKind.REFUSE: 2, FaultKind.BLACK_HOLE: 4, FaultKind.ONE_WAY: 2, FaultKind.LATE: 2,
        },
        ROLES,
    ),
    **{f"kill-{role}": Mix({FaultKind.KILL: 1}, (role,), ONE_ROLE_S) for role in ROLES},
    **{f"freeze-{role}": Mix({FaultKind.FREEZE: 1}, (role,), ONE_ROLE_S) for role in ROLES},
    "lines": Mix(dict.fromkeys(sorted(LINES), 1), ()),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Attributes:
        number: From 1.
        pause_s: Seconds after the one before it.
        kind: What is done.
        target: A role, a failpoint or a line.
        pick: Which of several processes: 0 is the first, nearly 1 the last.
        seconds: How long it lasts, if it does not pass at once.
    """

    number: int
    pause_s: float
    kind: FaultKind
    target: str
    pick: float
    seconds: float


def schedule(seed: int, mix: str, lines: Sequence[str]) -> Iterator[Fault]:
    """Yield the faults of a seed, without end.

    Args:
        seed: The same gives the same.
        mix: A key of `MIXES`.
        lines: The lines that can be broken.
    """
    draw = random.Random(seed)  # noqa: S311 (whoever has the seed must get the same)
    wanted = MIXES[mix]
    hit = [name for name in POINTS if name.split(".")[0] in ROLES and ".cancel." not in name]
    low, high = FREEZE_S
    number = 0
    while True:
        number += 1
        kind = draw.choices(list(wanted.kinds), list(wanted.kinds.values()))[0]
        everybody = lines if kind in LINES else hit if kind is FaultKind.FAILPOINT else wanted.roles
        # most last a short time, so that there is time for more of them; some are longer than any patience
        seconds = low + (high - low) * draw.random() ** 3
        yield Fault(number, draw.uniform(*wanted.pause_s), kind, draw.choice(everybody), draw.random(), seconds)
