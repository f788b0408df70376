"""The collaborators of an experiment: who is a member, who is here."""

from bisect import bisect_left
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from openfl_like.federation.deliveries import Receipt
from openfl_like.federation.failure import Failure, FailureKind
from openfl_like.federation.task import Phase, Update
from openfl_like.numbered_names import NumberedNames, SortedNames


class Presence(StrEnum):
    """Whether a collaborator can be reached.

    Attributes:
        PRESENT: It is connected.
        RETURNING: It was connected before the aggregator restarted and has some seconds to connect again.
        AWAY: Its connection ended, or it did not return.
        GONE: It is known not to come back.
    """

    PRESENT = "present"
    RETURNING = "returning"
    AWAY = "away"
    GONE = "gone"


HERE = frozenset({Presence.PRESENT, Presence.RETURNING})


@dataclass(frozen=True, slots=True)
class TakenUpdate:
    """The last update of a phase that was taken from a collaborator; ``digest`` is empty for an evaluation."""

    round: int
    digest: str


@dataclass(slots=True)
class Member:
    """What is known of one collaborator.

    Attributes:
        name: Its name.
        presence: Whether it can be reached.
        member: Whether it takes part; a late joiner does so from the next round on.
        absences: How often its connection ended: tells the timers of different absences apart.
        failure: Why it is not here.
        overdue: Whether it has not come back in time.
        delivered: Phase -> the last update that was taken from it, to recognise a repetition.
        undefined: Phase -> the metrics that its last answer left undefined, as ``task.metric``.
        certificate_list: Number of the revocation list under which the certificate was issued that it has joined with
            last; None: that is not known.
    """

    name: str
    presence: Presence = Presence.PRESENT
    member: bool = False
    absences: int = 0
    failure: Failure | None = None
    overdue: bool = False
    delivered: dict[Phase, TakenUpdate] = field(default_factory=dict)
    undefined: dict[Phase, tuple[str, ...]] = field(default_factory=dict)
    certificate_list: int | None = None

    def take(self, update: Update) -> None:
        """Note an update that counts."""
        self.delivered[update.phase] = TakenUpdate(update.round, update.digest)

    def took(self, update: Update) -> bool:
        """Whether this was the last update of its phase."""
        last = self.delivered.get(update.phase)
        return last is not None and last.round == update.round and last.digest == update.digest

    def receipts(self) -> list[Receipt]:
        """The last update that was taken from it in each phase."""
        return [Receipt(taken.round, phase, self.name, taken.digest) for phase, taken in sorted(self.delivered.items())]

    @property
    def here(self) -> bool:
        """Whether it counts as present."""
        return self.presence in HERE

    @property
    def is_as_all(self) -> bool:
        """Whether it is a present member of which nothing else is known but what was delivered."""
        told = self.failure is not None or self.certificate_list is not None or bool(self.undefined)
        present = self.presence is Presence.PRESENT and not (self.absences or self.overdue)
        return self.member and present and not told

    @property
    def absence(self) -> Failure:
        """Why it is not here, as far as that is known."""
        return self.failure or Failure(FailureKind.LEFT, "its connection was lost")

    @property
    def awaited(self) -> bool:
        """Whether it is here, or may be back at any moment."""
        return self.here or (self.presence is Presence.AWAY and not self.overdue)

    @property
    def rejoin_timer(self) -> str:
        """Name of the timer that ends its present absence."""
        return f"rejoin:{self.name}:{self.absences}"


@dataclass(slots=True)
class Membership:
    """All collaborators that ever joined.

    Attributes:
        sites: Name -> what is known of it.
        everybody: Names of collaborators that have joined together, as those of a simulation do. One of them is a
            present member, and stands in ``sites`` only as long as something else is known of it.
    """

    sites: dict[str, Member] = field(default_factory=dict)
    everybody: SortedNames = ()

    def site(self, name: str) -> Member | None:
        """What is known of a collaborator, to be changed; None if it has never joined."""
        found = self.sites.get(name)
        if found is None and self._is_one_of_all(name):
            found = self.sites[name] = Member(name, member=True)
        return found

    def one(self, name: str) -> Member:
        """The same of a collaborator that has joined; raises KeyError."""
        found = self.site(name)
        if found is None:
            raise KeyError(name)
        return found

    def is_member(self, name: str) -> bool:
        """Whether a collaborator takes part."""
        found = self.sites.get(name)
        return found.member if found is not None else self._is_one_of_all(name)

    def _is_one_of_all(self, name: str) -> bool:
        names = self.everybody
        if isinstance(names, NumberedNames):
            return name in names
        place = bisect_left(names, name)
        return place < len(names) and names[place] == name

    def members(self) -> Sequence[str]:
        """Names of the members, sorted, whether here or not."""
        return self.everybody or sorted(name for name, site in self.sites.items() if site.member)

    def present(self, names: Sequence[str]) -> Sequence[str]:
        """Those of some members that are here, in the same order."""
        away = {name for name, site in self.sites.items() if not site.here}
        return [name for name in names if name not in away] if away else names

    def awaited(self, names: Sequence[str]) -> Sequence[str]:
        """Those of some members that are here or may be back at any moment, in the same order."""
        lost = {name for name, site in self.sites.items() if not site.awaited}
        return [name for name in names if name not in lost] if lost else names

    def joined(self) -> Sequence[str]:
        """Names of all that are here, members or not, sorted."""
        if self.everybody:
            return self.present(self.everybody)
        return sorted(name for name, site in self.sites.items() if site.here)

    def promote(self) -> None:
        """Make members of all that are here."""
        for site in self.sites.values():
            site.member = site.member or site.here

    def join_all(self, names: SortedNames) -> None:
        """Note that all of these are connected, and members."""
        self.everybody = names
        for site in self.sites.values():
            site.presence, site.failure, site.overdue, site.member = Presence.PRESENT, None, False, True

    def settle(self, names: Iterable[str]) -> None:
        """Forget of those that joined with everybody what nobody asks for once their round is over."""
        if not self.everybody:
            return
        for name in names:
            site = self.sites.get(name)
            if site is not None and site.is_as_all:
                del self.sites[name]

    def join(self, name: str, certificate_list: int | None = None) -> bool:
        """Note that a collaborator is connected, and with which certificate; tell whether that is news."""
        site = self.site(name) or self.sites.setdefault(name, Member(name, Presence.AWAY))
        news = site.presence is not Presence.PRESENT
        site.presence, site.failure, site.overdue = Presence.PRESENT, None, False
        site.certificate_list = certificate_list
        return news

    def leave(self, name: str, failure: Failure, *, gone: bool) -> bool:
        """Note that a connection ended; tell whether that is news."""
        site = self.site(name)
        if site is None or (not site.here and (not gone or site.presence is Presence.GONE)):
            return False
        site.absences += 1
        site.presence = Presence.GONE if gone else Presence.AWAY
        site.failure = failure
        return True

    def await_return(self, connected: Collection[str]) -> list[Member]:
        """After a restart of the aggregator: return those who were here and are not connected any more, sorted."""
        sites = [self.sites[name] for name in self.joined() if name not in connected] if not self.everybody else []
        for site in sites:
            site.absences += 1
            site.presence = Presence.RETURNING
        return sites

    def forget(self, sites: Collection[Member]) -> None:
        """Take collaborators off the list, as if they had never joined."""
        for site in sites:
            del self.sites[site.name]

    def by_timer(self, timer: str) -> Member | None:
        """The absent collaborator whose time to come back this timer ends."""
        absent = (site for site in self.sites.values() if site.presence is not Presence.PRESENT)
        return next((site for site in absent if site.rejoin_timer == timer), None)
