"""What sections of the plan have in common."""

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


def named_only(value: object) -> object:
    """Take the bare name of a part for one without settings."""
    return {"template": value} if isinstance(value, str) else value
