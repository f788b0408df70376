"""How often each site took part."""

from collections import Counter
from collections.abc import Sequence

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from openfl_like.events.callbacks.base import ResultsFolder
from openfl_like.events.callbacks.save import csv_rows
from openfl_like.federation.announcements import Announced, RoundFinished

COLUMNS = ("site", "selected", "contributed", "evaluated", "absent")


@dataclass(kw_only=True, config=ConfigDict(extra="forbid"))
class SelectionCounts:
    """Count in how many finished rounds each site was selected, contributed, evaluated and was missed (counts.csv)."""

    def __post_init__(self) -> None:
        """Begin with nothing."""
        self._counts: dict[str, Counter[str]] = {name: Counter() for name in COLUMNS[1:]}
        self._changed = True

    def take(self, events: Sequence[Announced]) -> None:
        """Count."""
        for event in events:
            told = event.announcement
            if isinstance(told, RoundFinished):
                found = (told.selected, told.contributors, told.evaluators, {*told.absent, *told.unevaluated})
                for name, sites in zip(COLUMNS[1:], found, strict=True):
                    self._counts[name].update(sites)
                self._changed = True

    def write(self, folder: ResultsFolder) -> None:
        """Write all counts, by site."""
        if not self._changed:
            return
        sites = sorted({site for counts in self._counts.values() for site in counts})
        rows = [(site, *(self._counts[name][site] for name in COLUMNS[1:])) for site in sites]
        folder.replace("counts.csv", csv_rows([COLUMNS, *rows]))
        self._changed = False

    def finish(self, folder: ResultsFolder) -> None:
        """Do nothing: the files are complete after each `write`."""
