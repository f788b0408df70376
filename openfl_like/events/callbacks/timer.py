"""Where the time of an experiment went."""

from collections.abc import Sequence

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from openfl_like.events.callbacks.base import ResultsFolder
from openfl_like.events.callbacks.save import csv_rows
from openfl_like.federation.announcements import Announced, AssignmentSent, RoundFinished, UpdateReceived
from openfl_like.federation.history.times import round_times

_PARTS = ("training", "scoring", "combining", "evaluating", "publishing")
ROUND_COLUMNS = ("round", *(f"{part}_s" for part in _PARTS), "total_s")
SITE_COLUMNS = ("round", "phase", "collaborator", "waited_s", "worked_s")
_DIGITS = 6


@dataclass(kw_only=True, config=ConfigDict(extra="forbid"))
class Timer:
    """Write the wall time of each part of a round (rounds.csv), and of each collaborator (collaborators.csv).

    The parts are training (to the last update), scoring (to the last score of a cross evaluation), combining (checks
    and the rule), evaluating and publishing, on the clock of the Aggregator's machine; in virtual time they are
    virtual. A collaborator's ``waited_s`` is the time from its assignment to its answer, transfers included, and
    ``worked_s`` what it says that its tasks took.
    """

    def __post_init__(self) -> None:
        """Begin with nothing."""
        self._open: list[Announced] = []
        self._sent: dict[tuple[int, str, str], float] = {}
        self._rounds: list[tuple[object, ...]] = [ROUND_COLUMNS]
        self._sites: list[tuple[object, ...]] = [SITE_COLUMNS]

    def take(self, events: Sequence[Announced]) -> None:
        """Note when what was sent and when it came back; at the end of a round, how long each part took."""
        for event in events:
            match event.announcement:
                case AssignmentSent(number, phase, name):
                    self._sent[number, phase.value, name] = event.time
                case UpdateReceived(number, phase, name) as update:
                    sent = self._sent.pop((number, phase.value, name), None)
                    waited = "" if sent is None else round(max(0.0, event.time - sent), _DIGITS)
                    worked = round(update.duration_s, _DIGITS)
                    self._sites.append((number, phase.value, name, waited, worked))
                    self._open.append(event)
                case RoundFinished(number):
                    self._finish(event, number)
                case _:
                    self._open.append(event)

    def _finish(self, event: Announced, number: int) -> None:
        for times in round_times([*self._open, event]):
            parts = [round(times.parts[part], _DIGITS) for part in _PARTS]
            self._rounds.append((number, *parts, round(times.total_s, _DIGITS)))
        self._open.clear()
        self._sent = {key: sent for key, sent in self._sent.items() if key[0] > number}

    def write(self, folder: ResultsFolder) -> None:
        """Write what has come."""
        folder.append("rounds.csv", csv_rows(self._rounds))
        folder.append("collaborators.csv", csv_rows(self._sites))
        self._rounds.clear()
        self._sites.clear()

    def finish(self, folder: ResultsFolder) -> None:
        """Do nothing: the files are complete after each `write`."""
