"""A site's ``shard.yaml``, read by daemons that never hold the data itself."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, StringConstraints

from openfl_like.data.policy import (
    DEFAULT_MONITORS,
    EnvironmentPolicy,
    LogPolicy,
    MonitorChoice,
    Sandbox,
    allowed_devices,
    named_only,
    sandbox_level,
)
from openfl_like.errors import SettingsError
from openfl_like.plan.document import load_document
from openfl_like.plan.names import NAME_PATTERN


class ShardConfig(BaseModel):
    """A site's ``shard.yaml``: which shard class, its keyword arguments, and what the site allows.

    Attributes:
        template: Which shard class.
        params: Its keyword arguments.
        environment: Whether packages that workspaces ask for are installed here.
        devices: What workers may use: ``auto`` (the CPU, and all GPUs that the monitors find) or a list of ``cpu``,
            ``cuda`` (all that they find) and ``cuda:0``, ``cuda:1`` …
        device_monitors: What reads the state of this machine for the heartbeats.
        logs: Whether what is logged here goes to the Director.
        sandbox: Whether workers confine themselves.
        reads: What workers may read besides what they are given and what ``params`` name, relative to the file.
        experiments_at_once: How many experiments the site bears at once.
        interface: The federation's name for data of this kind; empty: it has one kind only, without a name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    template: str
    params: dict[str, JsonValue] = Field(default_factory=dict)
    environment: EnvironmentPolicy = EnvironmentPolicy()
    devices: Annotated[str | tuple[str, ...], BeforeValidator(allowed_devices)] = "auto"
    device_monitors: tuple[Annotated[MonitorChoice, BeforeValidator(named_only)], ...] = DEFAULT_MONITORS
    logs: LogPolicy = LogPolicy()
    sandbox: Annotated[Sandbox, BeforeValidator(sandbox_level)] = Sandbox.BEST
    reads: tuple[Path, ...] = ()
    experiments_at_once: Annotated[int, Field(ge=1)] = 1
    interface: Annotated[str, StringConstraints(pattern=rf"^({NAME_PATTERN})?$")] = ""


def load_shard_config(path: Path) -> ShardConfig:
    """Read a ``shard.yaml``.

    Raises:
        SettingsError: If the file is missing, is not YAML, or has an unknown or missing key.
    """
    return load_document(path, ShardConfig, SettingsError)


def shares_logs(path: Path) -> bool:
    """Whether a ``shard.yaml`` lets log lines out; one that cannot be read does not."""
    try:
        return load_shard_config(path).logs.share
    except SettingsError:
        return False
