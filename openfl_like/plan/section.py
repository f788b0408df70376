"""What sections of the plan have in common."""

from enum import Enum, auto
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Discriminator, Field, JsonValue, StringConstraints

from openfl_like.plan.names import NAME_PATTERN

Name = Annotated[str, StringConstraints(pattern=rf"^{NAME_PATTERN}$")]
Settings = dict[str, JsonValue]
OF_WORDS, OF_VALUES = "[word]", "[value]"
BY_TYPE = Discriminator(lambda value: OF_WORDS if isinstance(value, str) else OF_VALUES)
"""Tells a word from a value where a key takes either, so that a mistake is looked for in the one that was meant."""


class Section(BaseModel):
    """A part of the plan: unknown keys are errors, values never change."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Component(Section):
    """An exchangeable part: a registered short name or ``module:attr``, and its settings."""

    template: str
    settings: Settings = Field(default_factory=dict)


class PartOrigin(Enum):
    """Where the parts of a round may come from.

    Attributes:
        REGISTERED: The package, and packages that are installed.
        WORKSPACE: The workspace as well: whoever runs the round has brought it, or the Director has a referee.
    """

    REGISTERED = auto()
    WORKSPACE = auto()


class AlgorithmSection(Component):
    """How sites train, in place of the task runner's own way, and what the Aggregator does with what they send beside.

    Attributes:
        server: The half at the Aggregator of an algorithm that the workspace brings: ``module:attr`` of the workspace,
            or a registered name; it is built with the same settings. Left out: it has none, or is built in.
    """

    server: str | None = None


def named_only(value: object) -> object:
    """Take the bare name of a part for one without settings."""
    return {"template": value} if isinstance(value, str) else value
