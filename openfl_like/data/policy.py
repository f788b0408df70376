"""What a site allows besides its data: its part of ``shard.yaml`` that submitted code has no say in."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from openfl_like.plan.schema import DEVICE


class EnvironmentPolicy(BaseModel):
    """Whether packages that a workspace asks for are installed here, and from where.

    Attributes:
        install_requirements: Whether a workspace's ``requirements.lock`` is installed, into an environment apart.
        wheelhouse: Directory with the only wheels that may be installed; none: the index that pip is configured for.
        python: Interpreter for such environments; none: the Envoy's own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    install_requirements: bool = False
    wheelhouse: Path | None = None
    python: Path | None = None


class LogPolicy(BaseModel):
    """Whether what this site logs for an experiment goes to the Director, where the submitter reads it.

    Attributes:
        share: Whether it does; if not, the submitter is told that the site keeps its logs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    share: bool = True


class PublishPolicy(BaseModel):
    """What the Director, and with it every user, is told of this site's data besides shapes and dtypes.

    Attributes:
        classes: Whether it is told how many classes the targets name.
        counts: Whether it is told how many samples there are.
        sample_range: The smallest and the largest value of a sample, as everybody may know them; none: nothing is told,
            whatever the shard says of itself.
        target_range: The same for a target that is not a class.
        terms: Whether it is told what the site takes of an experiment: ``limits``, ``environment`` and ``devices``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    classes: bool = True
    counts: bool = True
    sample_range: tuple[float, float] | None = None
    target_range: tuple[float, float] | None = None
    terms: bool = True


class LimitPolicy(BaseModel):
    """What an experiment may take of this site.

    Attributes:
        model_gb: The largest model file that is taken, in 10⁹ bytes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model_gb: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 20.0

    @property
    def model_bytes(self) -> int:
        """The same in bytes."""
        return round(self.model_gb * 1e9)


class Sandbox(StrEnum):
    """Whether workers confine themselves before they load what was submitted.

    Attributes:
        REQUIRED: Nothing is run where the kernel cannot do it.
        BEST: As far as the kernel can.
        OFF: They do not.
    """

    REQUIRED = "required"
    BEST = "best"
    OFF = "off"


def sandbox_level(value: object) -> object:
    """Take what YAML makes of a bare ``off``."""
    return Sandbox.OFF if value is False else value


def allowed_devices(value: object) -> object:
    """Check what a site allows its workers: ``auto``, or a list that is not empty."""
    fine = isinstance(value, list | tuple) and all(isinstance(one, str) and DEVICE.fullmatch(one) for one in value)
    if value != "auto" and not (value and fine):
        raise ValueError("must be auto, or a list of cpu, cuda (every GPU), cuda:0, cuda:1 …")
    return value


class MonitorChoice(BaseModel):
    """A device monitor: a registered short name or ``module:attr``, and its keyword arguments."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    template: str
    settings: dict[str, JsonValue] = Field(default_factory=dict)


DEFAULT_MONITORS = (MonitorChoice(template="psutil"), MonitorChoice(template="nvidia"))
