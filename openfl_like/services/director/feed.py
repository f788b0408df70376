"""What is told of an experiment while its Director works: its history, and live events until it has ended."""

import asyncio
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace

from openfl_like.events.bus import EventBus
from openfl_like.federation.announcements import (
    Announced,
    Announcement,
    ExperimentBegun,
    ExperimentEnded,
    ExperimentQueued,
    ExperimentResumed,
)
from openfl_like.federation.history.life import SURPLUS
from openfl_like.federation.parties import Outcome, PublishedVersion
from openfl_like.federation.reports.progress import TaskProgressed
from openfl_like.store.files import ExperimentFiles
from openfl_like.store.ports import ExperimentStore, Stores

MILESTONES = (ExperimentQueued.kind, ExperimentBegun.kind, ExperimentEnded.kind, ExperimentResumed.kind)


@dataclass(frozen=True, slots=True)
class Feed:
    """What watchers of an experiment read from until it has ended."""

    bus: EventBus
    store: ExperimentStore
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def relay(self, event: Announced) -> None:
        """Tell watchers what an Aggregator tells: what it has committed, or how far a task is."""
        if isinstance(event.announcement, TaskProgressed):
            self.bus.show(event.announcement, event.time)
        elif event.sequence:
            self.bus.publish([event])

    def announce(self, announcement: Announcement) -> Announced:
        """Add to the history what the Director itself has to tell."""
        event = self.store.announce(time.time(), announcement)
        self.bus.publish([event])
        return event

    def close(self, outcome: Outcome) -> None:
        """End the feed; the history says how the experiment ended even if its Aggregator could not."""
        try:
            self.bus.publish(tell_end(self.store, outcome))
        finally:
            self.bus.close()
            self.store.close()
            self.ended.set()


class Feeds:
    """The feeds of the experiments that have not ended, opened when first asked for.

    Args:
        files: Gives an experiment's files.
        stores: Opens their record.
    """

    def __init__(self, files: Callable[[str], ExperimentFiles], stores: Stores) -> None:
        self._files = files
        self._stores = stores
        self._open: dict[str, Feed] = {}

    def __contains__(self, experiment: str) -> bool:
        return experiment in self._open

    def of(self, experiment: str) -> Feed:
        """Return the feed of an experiment."""
        if experiment not in self._open:
            store = self._stores.experiment(self._files(experiment))
            self._open[experiment] = Feed(EventBus(store.events), store)
        return self._open[experiment]

    def end(self, experiment: str, outcome: Outcome) -> None:
        """End the open feed of an experiment that has ended."""
        self._open.pop(experiment).close(outcome)

    def close(self) -> None:
        """Close the records of all open feeds; nobody may read from one any more."""
        while self._open:
            self._open.popitem()[1].store.close()


def tell_end(store: ExperimentStore, outcome: Outcome) -> list[Announced]:
    """See to it that the history says how the experiment ended; return the event if it was missing."""
    last = store.latest(*MILESTONES)
    if last is not None and isinstance(last.announcement, ExperimentEnded):
        return []
    rounds = [version.version.round for version in store.versions()]
    ended = ExperimentEnded(
        outcome.status,
        outcome.reason,
        max(rounds, default=0),
        outcome.shortfalls,
        outcome.failure,
        outcome.cancelled_by,
    )
    return [store.announce(time.time(), ended)]


def versions_of(stores: Stores, files: ExperimentFiles) -> list[PublishedVersion]:
    """Read the published versions of an experiment."""
    with closing(stores.experiment(files)) as store:
        return store.versions()


def record_of(stores: Stores, files: ExperimentFiles) -> tuple[list[PublishedVersion], list[Announced]]:
    """Read the published versions, which of them are kept, and what the history tells of updates that cannot count."""
    with closing(stores.experiment(files)) as store:
        versions, told = store.versions(), store.events(kinds=SURPLUS)
    return [replace(item, kept=files.model(item.version.round).is_file()) for item in versions], told


def history_of(stores: Stores, files: ExperimentFiles, after: int) -> list[Announced]:
    """Read the events of an experiment after a sequence number."""
    with closing(stores.experiment(files)) as store:
        return store.events(after)
