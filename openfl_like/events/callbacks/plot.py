"""Pictures of an experiment: metrics by round, and the sites beside each other at the end."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from openfl_like.events.callbacks.base import ResultsFolder
from openfl_like.events.callbacks.save import FinishedMetrics
from openfl_like.federation.announcements import Announced, RoundFinished
from openfl_like.federation.history.metrics import MetricRecord


@dataclass(kw_only=True, config=ConfigDict(extra="forbid"))
class Plot:
    """Draw each metric by round, over all sites and of each (metrics), and the sites' last values (final).

    It needs Matplotlib where the Aggregator runs (the extra ``studies``), and no screen.

    Attributes:
        every: After so many rounds it is drawn, and at the end; 0: at the end only.
        formats: ``png`` and ``svg``.
        metrics: Which ones, such as ``accuracy``; none: the first six, those of the evaluation before others.
    """

    every: Annotated[int, Field(ge=0)] = 0
    formats: Annotated[tuple[Literal["png", "svg"], ...], Field(min_length=1)] = ("png", "svg")
    metrics: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Begin with nothing."""
        self._finished, self._records = FinishedMetrics(), list[MetricRecord]()
        self._due = False

    def take(self, events: Sequence[Announced]) -> None:
        """Collect metrics, and note whether it is time for a picture."""
        for event in events:
            self._records += [one for one in self._finished.take(event) if self._is_wanted(one)]
            told = event.announcement
            self._due = self._due or (
                isinstance(told, RoundFinished) and self.every > 0 and told.round > 0 and told.round % self.every == 0
            )

    def _is_wanted(self, record: MetricRecord) -> bool:
        return not self.metrics or record.metric.rpartition(".")[2] in self.metrics

    def write(self, folder: ResultsFolder) -> None:
        """Draw the curves, if they are due."""
        if self._due:
            self._draw(folder, ended=False)
            self._due = False

    def finish(self, folder: ResultsFolder) -> None:
        """Draw everything."""
        self._draw(folder, ended=True)

    def _draw(self, folder: ResultsFolder, *, ended: bool) -> None:
        import matplotlib as mpl  # noqa: PLC0415 (an extra)

        from openfl_like.drawing.curves import final_values, metric_curves  # noqa: PLC0415 (as above)
        from openfl_like.drawing.style import STYLE  # noqa: PLC0415 (as above)

        own = [one for one in self._records if one.site]
        everywhere = [one for one in self._records if not one.site]
        with mpl.rc_context(STYLE):
            drawn = [metric_curves(everywhere, own), final_values(own) if ended else None]
        for figure in drawn:
            if figure is not None:
                for suffix in self.formats:
                    folder.replace(f"{figure.name}.{suffix}", figure.drawing(suffix))
