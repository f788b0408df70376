"""What a referee may take."""

from dataclasses import dataclass

START_S = 20.0
"""So long a referee may take until it has loaded a part: an Aggregator is waited for little longer."""


@dataclass(frozen=True, slots=True)
class RefereeLimits:
    """What a referee may take.

    Attributes:
        decision_s: Seconds for an answer that the whole Aggregator waits for: who is asked, how much sites train, what
            controllers decide.
        block_s: Seconds for an answer of a validator, rule, server optimizer or algorithm, for one block or update.
        memory_mb: MiB of address space.
    """

    decision_s: float = 5.0
    block_s: float = 60.0
    memory_mb: int = 4096


USUAL = RefereeLimits()
