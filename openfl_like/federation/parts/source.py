"""Building the parts that a plan names, from short names or from code of the workspace."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, cast

from pydantic import ValidationError

from openfl_like.errors import FederationError, NotFoundError, PlanError
from openfl_like.federation.failure import part_failed
from openfl_like.federation.parts.guards import called, check_members, guarded
from openfl_like.module_scope import ModuleScope
from openfl_like.plan.mistakes import nearest
from openfl_like.plan.section import Component
from openfl_like.registry import OF_A_ROUND, import_part, resolve


class PartSource(Protocol):
    """Builds the parts of a round."""

    def build(self, kind: str, component: Component, place: str) -> object:
        """Build what one component of the plan names.

        Args:
            kind: As in the registry.
            component: Its template and settings.
            place: Where it stands in the plan.

        Raises:
            PlanError: If there is no such part, it refuses its settings, or it is code that does not run here.
            FailedPartError: If it is code of the workspace that cannot be loaded.
        """
        ...


class RegisteredParts:
    """Short names only: built in, or of an installed package."""

    def build(self, kind: str, component: Component, place: str) -> object:
        """Build what a short name stands for; see `PartSource`."""
        if of_workspace(kind, component):
            told = f"'{component.template}' is code of the workspace, which does not run here"
            cure = "a Director runs it where director.yaml has 'referee: process'; see docs/workspace-parts.md"
            raise PlanError(told, place=f"{place}.template", cure=cure)
        return build_component(kind, component, place)


REGISTERED = RegisteredParts()
_CALLED = {
    "work": "policy for work",
    "aggregation": "aggregation rule",
    "server_optimizer": "server optimizer",
    "server_algorithm": "algorithm's half at the Aggregator",
}


class WorkspaceParts:
    """Short names, and ``module:attr`` of a workspace that runs in this process: whoever runs it has brought it.

    Args:
        workspace: Where its modules are. They are found while a part is built, not while it is asked.
    """

    def __init__(self, workspace: Path) -> None:
        self._scope = ModuleScope(workspace)

    def build(self, kind: str, component: Component, place: str) -> object:
        """Build what a name or a path stands for; see `PartSource`."""
        if not of_workspace(kind, component):
            return build_component(kind, component, place)
        with self._scope.active():
            part = load_part(kind, component, place)
        return guarded(kind, name_of(kind, component), part)


def of_workspace(kind: str, component: Component) -> bool:
    """Whether a component names code of the workspace, of a kind that may be."""
    return kind in OF_A_ROUND and ":" in component.template


def name_of(kind: str, component: Component) -> str:
    """Name a part of the workspace in messages."""
    return f"the {_CALLED.get(kind, kind)} '{component.template}'"


def load_part(kind: str, component: Component, place: str) -> object:
    """Import and build a part of the workspace, whose modules must be importable; raises as `PartSource.build`."""
    name = name_of(kind, component)
    try:
        factory = called(
            name, lambda: import_part(kind, component.template), passed=(FederationError,), doing="imported"
        )
    except NotFoundError as error:
        raise part_failed(name, f"cannot be built: {_not_there(component.template, error.__cause__)}") from error
    part = called(name, lambda: _make_of_workspace(name, component, place, factory), doing="built")
    check_members(kind, name, part)
    return part


def _not_there(template: str, cause: object) -> str:
    """Say what of ``module:attr`` is not there."""
    module, _, attribute = template.partition(":")
    if isinstance(cause, ModuleNotFoundError):
        return f"the module '{cause.name}' is neither in the workspace nor installed"
    known = [name for name in vars(sys.modules[module]) if not name.startswith("_")] if module in sys.modules else []
    near = nearest(attribute, known)
    return f"the module '{module}' has no '{attribute}'{f'; {near}' if near else ''}"


def build_component(kind: str, component: Component, place: str) -> object:
    """Build what a short name of the plan stands for.

    Args:
        kind: As in the registry.
        component: Its template and settings.
        place: Where it stands in the plan.

    Raises:
        PlanError: If there is no such part or it refuses its settings.
    """
    try:
        factory = resolve(kind, component.template)
    except FederationError as error:
        raise PlanError(error.message, place=f"{place}.template", cure=error.cure) from error
    try:
        return _make(component, place, factory)
    except TypeError as error:
        raise PlanError(f"{component.template} cannot be built: {error}", place=f"{place}.settings") from error


def _make_of_workspace(name: str, component: Component, place: str, factory: object) -> object:
    try:
        return _make(component, place, factory)
    except PlanError as error:
        told, cure = f"{name} cannot be built: {error.message}", error.cure
        raise PlanError(told, place=error.place, cure=cure, problems=error.problems) from error
    except TypeError as error:
        raise PlanError(f"{name} cannot be built: {error}", place=f"{place}.settings") from error


def _make(component: Component, place: str, factory: object) -> object:
    try:
        part: object = cast("Callable[..., Any]", factory)(**component.settings)
    except PlanError:
        raise
    except FederationError as error:
        raise PlanError(error.message, place=f"{place}.template", cure=error.cure) from error
    except ValidationError as error:
        problems = tuple(_problem(place, dict(fault)) for fault in error.errors())
        raise PlanError(f"the settings of {component.template} are wrong", place=place, problems=problems) from error
    return part


def _problem(place: str, fault: dict[str, Any]) -> str:
    path = ".".join(str(part) for part in (place, "settings", *fault["loc"]))
    return f"{path}: {fault['msg']}"
