"""A callback: what happens to an experiment, written for people."""

from collections.abc import Sequence

from openfl_like.events.callbacks.base import ResultsFolder
from openfl_like.federation.announcements import Announced, RoundFinished


class Progress:
    """Writes ``progress.txt``: a line for each round.

    Args:
        metric: What it tells of each model.
    """

    def __init__(self, metric: str) -> None:
        self.metric = metric
        self.lines: list[str] = []

    def take(self, events: Sequence[Announced]) -> None:
        """Learn from events; each comes once."""
        for event in events:
            told = event.announcement
            if isinstance(told, RoundFinished) and self.metric in told.metrics:
                self.lines.append(f"round {told.round}: {self.metric} {told.metrics[self.metric]:.4f}\n")

    def write(self, folder: ResultsFolder) -> None:
        """Bring the file up to what is known."""
        folder.replace("progress.txt", "".join(self.lines).encode())

    def finish(self, folder: ResultsFolder) -> None:
        """There is nothing to complete."""
