"""One look at a whole federation: its Director, its envoys, its experiments, and what is about to end."""

from collections.abc import Iterable
from dataclasses import dataclass

from openfl_like.api.client import AsyncFederation
from openfl_like.api.federation import Federation
from openfl_like.federation.parties import DirectorStatus, EnvoyRecord, ExperimentSummary
from openfl_like.federation.status import Status

LATELY_S = 86400.0


@dataclass(frozen=True, slots=True)
class Overview:
    """How a federation is.

    Attributes:
        director: How its Director is, with what is about to end there.
        connected: Envoys that are there.
        away: Envoys that were there once.
        queued: Experiments that wait for their turn, the first one first.
        running: Experiments that have begun.
        ended: Experiments that ended within the last day, the newest first.
    """

    director: DirectorStatus
    connected: tuple[EnvoyRecord, ...] = ()
    away: tuple[EnvoyRecord, ...] = ()
    queued: tuple[ExperimentSummary, ...] = ()
    running: tuple[ExperimentSummary, ...] = ()
    ended: tuple[ExperimentSummary, ...] = ()


def overview(federation: Federation, now: float) -> Overview:
    """As `overview_of`, blocking."""
    return federation.ask(lambda client: overview_of(client, now))


async def overview_of(federation: AsyncFederation, now: float) -> Overview:
    """Look at a federation.

    Args:
        federation: A connection to its Director.
        now: Seconds since the epoch.
    """
    director, envoys = await federation.director.status(), await federation.envoys.envoys()
    return summarise(director, envoys, await federation.experiments.list(), now)


def summarise(
    director: DirectorStatus, envoys: Iterable[EnvoyRecord], experiments: Iterable[ExperimentSummary], now: float
) -> Overview:
    """Put what a Director tells into an overview; see `overview`."""
    records, summaries = list(envoys), list(experiments)
    ended = [item for item in summaries if item.status.ended and item.ended_at > now - LATELY_S]
    return Overview(
        director=director,
        connected=tuple(one for one in records if one.online),
        away=tuple(one for one in records if not one.online),
        queued=tuple(item for item in summaries if item.status is Status.QUEUED),
        running=tuple(item for item in summaries if item.status in {Status.STARTING, Status.RUNNING}),
        ended=tuple(sorted(ended, key=lambda item: item.ended_at, reverse=True)),
    )
