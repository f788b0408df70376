"""Selectors, assigners, policies and controllers that a referee runs; what they answer is looked at by their guards."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from openfl_like.federation.control.decision import Control, ControlView
from openfl_like.federation.participation.needs import Needs
from openfl_like.federation.participation.selection import Names, SelectionView
from openfl_like.federation.participation.work import WorkView
from openfl_like.federation.task import Work
from openfl_like.processes.referee import values
from openfl_like.processes.referee.remote import RemotePart


@dataclass(frozen=True, slots=True)
class RemoteSelector:
    """A selector.

    Args:
        part: At the referee.
        remembers: Whether it is shown what sites have done.
        needs: What it goes by that not every experiment has.
    """

    part: RemotePart
    remembers: bool = False
    needs: frozenset[Needs] = frozenset()

    def wanted(self, view: SelectionView) -> int:
        """See `Selector`."""
        found: int = self.part.decide("wanted", values.selection_to(view), _unread)
        return found

    def eligible(self, names: Sequence[str]) -> Sequence[str]:
        """See `Selector`."""
        return self.part.decide("eligible", list(names), _unread)

    def select(self, view: SelectionView) -> Names:
        """See `Selector`."""
        return self.part.decide("select", values.selection_to(view), _unread)


@dataclass(frozen=True, slots=True)
class RemoteAssigner:
    """An assigner; see `Assigner`."""

    part: RemotePart

    def deal(self, collaborators: Sequence[str], tasks: Sequence[str], seed: int) -> Mapping[str, tuple[str, ...]]:
        """See `Assigner`."""
        return self.part.decide("deal", [list(collaborators), list(tasks), seed], _unread)


@dataclass(frozen=True, slots=True)
class RemoteWork:
    """A policy for how much sites train; see `RemoteSelector`."""

    part: RemotePart
    remembers: bool = False

    def assign(self, view: WorkView) -> Mapping[str, Work]:
        """See `WorkPolicy`."""
        return self.part.decide("assign", values.work_view_to(view), values.works_from)


@dataclass(frozen=True, slots=True)
class RemoteController:
    """A controller; see `RemoteSelector`."""

    part: RemotePart
    remembers: bool = False

    def decide(self, view: ControlView) -> Control:
        """See `Controller`."""
        return self.part.decide("decide", values.control_view_to(view), values.control_from)


def _unread(value: Any) -> Any:  # noqa: ANN401 (JSON, which the guard around the part looks at)
    return value
