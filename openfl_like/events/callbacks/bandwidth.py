"""How many bytes came from where, and how fast."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from openfl_like.events.callbacks.base import ResultsFolder
from openfl_like.events.callbacks.save import csv_rows
from openfl_like.federation.announcements import Announced, AssignmentSent, RoundFinished, UpdateReceived
from openfl_like.federation.history.traffic import UpdateTransfer

COLUMNS = ("round", "collaborator", "update_bytes", "transfer_s", "bytes_per_s")
_DIGITS = 6


@dataclass(kw_only=True, config=ConfigDict(extra="forbid"))
class Bandwidth:
    """Write of each update that was taken how large it was, and how fast it came (bandwidth.csv); draw it if asked.

    ``transfer_s`` is the time from the assignment to the answer less what the site says that its tasks took: mostly
    that of the model there and the update back, in virtual time exactly that. The rate is the update's bytes over it.
    The picture has the bytes of each round and the rate of each site; it needs Matplotlib where the Aggregator runs
    (the extra ``studies``).

    Attributes:
        formats: In which the picture is drawn at the end: ``png`` and ``svg``; none: it is not.
    """

    formats: Annotated[tuple[Literal["png", "svg"], ...], Field(max_length=2)] = ()

    def __post_init__(self) -> None:
        """Begin with nothing."""
        self._sent: dict[tuple[int, str], float] = {}
        self._rows: list[tuple[object, ...]] = [COLUMNS]
        self._all: list[UpdateTransfer] = []

    def take(self, events: Sequence[Announced]) -> None:
        """Note when a model was asked for, and how large an answer came when."""
        for event in events:
            match event.announcement:
                case AssignmentSent(number, phase, name):
                    self._sent[number, f"{phase.value} {name}"] = event.time
                case UpdateReceived(number, phase, name) as update if update.size_bytes:
                    sent = self._sent.pop((number, f"{phase.value} {name}"), None)
                    waited = None if sent is None else max(0.0, event.time - sent - update.duration_s)
                    self._note(UpdateTransfer(number, name, update.size_bytes, waited))
                case RoundFinished(number):
                    self._sent = {key: sent for key, sent in self._sent.items() if key[0] > number}
                case _:
                    pass

    def _note(self, transfer: UpdateTransfer) -> None:
        seconds = "" if transfer.seconds is None else round(transfer.seconds, _DIGITS)
        rate = "" if transfer.bytes_per_s is None else round(transfer.bytes_per_s, 1)
        self._rows.append((transfer.round, transfer.site, transfer.size_bytes, seconds, rate))
        if self.formats:
            self._all.append(transfer)

    def write(self, folder: ResultsFolder) -> None:
        """Write what has come."""
        folder.append("bandwidth.csv", csv_rows(self._rows))
        self._rows.clear()

    def finish(self, folder: ResultsFolder) -> None:
        """Draw the picture, if it is wanted and there is anything to be seen."""
        if not self._all:
            return
        import matplotlib as mpl  # noqa: PLC0415 (an extra)

        from openfl_like.drawing.bandwidth import bandwidth_curves  # noqa: PLC0415 (as above)
        from openfl_like.drawing.style import STYLE  # noqa: PLC0415 (as above)

        with mpl.rc_context(STYLE):
            figure = bandwidth_curves(self._all)
        for suffix in self.formats:
            folder.replace(f"{figure.name}.{suffix}", figure.drawing(suffix))
