"""What is asked of code of the workspace, and whether its answers can be: the same wherever it runs."""

import json
import sys
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pydantic import JsonValue

from openfl_like.errors import PlanError, UpdateRefusedError
from openfl_like.federation.control.decision import (
    Control,
    Controller,
    ControlView,
    EndExperiment,
    SetArgument,
    SkipSite,
    WeighSite,
)
from openfl_like.federation.failure import FailedPartError, one_line, part_failed
from openfl_like.federation.participation.assignment import Assigner
from openfl_like.federation.participation.needs import Needs
from openfl_like.federation.participation.selection import Names, SelectionView, Selector
from openfl_like.federation.participation.work import MOST_AMOUNT, WorkPolicy, WorkView
from openfl_like.federation.task import Work
from openfl_like.plan.members import MEMBERS

if TYPE_CHECKING:
    from openfl_like.federation.task import Update

Result = TypeVar("Result")
MOST_STATE = 1 << 20
"""Characters of what a controller remembers: it is in the record of every round."""
RAISERS = (FailedPartError, PlanError, UpdateRefusedError)
"""What parts raise on purpose, and everybody passes on."""
_NOT_THEIRS = frozenset(
    {
        Path(__file__).resolve().parents[2],
        *(Path(prefix) / "lib" for prefix in (sys.prefix, sys.base_prefix)),
    }
)
"""Where code of the platform, and of packages, is."""


def called(
    part: str, function: Callable[[], Result], *, passed: tuple[type[Exception], ...] = RAISERS, doing: str = ""
) -> Result:
    """Call code of the workspace.

    Args:
        part: Its name in messages.
        function: Calls it.
        passed: What it may raise.
        doing: What is being done to it; empty: it is asked something.

    Raises:
        FailedPartError: If it raises anything else.
    """
    try:
        return function()
    except passed:
        raise
    except Exception as error:  # (whatever code of a workspace raises)
        file, line = _raised_at(error)
        what = f"raised {type(error).__name__}: {one_line(error)}"
        raise part_failed(part, f"cannot be {doing}: it {what}" if doing else what, file, line) from error


def decided(part: str, function: Callable[[], Result]) -> Result:
    """Call code of the workspace that decides or checks: it has nothing to refuse; see `called`."""
    return called(part, function, passed=(FailedPartError,))


