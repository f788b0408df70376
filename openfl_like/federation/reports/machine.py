"""What sites tell of their machines."""

from dataclasses import dataclass

MOST_BYTES = 1 << 60
"""Main memory of a machine: more is none that anybody has."""


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """What a site tells of its machine when it is ready.

    Attributes:
        gpu: Whether its worker has a GPU; None: it does not tell.
        memory_bytes: Main memory; None: it does not tell.
    """

    gpu: bool | None = None
    memory_bytes: int | None = None


UNTOLD = MachineFacts()
"""A machine of which nothing is known."""
ABLE = MachineFacts(gpu=True, memory_bytes=MOST_BYTES)
"""A machine that has whatever is asked."""
