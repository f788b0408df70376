"""Which queued experiment begins next: arrivals and ends in, starts and reasons for waiting out.

The rules:

1. So many experiments run at once as the Director has places, and at each site so many as the site bears.
2. An experiment takes the sites that its plan names, all of them; one that names none takes every site that is
   connected and has its interface. It begins when a place is free and none of these sites is at its limit.
3. Users take turns. A user's experiment has the turn after that of the user's experiment before it, but none that is
   over: whoever had none meanwhile has the turn of the newest one that has begun. Of one turn the older submission
   comes first. (Start-time fair queueing, Goyal, Vin and Cheng 1996, where every experiment counts alike.)
4. Whoever cannot begin lets those behind pass. Each time one of them takes a site that it needs, it was overtaken;
   after `MOST_OVERTAKES` times its sites are kept for it, and nobody behind it may take the last room at one of them.
5. What had begun before the Director was started again goes before all others, and needs a place only: its sites are
   at work for it.

Nobody starves: the order of two experiments never changes but by what their own users do, and of each user one
experiment for each turn at most is ahead of it. When they have begun, at most `MOST_OVERTAKES` others take its sites;
when these end, it waits for a place only, and is the next to get one.

Nothing here knows processes, clocks or sockets; `services.director.dispatch` carries out what is decided.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from openfl_like.federation.parties import Waiting, WaitKind

MOST_OVERTAKES = 3


@dataclass(frozen=True, slots=True)
class Demand:
    """The sites that an experiment takes while it runs.

    Attributes:
        sites: Those that its plan names, or that it was begun with; empty: every one that is connected.
        interface: The data interface that each must have.
    """

    sites: frozenset[str] = frozenset()
    interface: str = ""


@dataclass(frozen=True, slots=True)
class SiteRoom:
    """What a connected site gives.

    Attributes:
        limit: How many experiments it bears at once.
        interfaces: The data interfaces that it has.
    """

    limit: int = 1
    interfaces: frozenset[str] = frozenset({""})


NEVER_CONNECTED = SiteRoom()


@dataclass(slots=True)
class QueuedExperiment:
    """An experiment that waits.

    Attributes:
        id: Which one.
        user: Whose it is.
        position: When it was submitted: its number among all.
        demand: What it takes.
        begun: Whether it had begun before the Director was started again.
        turn: Its user's turn in which it may begin.
        overtaken: How often one behind it took a site that it needs.
        waiting: Why it has not begun.
    """

    id: str
    user: str
    position: int
    demand: Demand
    begun: bool = False
    turn: int = 0
    overtaken: int = 0
    waiting: Waiting | None = None

    @property
    def rank(self) -> tuple[bool, int, int]:
        """Sorts before that of whoever comes later."""
        return not self.begun, self.turn, self.position


@dataclass(slots=True)
class Scheduler:
    """Knows what waits and what runs.

    Args:
        places: How many experiments run at once.
        most_overtakes: How often one that waits for a site lets others take one of its sites.
    """

    places: int = 1
    most_overtakes: int = MOST_OVERTAKES
    _queue: dict[str, QueuedExperiment] = field(default_factory=dict)
    _running: dict[str, Demand] = field(default_factory=dict)
    _sites: frozenset[str] = frozenset()
    _rooms: dict[str, SiteRoom] = field(default_factory=dict)
    _turn: int = 0
    _had: dict[str, int] = field(default_factory=dict)
    """User -> the turn of the newest that has begun, of those that are not over."""

    # ---- what happens

    def arrive(self, experiment: QueuedExperiment) -> None:
        """Queue an experiment; its user's others may get another turn: they go by submission."""
        self._queue[experiment.id] = experiment
        user = experiment.user
        if experiment.begun:
            experiment.turn = self._had[user] = self._next_turn(user)
            return
        mine = self._waiting_of(user)
        turns = sorted(item.turn for item in mine if item is not experiment)
        _deal(mine, [*turns, max([self._next_turn(user), *(turn + 1 for turn in turns)])])

    def leave(self, experiment: str) -> None:
        """Note that an experiment waits no more, or runs no more."""
        self._running.pop(experiment, None)
        gone = self._queue.pop(experiment, None)
        if gone is not None and not gone.begun:
            left = self._waiting_of(gone.user)
            _deal(left, sorted([gone.turn, *(item.turn for item in left)])[: len(left)])

    def settle(self, experiment: str, sites: Iterable[str]) -> None:
        """Note with which sites a running experiment goes on; it holds no others."""
        if experiment in self._running:
            self._running[experiment] = Demand(frozenset(sites), self._running[experiment].interface)

    def start(self, sites: Mapping[str, SiteRoom]) -> list[str]:
        """Decide who begins now, and why each of the others waits; return the ids of those that begin.

        Args:
            sites: Those that are connected.
        """
        self._sites = frozenset(sites)
        self._rooms.update(sites)
        begun: list[str] = []
        ahead: list[QueuedExperiment] = []
        for item in sorted(self._queue.values(), key=lambda item: item.rank):
            item.waiting = self._obstacle(item, ahead)
            if item.waiting is None:
                self._begin(item, ahead)
                begun.append(item.id)
            else:
                ahead.append(item)
        return begun

    # ---- what is known

    @property
    def queued(self) -> frozenset[str]:
        """The ids of those that wait."""
        return frozenset(self._queue)

    @property
    def running(self) -> frozenset[str]:
        """The ids of those that have a place."""
        return frozenset(self._running)

    def waiting(self, experiment: str) -> Waiting | None:
        """Why an experiment waits; None: it does not, or nothing was decided since it came."""
        return self._queue[experiment].waiting if experiment in self._queue else None

    def takes(self, experiment: str, site: str) -> bool:
        """Whether a connected site is to be asked by an experiment that runs: it has its interface, and room for it."""
        demand, room = self._running.get(experiment), self._room(site)
        if demand is None:
            return True
        others = [name for name, other in self._running.items() if name != experiment and site in other.sites]
        return demand.interface in room.interfaces and (site in demand.sites or len(others) < room.limit)

    # ---- how it is decided

    def _obstacle(self, item: QueuedExperiment, ahead: Sequence[QueuedExperiment]) -> Waiting | None:
        if len(self._running) >= self.places:
            return Waiting(WaitKind.PLACE, running=len(self._running), places=self.places)
        if item.begun:
            return None
        patient = [other for other in ahead if other.overtaken >= self.most_overtakes]
        for site in sorted(self._needed(item.demand)):
            limit = self._room(site).limit
            holders = [name for name, demand in self._running.items() if self._holds(demand, site)]
            if len(holders) >= limit:
                return Waiting(WaitKind.SITE, site, holders[0])
            kept = [other.id for other in patient if site in self._needed(other.demand)]
            if len(holders) + len(kept) >= limit:
                return Waiting(WaitKind.KEPT, site, kept[0])
        return None

    def _begin(self, item: QueuedExperiment, ahead: Sequence[QueuedExperiment]) -> None:
        del self._queue[item.id]
        self._running[item.id] = item.demand
        self._turn = max(self._turn, item.turn)
        self._had[item.user] = max(item.turn, self._had.get(item.user, 0))
        self._had = {user: turn for user, turn in self._had.items() if turn >= self._turn}
        taken = self._needed(item.demand)
        for other in ahead:
            other.overtaken += bool(taken & self._needed(other.demand))

    def _needed(self, demand: Demand) -> frozenset[str]:
        """The sites that an experiment takes; one of a running experiment that is away for a moment counts as there."""
        if demand.sites:
            return demand.sites
        held = self._sites.union(*(other.sites for other in self._running.values())) & self._rooms.keys()
        return frozenset(site for site in held if demand.interface in self._rooms[site].interfaces)

    def _holds(self, demand: Demand, site: str) -> bool:
        if demand.sites:
            return site in demand.sites
        return site in self._sites and demand.interface in self._room(site).interfaces

    def _room(self, site: str) -> SiteRoom:
        """What a site gives, or gave when it was last connected."""
        return self._rooms.get(site, NEVER_CONNECTED)

    def _next_turn(self, user: str) -> int:
        """The first turn that a user has not had, and that is not over."""
        return max(self._turn, self._had.get(user, -1) + 1)

    def _waiting_of(self, user: str) -> list[QueuedExperiment]:
        mine = [item for item in self._queue.values() if item.user == user and not item.begun]
        return sorted(mine, key=lambda item: item.position)


def _deal(items: Sequence[QueuedExperiment], turns: Sequence[int]) -> None:
    for item, turn in zip(items, turns, strict=True):
        item.turn = turn