def _raised_at(error: Exception) -> tuple[str, int]:
    """Return the innermost line that is none of ours, and of no installed package."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.is_absolute() and not any(path.is_relative_to(folder) for folder in _NOT_THEIRS):
            return "/".join(path.parts[-2:]), frame.lineno or 0
    return "", 0


def check_members(kind: str, name: str, part: object) -> None:
    """Look whether a part has what its kind is asked for.

    Raises:
        PlanError: If it has not.
    """
    ways = MEMBERS[kind]
    if not any(all(hasattr(part, member) for member in members) for members in ways):
        wanted = " or ".join(", ".join(members) for members in ways)
        raise PlanError(f"{name} does not have what one must have: {wanted}", cure="see docs/workspace-parts.md")


def guarded(kind: str, name: str, part: object) -> object:
    """Return a part whose answers are looked at.

    Those that compute with models have guards of their own (`guarded_numbers`), and callbacks end in their processes.
    """
    match kind:
        case "selector":
            return GuardedSelector(name, cast("Selector", part))
        case "assigner":
            return GuardedAssigner(name, cast("Assigner", part))
        case "work":
            return GuardedWork(name, cast("WorkPolicy", part))
        case "controller":
            return GuardedController(name, cast("Controller", part))
        case "validator" if not hasattr(part, "looks"):
            return GuardedValidator(name, part)
        case _:
            return part


@dataclass(frozen=True, slots=True)
class GuardedSelector:
    """A selector of the workspace: it may choose among those that it is shown, and nobody else.

    Args:
        name: In messages.
        inner: The selector.
    """

    name: str
    inner: Selector

    @property
    def remembers(self) -> bool:
        """Whether it is shown what sites have done."""
        return getattr(self.inner, "remembers", False) is True

    @property
    def needs(self) -> Collection[Needs]:
        """What it goes by that not every experiment has."""
        return frozenset(decided(self.name, lambda: [Needs(need) for need in getattr(self.inner, "needs", ())]))

    def wanted(self, view: SelectionView) -> int:
        """See `Selector`; at least 0, and no more than may be chosen."""
        found = decided(self.name, lambda: self.inner.wanted(view))
        if type(found) is not int or found < 0:
            raise part_failed(self.name, f"wants {shown(found)} updates, which is not a number")
        return min(found, len(view.eligible))

    def eligible(self, names: Sequence[str]) -> Sequence[str]:
        """See `Selector`."""
        found = decided(self.name, lambda: self.inner.eligible(names))
        return names if found is names else _names(self.name, found, names)

    def select(self, view: SelectionView) -> Names:
        """See `Selector`."""
        found = _names(self.name, decided(self.name, lambda: self.inner.select(view)), view.present)
        if len(found) > view.count:
            raise part_failed(self.name, f"chose {len(found)} sites where {view.count} are wanted")
        return found


def _names(part: str, found: object, among: Sequence[str]) -> Names:
    if isinstance(found, str) or not isinstance(found, Sequence) or not all(isinstance(name, str) for name in found):
        raise part_failed(part, f"answered {shown(found)}, which is not a list of names")
    strange = sorted({*found} - {*among})
    if strange:
        raise part_failed(part, f"named {shown(strange[0])}, which is none of those that it was shown")
    if len({*found}) != len(found):
        raise part_failed(part, "named a site twice")
    return tuple(sorted(found))


@dataclass(frozen=True, slots=True)
class GuardedAssigner:
    """An assigner of the workspace: it may hand out the plan's tasks to those that it is shown.

    Args:
        name: In messages.
        inner: The assigner.
    """

    name: str
    inner: Assigner

    def deal(self, collaborators: Sequence[str], tasks: Sequence[str], seed: int) -> Mapping[str, tuple[str, ...]]:
        """See `Assigner`."""
        dealt = decided(self.name, lambda: self.inner.deal(collaborators, tasks, seed))
        found = {}
        for collaborator, theirs in _items(self.name, dealt, collaborators):
            if not isinstance(theirs, list | tuple) or not {*theirs} <= {*tasks}:
                raise part_failed(self.name, f"gave '{collaborator}' {shown(theirs)}, which are not the plan's tasks")
            found[collaborator] = tuple(task for task in tasks if task in theirs)
        return found


@dataclass(frozen=True, slots=True)
class GuardedWork:
    """A policy of the workspace for how much sites train.

    Args:
        name: In messages.
        inner: The policy.
    """

    name: str
    inner: WorkPolicy

    @property
    def remembers(self) -> bool:
        """Whether it is shown what sites have done."""
        return getattr(self.inner, "remembers", False) is True

    def assign(self, view: WorkView) -> Mapping[str, Work]:
        """See `WorkPolicy`."""
        given = _items(self.name, decided(self.name, lambda: self.inner.assign(view)), view.names)
        return {site: self._checked(site, work) for site, work in given}

    def _checked(self, site: str, work: object) -> Work:
        amounts = (work.epochs, work.batches, work.samples) if isinstance(work, Work) else ()
        there = [amount for amount in amounts if amount is not None]
        sound = all(type(amount) is int and 1 <= amount <= MOST_AMOUNT for amount in there)
        if not isinstance(work, Work) or not there or not sound or None not in amounts[:2]:
            raise part_failed(self.name, f"gave '{site}' {shown(work)}, which is not an amount of work")
        return work


@dataclass(frozen=True, slots=True)
class GuardedController:
    """A controller of the workspace: what it remembers is in the record, and so are JSON values.

    Args:
        name: In messages.
        inner: The controller.
    """

    name: str
    inner: Controller

    @property
    def remembers(self) -> bool:
        """Whether it is shown what sites have done."""
        return getattr(self.inner, "remembers", False) is True

    def decide(self, view: ControlView) -> Control:
        """See `Controller`; the state is as it will be in the record."""
        found = decided(self.name, lambda: self.inner.decide(view))
        if not isinstance(found, Control):
            raise part_failed(self.name, f"decided {shown(found)}, which is not a Control")
        if not isinstance(found.decisions, list | tuple):
            raise part_failed(self.name, f"decided {shown(found.decisions)}, which is not a tuple of decisions")
        for decision in found.decisions:
            self._check(decision)
        return Control(tuple(found.decisions), self._plain("state", found.state))

    def _check(self, decision: object) -> None:
        match decision:
            case EndExperiment(reason=str()) | SkipSite(site=str(), reason=str()):
                return
            case WeighSite(site=str(), factor=float() | int()):
                return
            case SetArgument(task=str(), argument=str(), value=value):
                self._plain(f"argument '{decision.argument}'", value)
            case _:
                raise part_failed(self.name, f"decided {shown(decision)}, which is not a decision")

    def _plain(self, what: str, value: object) -> JsonValue:
        """Return what is read back of a value that is written as JSON."""
        try:
            text = json.dumps(value, allow_nan=False)
            read: JsonValue = json.loads(text)
        except (TypeError, ValueError, RecursionError) as error:
            told = f"gave the {what} {shown(value)}, which cannot be written as JSON: {one_line(error)}"
            raise part_failed(self.name, told) from error
        if len(text) > MOST_STATE:
            raise part_failed(self.name, f"gave a {what} of more than {MOST_STATE:,} characters")
        return read


@dataclass(frozen=True, slots=True)
class GuardedValidator:
    """A validator of the workspace that looks at one update at a time.

    Args:
        name: In messages.
        inner: The validator.
    """

    name: str
    inner: Any

    @property
    def answers_late(self) -> bool:
        """Whether it is asked on a thread only."""
        return getattr(self.inner, "answers_late", False) is True

    def check(self, update: object, base: object, facts: "Update") -> str:
        """See `Validator`."""
        found = decided(self.name, lambda: self.inner.check(update, base, facts))
        if not isinstance(found, str):
            raise part_failed(self.name, f"answered {shown(found)}, which is not a text")
        return found


def _items(part: str, found: object, among: Sequence[str]) -> list[tuple[str, object]]:
    if not isinstance(found, Mapping):
        raise part_failed(part, f"answered {shown(found)}, which is not a mapping of sites")
    strange = [name for name in found if name not in among]
    if strange:
        raise part_failed(part, f"named {shown(strange[0])}, which is none of those that it was shown")
    return list(found.items())


def shown(value: object) -> str:
    """Show what a part has answered, in a few words."""
    text = one_line(ValueError(repr(value)))
    return text if len(text) <= 80 else f"{text[:77]}..."
