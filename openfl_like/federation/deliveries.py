"""What is asked of every collaborator and what was taken from it: decides what an offered update is."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from openfl_like.federation.task import Assignment, Phase, Update

Slot: TypeAlias = tuple[int, Phase, str]


class UpdateStatus(StrEnum):
    """What an offered update is to its experiment.

    Attributes:
        AWAITED: It counts.
        REPEATED: It was taken before: it is acknowledged again, and does not count again.
        CONFLICTING: Another one was taken in its place.
        LATE: It is not waited for any more: of a former round, or its assignment was withdrawn.
        UNASKED: It was never asked for.
    """

    AWAITED = "awaited"
    REPEATED = "repeated"
    CONFLICTING = "conflicting"
    LATE = "late"
    UNASKED = "unasked"


@dataclass(frozen=True, slots=True)
class Receipt:
    """The last update that was taken from a collaborator in a phase; ``digest`` is empty for an evaluation."""

    round: int
    phase: Phase
    collaborator: str
    digest: str


class Deliveries:
    """Open assignments, and for each collaborator and phase the last receipt: it does not grow with the rounds.

    An update is known again until its collaborator has delivered a later one of the same phase. Until then the receipt
    may have been lost on its way; after that, who sends it again replays it.

    Args:
        receipts: What was taken before a restart.
        newest: The open round after a restart.
    """

    def __init__(self, receipts: Iterable[Receipt] = (), newest: int = 0) -> None:
        self._models: dict[Slot, str] = {}
        self._receipts = {(item.phase, item.collaborator): item for item in receipts}
        self._asked = {key: item.round for key, item in self._receipts.items()}
        self._newest = newest

    def ask(self, assignment: Assignment) -> None:
        """Note that an update is wanted; the same may be asked again."""
        key = assignment.phase, assignment.collaborator
        self._models[assignment.round, *key] = assignment.model
        self._asked[key] = assignment.round
        self._newest = max(self._newest, assignment.round)

    def withdraw(self, round_number: int, phase: Phase, collaborator: str) -> None:
        """Note that an update is not wanted any more."""
        self._models.pop((round_number, phase, collaborator), None)

    def withdraw_all(self) -> None:
        """Note that nothing is wanted any more."""
        self._models.clear()

    def take(self, update: Update) -> None:
        """Note that an update is here, complete."""
        self.withdraw(update.round, update.phase, update.collaborator)
        receipt = Receipt(update.round, update.phase, update.collaborator, update.digest)
        self._receipts[update.phase, update.collaborator] = receipt

    def asked(self, round_number: int, phase: Phase) -> frozenset[str]:
        """Return who was asked in a phase and has answered, or may still."""
        taken = {name for (part, name), one in self._receipts.items() if (part, one.round) == (phase, round_number)}
        return frozenset(
            {name for number, part, name in self._models if (number, part) == (round_number, phase)} | taken
        )

    def awaits(self, round_number: int, phase: Phase, collaborator: str) -> bool:
        """Whether an answer of a collaborator to this is still wanted."""
        return (round_number, phase, collaborator) in self._models

    def model(self, update: Update) -> str:
        """Return the digest of the model that an awaited update started from."""
        return self._models[update.round, update.phase, update.collaborator]

    def has_given(self, collaborator: str, model: str) -> bool:
        """Whether a collaborator has an open assignment that works on this model."""
        return any(name == collaborator and given == model for (_, _, name), given in self._models.items())

    def standing(self, update: Update) -> UpdateStatus:
        """Tell what an offered update is."""
        key = update.phase, update.collaborator
        receipt = self._receipts.get(key)
        # First, since an assignment may be sent again while its update is on its way to the experiment: what is in the
        # spool by then must not be overwritten.
        if receipt is not None and receipt.round == update.round:
            return UpdateStatus.REPEATED if receipt.digest == update.digest else UpdateStatus.CONFLICTING
        if (update.round, *key) in self._models:
            return UpdateStatus.AWAITED
        former = update.round < self._newest or update.round <= self._asked.get(key, -1)
        return UpdateStatus.LATE if former else UpdateStatus.UNASKED
