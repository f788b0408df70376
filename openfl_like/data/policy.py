"""What a site allows besides its data: its part of ``shard.yaml`` that submitted code has no say in."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict


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
